"""The plain chat, on a terminal that is a list of lines."""

from __future__ import annotations

import asyncio
import os
import pty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from localqwen.device_memory import DeviceMemory
from localqwen.events import Finished, Loading, Planned, Prefill, Ready, Usage
from localqwen.params import SamplingParams
from localqwen.settings import Settings
from tests.tui.fakes import FakeConnection
from tests.tui.plans import SMALL_PLAN
from tests.tui.test_sanitize import is_harmless
from tui.plain import PlainChat
from tui.plain_terminal import Interrupt, StandardTerminal, Typed
from tui.sanitize import SafeText
from tui.sentences import LONGEST, Sentences


class FakeTerminal:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.typed: asyncio.Queue[Typed] = asyncio.Queue()

    @property
    def text(self) -> str:
        return "".join(self.said)

    def say(self, text: SafeText) -> None:
        self.said.append(text)

    async def read(self) -> Typed:
        return await self.typed.get()

    def type(self, *lines: Typed) -> None:
        for line in lines:
            self.typed.put_nowait(line)

    async def shows(self, *texts: str) -> None:
        await self.until(lambda: all(text in self.text for text in texts))

    async def until(self, condition: Callable[[], object]) -> None:
        for _ in range(4000):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"waited in vain; it said:\n{self.text}")


@asynccontextmanager
async def chatting(
    store: Store, connection: FakeConnection, settings: Settings | None = None
) -> AsyncIterator[FakeTerminal]:
    terminal = FakeTerminal()
    running = asyncio.ensure_future(PlainChat(store, connection, terminal, settings).run(("A complaint.",)))
    yield terminal
    terminal.type("/quit")
    await asyncio.wait_for(running, 20)


async def test_a_question_and_its_answer_have_their_speakers(store: Store, connection: FakeConnection) -> None:
    async with chatting(store, connection) as terminal:
        terminal.type("Capital of \\", "Japan?")
        connection.client.say("It is To", "kyo. It is")
        await terminal.shows("A complaint.\n", "stays on this machine", "You: ... fake: It is Tokyo. ")
        assert terminal.said[-1] == "It is Tokyo. "  # half a sentence is not said
        connection.client.answer(" large.\x1b[2J")
        await terminal.shows("It is large.\N{SYMBOL FOR ESCAPE}[2J\nYou: ")
        assert connection.client.asked == [[{"role": "user", "content": "Capital of \nJapan?"}]]
    assert is_harmless(terminal.text.replace("\n", ""))


async def test_ctrl_c_and_stop_keep_what_there_is(store: Store, connection: FakeConnection) -> None:
    async with chatting(store, connection) as terminal:
        for stop in (Interrupt(), "/STOP "):
            terminal.type("tell")
            connection.client.say("Once")
            await terminal.until(lambda: store.chats() and connection.client.events.empty())
            terminal.type(stop)
            await terminal.until(lambda: not connection.client.events.qsize())
            await terminal.shows("fake: Once\nStopped; /continue goes on with it.\n")
            terminal.said.clear()
    path = store.tree(store.chats()[0].id).path(store.chats()[0].tip)
    assert [(message.text, message.state) for message in path][1] == ("Once", "stopped")


async def test_a_stopped_answer_goes_on_from_where_it_stopped(store: Store, connection: FakeConnection) -> None:
    async with chatting(store, connection) as terminal:
        terminal.type("/continue")
        await terminal.shows("There is no answer to continue.")
        terminal.type("tell")
        connection.client.say("Once. Upon")
        await terminal.shows("fake: Once. ")
        terminal.type("/stop")
        await terminal.shows("Upon\nStopped")
        terminal.said.clear()
        terminal.type("/continue")
        connection.client.answer(" a time.")
        await terminal.shows("fake:  a time.\nYou: ")
        assert "Once" not in terminal.text
    path = store.tree(store.chats()[0].id).path(store.chats()[0].tip)
    assert [(message.text, message.state) for message in path][1] == ("Once. Upon a time.", "done")


async def test_an_answer_that_was_cut_off_says_so(store: Store, connection: FakeConnection) -> None:
    async with chatting(store, connection) as terminal:
        terminal.type("tell")
        connection.client.say("Once")
        connection.client.events.put_nowait(Finished("length", Usage(9, 512)))
        await terminal.shows("fake: Once\nCut off at 512 tokens; /continue goes on with it.\nYou: ")


async def test_a_question_that_no_answer_followed_is_answered(store: Store, connection: FakeConnection) -> None:
    question = store.ask(store.create_chat().id, None, "tell")
    async with chatting(store, connection) as terminal:
        terminal.type("/open 1")
        await terminal.shows("You: tell")
        terminal.type("/continue")
        connection.client.answer("Once.")
        await terminal.shows("fake: Once.\nYou: ")
    path = store.tree(question.chat_id).path(store.chats()[0].tip)
    assert [message.text for message in path] == ["tell", "Once."]


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "notes.txt").write_text("The shed leaks.")
    monkeypatch.chdir(tmp_path)
    return "notes.txt"


async def test_a_file_goes_with_the_next_message(store: Store, connection: FakeConnection, notes: str) -> None:
    async with chatting(store, connection) as terminal:
        terminal.type("/attach", "/attach gone.txt", f"/attach {notes}", "/attach", f"/attach {notes}", "What leaks?")
        connection.client.answer("The shed.")
        await terminal.shows(
            "Say which file", "Error: gone.txt is not there", "notes.txt (15 B) goes with", "Nothing goes"
        )
        await terminal.shows("The shed.")
        assert "The shed leaks." in connection.client.asked[0][0]["content"]
        terminal.type("And now?")
        connection.client.answer("Nothing.")
        await terminal.shows("Nothing.\n")
        assert connection.client.asked[1][-1]["content"] == "And now?"
        terminal.type("/new", "/list", "/open 1")
        await terminal.shows("You: What leaks?\n(with notes.txt)\nfake: The shed.")


async def test_what_is_typed_meanwhile_is_asked_next(store: Store, connection: FakeConnection) -> None:
    async with chatting(store, connection) as terminal:
        terminal.type("one", "two")
        connection.client.answer("First.")
        await terminal.shows("First.")
        connection.client.answer("Second.")
        await terminal.shows("Second.")
        assert connection.client.asked[1][-1]["content"] == "two"


async def test_another_answer_and_another_question_are_branches(store: Store, connection: FakeConnection) -> None:
    async with chatting(store, connection) as terminal:
        for typed, answer in (("hi", "A."), ("/regenerate", "B."), ("/edit hello", "C.")):
            terminal.type(typed)
            connection.client.answer(answer)
            await terminal.shows(f"fake: {answer}")
        assert [[message["content"] for message in asked] for asked in connection.client.asked] == [
            ["hi"],
            ["hi"],
            ["hello"],
        ]
    tree = store.tree(store.chats()[0].id)
    assert len(tree) == 5
    assert len(store.chats()) == 1


async def test_conversations_are_listed_and_opened(store: Store, connection: FakeConnection) -> None:
    async with chatting(store, connection) as terminal:
        terminal.type("first question")
        connection.client.answer("An answer.")
        await terminal.shows("An answer.")
        terminal.type("/new", "/list", "/open x", "/open 1")
        await terminal.shows(
            "A new conversation.", "1. first question", "Say which one", "You: first question\nfake: An answer."
        )
        terminal.type("go on")
        connection.client.answer("Gladly.")
        await terminal.shows("Gladly.")
        assert len(connection.client.asked[1]) == 3


async def test_commands_that_are_none_and_slashes(store: Store, connection: FakeConnection) -> None:
    async with chatting(store, connection) as terminal:
        terminal.type("/hlep", "/help", "", "/stop", "/regenerate", "/edit", "/open")
        await terminal.shows(
            "no command /hlep",
            "/regenerate: Answer again; the old answer stays",
            "/rename TITLE: ",
            "no answer on its way",
        )
        await terminal.shows("nothing to answer", "nothing to edit", "There are no conversations yet.")
        terminal.type("//etc is a folder")
        connection.client.answer("Yes.")
        await terminal.shows("Yes.")
        assert connection.client.asked[0][0]["content"] == "/etc is a folder"


async def test_loading_is_told_in_few_lines(store: Store) -> None:
    connection = FakeConnection(ready=False)
    async with chatting(store, connection) as terminal:
        terminal.type("hi")
        await terminal.shows("Starting the model.\n")
        for percent in range(100):
            connection.load(Loading(percent / 100, percent, 100))
        connection.load(Ready("fake", 10))
        connection.client.answer("Hello.")
        await terminal.shows("Hello.")
        assert terminal.text.count("Loading: ") == 4


async def test_a_model_that_is_gone_says_why_and_comes_back(store: Store, connection: FakeConnection) -> None:
    async with chatting(store, connection) as terminal:
        terminal.type("hi")
        connection.client.say("Hal")
        await terminal.until(lambda: connection.client.asked)
        connection.client.events.put_nowait(Finished("error", error="x"))
        connection.die("It was killed.")
        await terminal.shows("fake: Hal\nError: It was killed.\n")
        connection.client.answer("Again.")
        terminal.type("hi")
        await terminal.shows("Again.")
        assert connection.lives == 2


async def test_settings_reach_the_model(store: Store, connection: FakeConnection) -> None:
    async with chatting(store, connection, Settings(system_prompt="Be brief.")) as terminal:
        terminal.type("hi")
        connection.client.answer("Yo.")
        await terminal.shows("Yo.")
        assert connection.client.asked[0][0] == {"role": "system", "content": "Be brief."}


async def test_ctrl_c_twice_leaves_and_so_does_the_end_of_input(store: Store) -> None:
    for keys in ((Interrupt(), Interrupt()), (None,)):
        terminal = FakeTerminal()
        terminal.type(*keys)
        await asyncio.wait_for(PlainChat(store, FakeConnection(), terminal).run(), 20)


async def test_pasted_lines_are_one_message_that_enter_sends(store: Store, connection: FakeConnection) -> None:
    async with chatting(store, connection) as terminal:
        terminal.type("/etc is\na folder\\\nof", "files", "/etc\n/usr", "")
        await terminal.shows("(3 lines came at once: Enter sends them, Ctrl+C drops them)\n... ")
        connection.client.answer("One.")
        await terminal.shows("One.")
        connection.client.answer("Two.")
        await terminal.shows("Two.")
        asked = [messages[-1]["content"] for messages in connection.client.asked]
        assert asked == ["/etc is\na folder\\\nof\nfiles", "/etc\n/usr"]
        terminal.type("dropped\nlines", Interrupt(), "/help")
        await terminal.shows("Pasted lines are one message")
    assert len(connection.client.asked) == 2


@pytest.mark.parametrize("is_terminal", [True, False])
async def test_lines_that_come_together_are_a_paste_on_a_terminal_only(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = pty.openpty()[::-1] if is_terminal else os.pipe()
    monkeypatch.setattr("sys.stdin", os.fdopen(reading))
    with StandardTerminal() as terminal:
        os.write(writing, b"one\ntwo\nthree\n")
        read = [await asyncio.wait_for(terminal.read(), 20) for _ in range(1 if is_terminal else 3)]
        os.write(writing, b"typed\n")
        read.append(await asyncio.wait_for(terminal.read(), 20))
    os.close(writing)
    assert read == ["one\ntwo\nthree", "typed"] if is_terminal else ["one", "two", "three", "typed"]


async def test_a_conversation_is_asked_in_its_own_way(store: Store, connection: FakeConnection) -> None:
    settings = Settings(system_prompt="Be brief.", temperature=0.5, top_p=0.9)
    conversation = Conversation(store, system="Be long.")
    await conversation.ask("hi")
    await conversation.set_params(SamplingParams(temperature=1.5))
    async with chatting(store, connection, settings) as terminal:
        terminal.type("/open 1", "/system", "/regenerate")
        await terminal.shows("The system prompt is: Be long.\n")
        connection.client.answer("Long.")
        await terminal.shows("Long.")
        assert connection.client.asked[0][0]["content"] == "Be long."
        assert connection.client.params[0] == SamplingParams(temperature=1.5, top_p=0.9)
        terminal.type("/system Rhyme.", "again")
        connection.client.answer("Song.")
        await terminal.shows("Song.")
        assert connection.client.asked[1][0]["content"] == "Rhyme."


async def test_conversations_are_searched_named_deleted_and_had_back(store: Store, connection: FakeConnection) -> None:
    async with chatting(store, connection) as terminal:
        terminal.type("/rename x", "/delete", "/undo", "/search", "/search shed", "the shed leaks")
        connection.client.answer("Mend it.")
        await terminal.shows("Say what to look for", "Nothing was found.", "Nothing was deleted.", "Mend it.")
        terminal.type("/rename", "/rename Roof", "/delete", "/list", "/undo", "/new", "/search leak", "/open 1")
        await terminal.shows(
            "Say the title", "It is named Roof now.", "Deleted. /undo", "There are no conversations yet."
        )
        await terminal.shows("1. Roof: the shed leaks", "You: the shed leaks\nfake: Mend it.\n")
    assert [chat.title for chat in store.chats()] == ["Roof"]


async def test_conversations_are_written_and_read(store: Store, connection: FakeConnection, notes: str) -> None:
    async with chatting(store, connection) as terminal:
        terminal.type("/export a.json", "/import", "/import gone.json", "hi")
        connection.client.answer("Hello.")
        await terminal.shows("There is no conversation yet", "Say which file, as /import", "Error: ", "Hello.")
        terminal.type("/export", f"/export {notes}", "/export a.json", "/new", "/import a.json")
        await terminal.shows("Say which file, as /export", "is there already", "Written to", "You: hi\nfake: Hello.")
    assert len(store.chats()) == 2


async def test_versions_are_gone_through(store: Store, connection: FakeConnection) -> None:
    async with chatting(store, connection) as terminal:
        terminal.type("/previous", "hi")
        connection.client.answer("A.")
        await terminal.shows("There are no versions here", "fake: A.")
        terminal.type("/regenerate")
        connection.client.answer("B.")
        await terminal.shows("fake: B.")
        terminal.type("/next", "/previous")
        await terminal.shows("This is the last version.", "Version 1 of 2.\nYou: hi\nfake: A.")


@given(st.lists(st.text('ab .!?\n"…。1', max_size=12), max_size=30))
def test_sentences_lose_nothing_and_end_well(pieces: list[str]) -> None:
    sentences = Sentences()
    said = [sentence for piece in pieces for sentence in sentences.feed(piece)]
    assert "".join([*said, sentences.finish()]) == "".join(pieces)
    assert all(sentence and (sentence[-1] in "\n \t。" or len(sentence) >= LONGEST - 60) for sentence in said)


def test_a_number_begins_an_item_and_ends_no_sentence() -> None:
    sentences = Sentences()
    assert sentences.feed("1. Wash it. 2. Dry it.\nDone") == ["1. Wash it. ", "2. Dry it.\n"]
    assert sentences.finish() == "Done"
    assert len(Sentences().feed("word " * 200)) == 2


async def test_a_draft_of_the_full_screen_is_left_alone(store: Store, connection: FakeConnection) -> None:
    there = Conversation(store)
    await there.ask("A bird?")
    await there.save_draft("a long draft")
    async with chatting(store, connection) as terminal:
        terminal.type("/list", "/open 1", "And a fish?")
        connection.client.answer("The carp.")
        await terminal.shows("The carp.\nYou: ")
    assert there.chat is not None
    assert store.chat(there.chat.id).draft == "a long draft"


async def test_ctrl_c_gives_up_a_load_and_the_next_message_begins_it_again(store: Store) -> None:
    connection = FakeConnection(ready=False)
    async with chatting(store, connection) as terminal:
        connection.load(Loading(0.4))
        terminal.type("early")
        await terminal.shows("Loading: 40%")
        terminal.type(Interrupt())
        await terminal.shows("Stopped.\nThe model is loaded all the same; Ctrl+C gives that up.\nYou: ")
        assert connection.given_up == 0
        terminal.type(Interrupt())
        await terminal.shows("Loading was cancelled")
        await terminal.until(lambda: connection.given_up == 1)
        terminal.type("/cancel-load")
        await terminal.shows("Nothing is being loaded.")
        connection.load(Ready("fake", 4096))
        terminal.type("again")
        connection.client.answer("Here.")
        await terminal.shows("fake: Here.")
        assert connection.lives == 2


async def test_the_plan_and_the_figures_are_told(store: Store, connection: FakeConnection) -> None:
    connection.client.devices = (DeviceMemory("CUDA0", "A card", "gpu", 6 << 30, 8 << 30, 4 << 30),)
    async with chatting(store, connection) as terminal:
        terminal.type("Well?")
        connection.client.say("Yes.")
        connection.client.events.put_nowait(Finished("stop", Usage(40, 2, decode_seconds=0.5)))
        await terminal.shows("fake: Yes.")
        terminal.type("/stats", "/plan")
        await terminal.shows("4.0 tok/s, context 42/4096, ", "CUDA0 6.0/8.0 GiB.")
        await terminal.shows("The model is being planned.", "CUDA0: 6.00 of 8.00 GiB in use, 4.00 by the model.")
        connection.listeners[0].loaded(connection.client, Planned(SMALL_PLAN))
        terminal.type("/plan")
        await terminal.shows("CUDA0, A card: layers 0 to 23, output; 4,416 MiB of 8,192 MiB.", "All.")


async def test_a_long_prompt_is_told_of_now_and_then(
    store: Store, connection: FakeConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chatting(store, connection) as terminal:
        terminal.type("short")
        connection.client.events.put_nowait(Prefill(1, 2))
        connection.client.answer("Yes.")
        await terminal.shows("fake: Yes.")
        assert "eading" not in terminal.text
        monkeypatch.setattr("tui.plain_turn.READING_SECONDS", 0.0)
        terminal.type("long")
        connection.client.events.put_nowait(Prefill(512, 2048))
        await terminal.shows("You: Reading 512 of 2048 tokens")
        connection.client.answer("Read.")
        await terminal.shows("fake: Read.")
