"""SIGKILL at random moments: what was acknowledged is there, what streamed is there up to the last commit."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from localqwen.chats.attachment import Attachment
from localqwen.chats.store import Store
from tests.chats.test_migrations import check_index

# Writes conversations without end. It prints a line *after* each thing is promised to be on disk, and the test kills
# it after a random line, so that no sleep decides anything.
WRITER = """
import asyncio, sys
from pathlib import Path
from localqwen.chats import answering
from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from localqwen.events import Delta, Finished
from localqwen.params import SamplingParams

answering.SAVE_SECONDS = 0.002

async def main():
    store = Store(Path(sys.argv[1]))
    say = lambda *words: print(*words, flush=True)
    while True:
        conversation = Conversation(store)
        for turn in range(3):
            await conversation.save_draft(f"question {turn}")
            say("draft", conversation.chat.id, turn)
            await conversation.ask(f"question {turn}")
            say("asked", conversation.chat.id, turn)
            async def stream(history):
                for number in range(20):
                    yield Delta(f"{number} ")
                    await asyncio.sleep(0.001)
                    saved = store.tree(conversation.chat.id)[conversation.tip].text
                    say("saved", conversation.chat.id, turn, len(saved))
                yield Finished("stop")
            await conversation.respond(stream, SamplingParams(), lambda: "m", lambda: None)
            say("answered", conversation.chat.id, turn)

asyncio.run(main())
"""

FULL_ANSWER = "".join(f"{number} " for number in range(20))


def killed_after(lines: int, script: str, path: Path) -> list[list[str]]:
    """What a writer had promised when it was killed; its file is checked."""
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline().split() for _ in range(lines)]
        writer.kill()
        # Lines that were written and not read yet are promises as well.
        told += [line.split() for line in writer.stdout.read().splitlines()]
    assert all(told), "the writer failed by itself"
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    return told


@pytest.mark.parametrize("seed", range(12))
def test_a_kill_loses_nothing_that_was_promised(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "chats.sqlite3"
    told = killed_after(random.Random(seed).randrange(1, 250), WRITER, path)
    store = Store(path)
    for what, chat_id, turn, *rest in told:
        messages = store.tree(int(chat_id)).path(store.chat(int(chat_id)).tip)
        questions = [message.text for message in messages if message.role == "user"]
        answers = [message for message in messages if message.role == "assistant"]
        match what:
            case "draft":
                assert store.chat(int(chat_id)).draft == f"question {turn}" or f"question {turn}" in questions
            case "asked":
                assert f"question {turn}" in questions
            case "saved":
                assert len(answers[int(turn)].text) >= int(rest[0])
            case "answered":
                assert (answers[int(turn)].text, answers[int(turn)].state) == (FULL_ANSWER, "done")
    for chat in store.chats():
        assert all(message.state != "streaming" for message in store.tree(chat.id).path(chat.tip))
    store.close()


# The same for what came with branches: drafts and queues with files, and answers that are continued in place.
BRANCHING_WRITER = """
import asyncio, itertools, sys
from pathlib import Path
from localqwen.chats import answering
from localqwen.chats.attachment import Attachment
from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from localqwen.events import Delta, Finished
from localqwen.params import SamplingParams

answering.SAVE_SECONDS = 0.002
PARAMS = SamplingParams()

async def main():
    store = Store(Path(sys.argv[1]))
    say = lambda *words: print(*words, flush=True)
    conversation = Conversation(store)
    asked = itertools.count()
    def stream(text):
        async def events(history):
            for letter in text:
                yield Delta(letter)
                await asyncio.sleep(0.001)
                saved = store.tree(1)[conversation.tip].text
                say("saved", conversation.tip, len(saved))
            yield Finished("stop")
        return events
    answer = lambda text: conversation.respond(stream(text), PARAMS, lambda: "m", lambda: None)
    await conversation.ask("begin")
    await answer("abcdefgh")
    while True:
        number = next(asked)
        file = Attachment(f"{number}.txt", str(number) * 5000)
        await conversation.save_draft(f"draft {number}", [file])
        say("draft", number)
        queued = await conversation.enqueue(f"queued {number}", [file])
        say("queued", number)
        await conversation.take_next()
        say("asked", number)
        await answer("abcdefgh")
        await conversation.resume(stream("ijklmnop"), PARAMS, lambda: "m", lambda: None)
        say("resumed", conversation.tip)
        conversation.rewind(conversation.tip)
        await answer("xyz")
        say("regenerated", conversation.tip)

asyncio.run(main())
"""


@pytest.mark.parametrize("seed", range(12))
def test_a_kill_loses_no_draft_no_queue_and_no_part_of_a_continued_answer(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "chats.sqlite3"
    told = killed_after(random.Random(seed).randrange(1, 120), BRANCHING_WRITER, path)
    store = Store(path)
    chat = store.chat(1)
    tree = store.tree(1)
    questions = {message.text: message.attachments for message in tree if message.role == "user"}
    waiting = {queued.text: queued.attachments for queued in store.queue(1)}
    assert not questions.keys() & waiting.keys(), "a queued message was doubled"
    for what, value, *rest in told:
        files = (Attachment(f"{value}.txt", value * 5000),)
        match what:
            case "draft":
                typed = {chat.draft.replace("draft", "queued"): chat.draft_attachments}
                assert (typed | waiting | questions)[f"queued {value}"] == files
            case "queued":
                assert (waiting | questions)[f"queued {value}"] == files
            case "asked":
                assert questions[f"queued {value}"] == files
            case "saved":
                assert len(tree[int(value)].text) >= int(rest[0])
            case "resumed":
                assert (tree[int(value)].text, tree[int(value)].state) == ("abcdefghijklmnop", "done")
            case "regenerated":
                assert tree[int(value)].text == "xyz"
                assert tree.position(int(value)) == (2, 2)
    assert all("abcdefghijklmnop".startswith(one.text) or one.text in "xyz" for one in tree if one.role == "assistant")
    assert all(message.state != "streaming" for message in tree)
    check_index(store)
    store.close()
