from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from localqwen.chats.migrations import STEPS
from localqwen.chats.store import ChatStoreError, Store
from localqwen.chats.tree import Message
from localqwen.errors import LocalqwenError
from localqwen.events import Usage
from localqwen.params import SamplingParams


def reopened(store: Store) -> Store:
    store.close()
    return Store(store.path)


def test_a_conversation_comes_back_whole(tmp_path: Path) -> None:
    store = Store(tmp_path / "chats.sqlite3")
    chat = store.create_chat()
    question = store.ask(chat.id, None, "héllo\x00\x1b[2J\r\n<|im_start|>")
    params = SamplingParams(temperature=0.5, stop=("a", "b"))
    answer = store.begin_answer(chat.id, question.id, params)
    closed = Message(
        answer.id, chat.id, question.id, "assistant", "wörld", "done", answer.created, "demo", params, Usage(3, 2)
    )
    store.finish_answer(closed)

    store = reopened(store)
    (found,) = store.chats()
    assert found.tip == answer.id
    assert store.tree(found.id).path(found.tip) == [question, closed]
    store.close()


def test_the_first_message_gives_the_title_and_sending_clears_the_draft(tmp_path: Path) -> None:
    store = Store(tmp_path / "chats.sqlite3")
    chat = store.create_chat()
    store.save_draft(chat.id, "What is")
    first = store.ask(chat.id, None, "What is\n  this?")
    store.ask(chat.id, first.id, "And that?")
    found = store.chat(chat.id)
    assert (found.title, found.draft) == ("What is this?", "")


def test_the_last_used_conversation_is_listed_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "chats.sqlite3")
    one, two = store.create_chat(), store.create_chat()
    store.ask(two.id, None, "b")
    store.ask(one.id, None, "a")
    assert [chat.id for chat in store.chats()] == [one.id, two.id]


def test_a_late_save_does_not_undo_the_end(tmp_path: Path) -> None:
    store = Store(tmp_path / "chats.sqlite3")
    chat = store.create_chat()
    question = store.ask(chat.id, None, "?")
    answer = store.begin_answer(chat.id, question.id, SamplingParams())
    store.finish_answer(Message(answer.id, chat.id, question.id, "assistant", "all of it", "done", answer.created))
    store.save_answer(answer.id, "all")
    assert store.tree(chat.id)[answer.id].text == "all of it"


def test_answers_of_dead_processes_are_stopped_and_those_of_living_ones_left(tmp_path: Path) -> None:
    path = tmp_path / "chats.sqlite3"
    living = Store(path)
    chat = living.create_chat()
    question = living.ask(chat.id, None, "?")
    mine = living.begin_answer(chat.id, question.id, SamplingParams())
    script = (
        "import os, sys; from pathlib import Path; from localqwen.chats.store import Store\n"
        "from localqwen.params import SamplingParams\n"
        "store = Store(Path(sys.argv[1])); chat = store.create_chat(); question = store.ask(chat.id, None, 'q')\n"
        "store.save_answer(store.begin_answer(chat.id, question.id, SamplingParams()).id, 'half an ans')\n"
        "draft = store.create_chat(); store.save_draft(draft.id, 'unsent'); os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 9

    second = Store(path)
    assert second.tree(chat.id)[mine.id].state == "streaming"
    (dead,) = [found for found in second.chats() if found.title == "q"]
    last = second.tree(dead.id).path(dead.tip)[-1]
    assert (last.state, last.text) == ("stopped", "half an ans")
    draft = second.abandoned_draft()
    assert draft is not None
    assert draft.draft == "unsent"
    living.close()
    second.close()
    assert not list(path.with_name("chats.sqlite3.holders").iterdir())


def test_a_draft_that_a_living_process_types_is_not_abandoned(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "c.sqlite3"), Store(tmp_path / "c.sqlite3")
    chat = first.create_chat()
    first.save_draft(chat.id, "typing")
    assert second.abandoned_draft() is None
    first.close()
    assert second.abandoned_draft() is not None
    second.close()


def test_an_empty_conversation_goes_and_a_used_one_stays(tmp_path: Path) -> None:
    store = Store(tmp_path / "c.sqlite3")
    empty, drafted, used = (store.create_chat() for _ in range(3))
    store.save_draft(drafted.id, "x")
    store.ask(used.id, None, "x")
    assert [store.discard_if_empty(chat.id) for chat in (empty, drafted, used)] == [True, False, False]


def test_a_file_that_is_no_database_gives_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "chats.sqlite3"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(ChatStoreError, match="cannot be used"):
        Store(path)
    assert path.read_bytes() == b"not a database" * 100


def test_a_newer_file_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "chats.sqlite3"
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    with pytest.raises(LocalqwenError, match="newer localqwen"):
        Store(path)


def test_a_folder_that_cannot_be_made_gives_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ChatStoreError, match="cannot keep conversations"):
        Store(tmp_path / "file" / "chats.sqlite3")


def test_statistics_that_are_no_numbers_are_unknown() -> None:
    # An older version has kept what a server sent.
    store = Store.temporary()
    chat = store.create_chat()
    question = store.ask(chat.id, None, "first")
    answer = store.begin_answer(chat.id, question.id, SamplingParams())
    stats = '{"prompt_tokens": "12", "completion_tokens": 3, "decode_seconds": NaN}'
    store._db.execute("UPDATE message SET stats = ? WHERE id = ?", (stats, answer.id))
    assert store.tree(chat.id)[answer.id].usage == Usage(completion_tokens=3)
