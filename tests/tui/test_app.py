"""The app, driven by its keys; the model is scripted, so that each moment can be looked at."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.pilot import Pilot

from localqwen.chats.store import ChatStoreError, Store
from localqwen.chats.tree import Message
from localqwen.events import Delta, Finished, Loading, Planned, Prefill, Ready, Usage
from localqwen.plan import Plan, Share
from tests.tui.fakes import FakeConnection, screen_text, until
from tests.tui.test_sanitize import is_harmless
from tui.app import ChatApp
from tui.widgets.composer import Composer
from tui.widgets.sidebar import Sidebar
from tui.widgets.transcript.view import Transcript

SIZE = (110, 36)


def shows(pilot: Pilot[None], *texts: str) -> Callable[[], bool]:
    return lambda: all(text in screen_text(pilot.app) for text in texts)


def last_message(store: Store) -> Message:
    chat = store.chats()[0]
    return store.tree(chat.id).path(chat.tip)[-1]


async def type_text(pilot: Pilot[None], text: str) -> None:
    names = {" ": "space", "\n": "ctrl+j", "?": "question_mark", ".": "full_stop", "!": "exclamation_mark"}
    await pilot.press(*(names.get(char, char) for char in text))


async def test_a_question_is_answered_and_the_next_one_knows_it(
    app: ChatApp, store: Store, connection: FakeConnection
) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "ready", "Ask anything", "stays on this machine"))
        await type_text(pilot, "Capital of Japan?")
        await pilot.press("enter")
        connection.client.say("It is ", "**Tokyo**.")
        await until(pilot, shows(pilot, "It is Tokyo.", "Esc stops"))
        usage = Usage(prompt_tokens=40, completion_tokens=2, decode_seconds=0.5)
        connection.client.events.put_nowait(Finished("stop", usage))
        await until(pilot, shows(pilot, "2 tokens · 4.0 tok/s", "context 42/4096", "Enter sends"))
        await type_text(pilot, "Sure?")
        await pilot.press("enter")
        connection.client.answer("Yes.")
        await until(pilot, shows(pilot, "Yes."))
        assert connection.client.asked[1] == [
            {"role": "user", "content": "Capital of Japan?"},
            {"role": "assistant", "content": "It is **Tokyo**."},
            {"role": "user", "content": "Sure?"},
        ]
        assert last_message(store).model == "fake"


async def test_what_is_sent_while_the_model_loads_waits_for_it(store: Store) -> None:
    connection = FakeConnection(ready=False)
    app = ChatApp(store, connection)
    async with app.run_test(size=SIZE) as pilot:
        await type_text(pilot, "early")
        connection.load(Loading(0.42))
        await pilot.press("enter")
        await until(pilot, shows(pilot, "loading", "42%", "goes out when the model is loaded (42%)"))
        assert store.tree(store.chats()[0].id).path(last_message(store).id)[0].text == "early"
        assert connection.client.asked == []
        connection.load(Ready("fake", 8192))
        connection.client.events.put_nowait(Prefill(512, 2048))
        await until(pilot, shows(pilot, "reading 512/2048", "reading 512 of 2048 tokens"))
        connection.client.answer("at last")
        await until(pilot, shows(pilot, "at last", "Enter sends"))


async def test_escape_stops_and_keeps_the_text(app: ChatApp, store: Store, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await type_text(pilot, "tell me a long story")
        await pilot.press("enter")
        connection.client.say("Once upon", " a time")
        await until(pilot, shows(pilot, "Once upon a time"))
        await pilot.press("escape")
        await until(pilot, shows(pilot, "Once upon a time", "■ stopped", "Enter sends"))
        assert (last_message(store).text, last_message(store).state) == ("Once upon a time", "stopped")
        assert connection.client.closed == 1


async def test_escape_stops_a_message_that_waits_for_the_model(store: Store) -> None:
    app = ChatApp(store, FakeConnection(ready=False))
    async with app.run_test(size=SIZE) as pilot:
        await type_text(pilot, "hello")
        await pilot.press("enter")
        await until(pilot, shows(pilot, "goes out when"))
        await pilot.press("escape")
        await until(pilot, shows(pilot, "■ stopped"))


async def test_enter_breaks_no_line_and_the_others_do(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "ctrl+j", "b", "shift+enter", "c", "alt+enter", "d")
        assert app.chat.query_one(Composer).text == "a\nb\nc\nd"
        await pilot.press("enter")
        await until(pilot, lambda: connection.client.asked)
        assert connection.client.asked[0][0]["content"] == "a\nb\nc\nd"
        assert app.chat.query_one(Composer).text == ""


async def test_keys_that_come_in_one_burst_keep_their_order(
    app: ChatApp, store: Store, connection: FakeConnection
) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "ready"))

        def burst(*keys: str) -> None:
            for key in keys:
                app.post_message(events.Key(key, key if len(key) == 1 else None))

        burst("a", "ctrl+j", "b", "x", "backspace", "enter", "c", "d")
        await until(pilot, lambda: connection.client.asked)
        assert connection.client.asked[0][0]["content"] == "a\nb"
        await until(pilot, lambda: app.chat.query_one(Composer).text == "cd")
        burst("e", "ctrl+q")
        await until(pilot, lambda: store.chats()[0].draft == "cde")


async def test_nothing_is_sent_when_there_is_nothing(app: ChatApp, store: Store) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("enter", "space", "enter")
        await pilot.press("ctrl+q")
    assert all(chat.tip is None for chat in store.chats())


async def test_what_is_sent_during_an_answer_waits_for_its_end(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        connection.client.say("answering")
        await until(pilot, shows(pilot, "answering"))
        await pilot.press("b", "enter")
        await until(pilot, shows(pilot, "queued", "1 queued"))
        assert app.chat.query_one(Composer).text == ""
        connection.client.events.put_nowait(Finished("stop"))
        await until(pilot, lambda: len(connection.client.asked) == 2)
        assert connection.client.asked[1][-1] == {"role": "user", "content": "b"}
        connection.client.answer("second")
        await until(pilot, shows(pilot, "second", "Enter sends"))
        assert "queued" not in screen_text(app)


async def test_an_answer_goes_on_while_another_conversation_is_shown(
    app: ChatApp, store: Store, connection: FakeConnection
) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await type_text(pilot, "first")
        await pilot.press("enter")
        connection.client.say("beginning")
        await until(pilot, shows(pilot, "beginning"))
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "beginning" not in screen_text(app))
        connection.client.say(" and end")
        await until(pilot, lambda: last_message(store).text == "beginning and end")
        await pilot.press("ctrl+l", "home", "enter")
        await until(pilot, shows(pilot, "beginning and end", "Esc stops"))
        connection.client.say(" and more")
        await until(pilot, shows(pilot, "beginning and end and more"))
        connection.client.events.put_nowait(Finished("stop"))
        await until(pilot, shows(pilot, "Enter sends"))


async def test_a_restart_finds_conversations_and_the_draft(store: Store) -> None:
    connection = FakeConnection()
    app = ChatApp(store, connection)
    async with app.run_test(size=SIZE) as pilot:
        await type_text(pilot, "remember me")
        await pilot.press("enter")
        connection.client.answer("I *will*.")
        await until(pilot, shows(pilot, "I will."))
        await type_text(pilot, "half a thou")
        await pilot.press("ctrl+q")

    app = ChatApp(store, FakeConnection())
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "New conversation", "remember me", "ready"))
        assert app.chat.query_one(Composer).text == ""
        await pilot.press("ctrl+l", "home", "enter")
        await until(pilot, shows(pilot, "I will.", "half a thou"))
        await pilot.press("g", "h", "t")
        assert app.chat.query_one(Composer).text == "half a thought"


async def test_the_draft_of_a_new_conversation_comes_back(store: Store) -> None:
    app = ChatApp(store, FakeConnection())
    async with app.run_test(size=SIZE) as pilot:
        await type_text(pilot, "unsent")
        await until(pilot, shows(pilot, "✎ unsent"))
        assert store.chats()[0].draft == "unsent"
    store.close()
    reopened = Store(store.path)
    app = ChatApp(reopened, FakeConnection())
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.chat.query_one(Composer).text == "unsent")
    reopened.close()


async def test_a_conversation_is_chosen_with_the_mouse(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await type_text(pilot, "one")
        await pilot.press("enter")
        connection.client.answer("first answer")
        await until(pilot, shows(pilot, "first answer"))
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "first answer" not in screen_text(app))
        await pilot.click(app.chat.query_one(Sidebar).options, offset=(4, 0))
        await until(pilot, shows(pilot, "first answer"))


async def test_a_server_that_dies_says_why_and_is_started_again(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        connection.client.say("half an ans")
        await until(pilot, shows(pilot, "half an ans"))
        connection.client.events.put_nowait(Finished("error", error="The connection broke."))
        connection.die("The server process was killed: memory ran out.")
        await until(pilot, shows(pilot, "half an ans", "✗ The server process was killed: memory ran out."))
        await pilot.press("b", "enter")
        connection.client.answer("back again")
        await until(pilot, shows(pilot, "back again", "half an ans"))
        assert connection.lives == 2


async def test_an_error_of_a_living_server_is_shown_as_it_is(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        connection.client.events.put_nowait(Finished("error", error="The prompt is too long."))
        await until(pilot, shows(pilot, "✗ The prompt is too long.", "Enter sends"))
        assert connection.lives == 1


async def test_a_remote_server_is_named(store: Store) -> None:
    app = ChatApp(store, FakeConnection(address="https://example.org"))
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "What you type goes to https://example.org."))


async def test_a_message_that_cannot_be_kept_returns_to_the_composer(app: ChatApp, store: Store) -> None:
    def fail(*_: object) -> None:
        raise ChatStoreError("The disk is full.")

    store.ask = fail  # type: ignore[method-assign,assignment]
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await type_text(pilot, "precious")
        await pilot.press("enter")
        await until(pilot, shows(pilot, "The disk is full."))
        assert app.chat.query_one(Composer).text == "precious"


HOSTILE = "A\x1b]52;c;ZXZpbA==\x07B\x1b[2JC\x9b31mD\x1b]0;t\x07\u202e[b]E[/b][/]&#x202e; <http://a/%1b>"


async def test_no_control_reaches_the_screen_from_anywhere(store: Store) -> None:
    connection = FakeConnection(ready=False, address=HOSTILE)
    connection.name = HOSTILE
    app = ChatApp(store, connection)
    async with app.run_test(size=(160, 40)) as pilot:
        composer = app.chat.query_one(Composer)
        composer.insert(HOSTILE)
        await pilot.press("enter")
        connection.load(Ready(HOSTILE, 1))
        connection.client.say(HOSTILE, f"\n\n```{HOSTILE}\n{HOSTILE}\n```\n\n| a | b |\n|---|---|\n| {HOSTILE} | |\n")
        connection.client.events.put_nowait(Finished("error", error=HOSTILE))
        await until(pilot, shows(pilot, "✗"))
        connection.die(HOSTILE)
        composer.fill(HOSTILE)
        await pilot.press("ctrl+n")
        composer.insert(HOSTILE)
        await until(pilot, shows(pilot, "New conversation", "␛]52", "[b]E[/b]"))
        # The list is filled in the background: its last row is the first conversation, once both are there.
        await until(pilot, lambda: app.chat.query_one(Sidebar).options.option_count == 2)
        await pilot.press("ctrl+l", "end", "enter")
        await until(pilot, shows(pilot, "✗"))
        lines = app.screen._compositor.render_strips()
        assert all(is_harmless(segment.text) for line in lines for segment in line)


async def test_help_opens_and_closes(app: ChatApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("f1")
        await until(pilot, shows(pilot, "Commands and keys", "send the message"))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)


async def test_the_plan_is_shown_before_and_after_loading(app: ChatApp, connection: FakeConnection) -> None:
    share = Share("CUDA0", "A card", "gpu", 0, 24, True, 3 << 30, 1 << 30, 1 << 28, 1 << 26, 8 << 30)
    host = Share("CPU", "A processor", "cpu", 0, 0, False, 1 << 27, 0, 1 << 20, 1 << 28, 16 << 30)
    plan = Plan("m.gguf", 24, 32768, "f16", 512, "layer", 4, (share, host), 900.0, 45.6, exact=True, why=("All.",))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("f2")
        await until(pilot, shows(pilot, "The model is being planned"))
        await pilot.press("escape")
        app.backend.loaded(connection.client, Planned(plan))
        await pilot.press("f2")
        await until(pilot, shows(pilot, "CUDA0", "layers 0 to 23, output", "decode 45.6 tok/s", "All."))
        await pilot.press("f2")
        app.backend.loaded(connection.client, Planned(plan, (("CUDA0", 4400 << 20),)))
        await pilot.press("f2")
        await until(pilot, shows(pilot, "took 4,400 MiB"))


async def test_the_last_answer_is_copied_as_markdown(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        connection.client.answer("It is **bold**.")
        await until(pilot, shows(pilot, "It is bold."))
        await pilot.press("ctrl+o")
        await until(pilot, lambda: app.clipboard == "It is **bold**.")


async def test_text_is_selected_with_the_mouse_and_copied(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        connection.client.answer("first line\n\nsecond line")
        await until(pilot, shows(pilot, "second line", "Enter sends"))
        lines = screen_text(app).splitlines()
        top = next(y for y, line in enumerate(lines) if "first line" in line)
        left = lines[top].index("first line")
        await pilot.mouse_down(offset=(left, top))
        await pilot.hover(offset=(left + 5, top + 2))
        await pilot.mouse_up(offset=(left + 5, top + 2))
        await pilot.press("ctrl+c")
        await until(pilot, lambda: app.clipboard == "first line\n\nsecond")


async def test_reading_further_up_is_not_disturbed_by_new_text(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        view = app.chat.query_one(Transcript)
        await pilot.press("a", "enter")
        connection.client.say("\n\n".join(f"paragraph {n}" for n in range(60)))
        await until(pilot, shows(pilot, "paragraph 59"))
        assert view.following
        await pilot.press("pageup", "pageup")
        await until(pilot, lambda: "paragraph 59" not in screen_text(app))
        place = view.scroll_y
        connection.client.say("\n\nunseen")
        await until(pilot, lambda: view.max_scroll_y > place)
        await pilot.pause(0.1)
        assert view.scroll_y == place
        assert not view.following
        await pilot.press("ctrl+end")
        await until(pilot, shows(pilot, "unseen"))
        connection.client.say("\n\nseen")
        await until(pilot, shows(pilot, "unseen", "seen"))
        connection.client.events.put_nowait(Finished("stop"))


async def test_resizing_and_themes_keep_the_readers_place(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        view = app.chat.query_one(Transcript)
        for number in range(4):
            await pilot.press("a", "enter")
            await until(pilot, lambda: not connection.client.events.qsize())
            connection.client.answer("\n\n".join(f"answer {number} paragraph {n} " + "word " * 20 for n in range(30)))
            await until(pilot, shows(pilot, f"answer {number} paragraph 29", "Enter sends"))
        view.scroll_to(y=view.max_scroll_y // 2, animate=False)
        await until(pilot, lambda: not view.following)
        before = next(line.split("paragraph")[0] for line in screen_text(app).splitlines() if "answer" in line)
        await pilot.resize_terminal(80, 30)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: app.theme == "localqwen-light")
        await pilot.pause(0.2)
        assert before.strip().split()[-1] in screen_text(app)
        await pilot.press("ctrl+end")
        await until(pilot, shows(pilot, "answer 3 paragraph 29"))


async def test_delta_bursts_are_painted_once_a_frame(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        connection.client.say("begin ")
        await until(pilot, shows(pilot, "begin"))
        paints = 0
        paint = app.chat.desk.paint

        def counted() -> None:
            nonlocal paints
            paints += 1
            paint()

        app.chat.desk.paint = counted  # type: ignore[method-assign]
        connection.client.say(*["x"] * 500)
        connection.client.events.put_nowait(Delta(" end"))
        await until(pilot, shows(pilot, "xxx end"))
        assert paints < 20
