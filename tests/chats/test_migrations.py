from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from localqwen.chats.migrations import STEPS
from localqwen.chats.store import Store
from localqwen.params import SamplingParams


@pytest.fixture
def first_step(tmp_path: Path) -> Path:
    """A file as the first release wrote it."""
    path = tmp_path / "chats.sqlite3"
    with sqlite3.connect(path) as db:
        for statement in STEPS[0]:
            db.execute(statement)
        db.execute("INSERT INTO chat VALUES (7, 'The capital', NULL, 1.0, 2.0, NULL, 'a draft', NULL)")
        row = "INSERT INTO message VALUES (?, 7, ?, ?, ?, ?, 1.0, 'm', '{\"seed\": 3}', NULL, NULL, NULL)"
        db.execute(row, (1, None, "user", "Which is Japan's?", "done"))
        db.execute(row, (2, 1, "assistant", "Tokyo, on the", "streaming"))
        db.execute("UPDATE chat SET tip = 2")
        db.execute("PRAGMA user_version = 1")
    return path


def test_a_file_of_the_first_step_keeps_everything_and_is_searched(first_step: Path) -> None:
    store = Store(first_step)
    (chat,) = store.chats()
    assert (chat.id, chat.title, chat.draft, chat.system, chat.params) == (
        7, "The capital", "a draft", "", SamplingParams(),
    )  # fmt: skip
    question, answer = store.tree(7).path(chat.tip)
    assert (question.text, question.attachments, question.params) == ("Which is Japan's?", (), SamplingParams(seed=3))
    assert (answer.text, answer.state) == ("Tokyo, on the", "stopped")
    assert [hit.message_id for hit in store.search("japan")] == [1]
    assert [hit.message_id for hit in store.search("tok")] == [2]
    assert [hit.message_id for hit in store.search("capital")] == [None]
    check_index(store)
    store.close()
    with sqlite3.connect(first_step) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(STEPS),)


def test_a_file_of_the_second_step_is_searched_for_its_files(tmp_path: Path) -> None:
    path = tmp_path / "chats.sqlite3"
    with sqlite3.connect(path) as db:
        for statement in (*STEPS[0], *STEPS[1]):
            db.execute(statement)
        db.execute("INSERT INTO chat (id, title, created, updated) VALUES (7, 'The capital', 1.0, 2.0)")
        columns = "id, chat_id, role, text, state, created, attachments"
        files = json.dumps([{"name": "notes.txt", "text": "a\nlighthouse"}, {"name": "b", "text": "c"}, {}, "d"])
        for number, attachments in enumerate([files, "[]", "no JSON"], 1):
            values = (number, 7, "user", "x", "done", 1.0, attachments)
            db.execute(f"INSERT INTO message ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        db.execute("PRAGMA user_version = 2")
    store = Store(path)
    assert [hit.message_id for hit in store.search("lighth notes")] == [1]
    assert store.search("東") == []
    check_index(store)
    store.delete(7)
    store.purge(now=1e12)
    assert store.search("lighthouse") == []
    check_index(store)
    store.close()


def test_a_migration_that_is_killed_in_a_step_leaves_the_step_before(
    first_step: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = (STEPS[0], (*STEPS[1][:-1], "no SQL"))
    monkeypatch.setattr("localqwen.chats.migrations.STEPS", broken)
    with pytest.raises(Exception, match="cannot be used"):
        Store(first_step)
    assert not list(first_step.with_name("chats.sqlite3.holders").iterdir())
    monkeypatch.undo()
    store = Store(first_step)
    assert [hit.message_id for hit in store.search("tokyo")] == [2]
    store.close()


def check_index(store: Store) -> None:
    """Raise when an index does not say what its table says; no answer may be under way."""
    db = store._db
    for index in ("message_search", "title_search"):
        db.execute(f"INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")
    # FTS5 does not know what this one is about: it must be as one that is made now.
    db.execute("CREATE VIRTUAL TABLE temp.fresh USING fts5 (files, tokenize='unicode61 remove_diacritics 2')")
    db.execute("INSERT INTO temp.fresh (rowid, files) SELECT id, files FROM message_files")
    db.execute("CREATE VIRTUAL TABLE temp.words_now USING fts5vocab(temp, fresh, instance)")
    db.execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, file_search, instance)")
    words, now = (set(db.execute(f"SELECT * FROM temp.{name}")) for name in ("words", "words_now"))
    for name in ("words", "words_now", "fresh"):
        db.execute(f"DROP TABLE temp.{name}")
    assert words == now
