from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from localqwen.chats.attachment import Attachment
from localqwen.chats.chat_store import DELETED, DRAFTED, KEPT_DAYS, LISTED, OUTDATED, PURGED_AT_ONCE
from localqwen.chats.message_store import OPEN
from localqwen.chats.session import Conversation
from localqwen.chats.store import ChatStoreError, Store
from localqwen.events import AnswerEvent, Finished
from localqwen.params import ChatMessage, SamplingParams
from tests.chats.fakes import said

WARM = SamplingParams(temperature=1.2, stop=("END",))
DAY = 86400


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "chats.sqlite3") if request.param == "file" else Store.temporary()
    yield store
    store.close()


async def test_a_conversation_has_its_own_system_prompt_and_parameters(store: Store) -> None:
    conversation = Conversation(store, system="Be kind.", params=WARM)
    assert store.chats() == []
    await conversation.ask("q")
    assert (conversation.system, conversation.params) == ("Be kind.", WARM)
    await conversation.set_system("Be brief.")
    await conversation.set_params(SamplingParams(top_k=1))
    heard: list[ChatMessage] = []

    async def stream(told: list[ChatMessage]) -> AsyncGenerator[AnswerEvent, None]:
        heard.extend(told)
        yield Finished("stop")

    await conversation.respond(stream, conversation.params, lambda: "m", lambda: None)
    assert heard[0] == {"role": "system", "content": "Be brief."}
    (chat,) = store.chats()
    assert (chat.system, chat.params) == ("Be brief.", SamplingParams(top_k=1))


async def test_a_system_prompt_keeps_an_empty_conversation_unless_it_began_with_it(store: Store) -> None:
    default = Conversation(store, system="Be kind.", params=WARM)
    await default.save_draft("x")
    await default.save_draft("")
    assert (store.chats(), default.chat, default.system) == ([], None, "Be kind.")
    await default.set_system("Be kind.")
    assert store.chats() == []
    await default.set_system("Mine.")
    await default.save_draft("x")
    await default.save_draft("")
    assert [chat.system for chat in store.chats()] == ["Mine."]


async def test_a_draft_survives_with_its_attachments(store: Store) -> None:
    conversation, file = Conversation(store), Attachment("ä.txt", "big\0" * 1000)
    await conversation.save_draft("look at", [file])
    await conversation.save_draft("look at this")
    found = store.abandoned_draft() if store.is_temporary else store.chat(1)
    # This process lives and types: nobody has left anything.
    assert found is None or (found.draft, found.draft_attachments) == ("look at this", (file,))
    assert conversation.chat is not None
    again = await Conversation.open(store, conversation.chat.id)
    assert (again.draft, again.draft_attachments) == ("look at this", (file,))
    assert [chat.draft_attachments for chat in store.chats()] == [()]
    await again.save_draft("")
    assert store.chat(1).draft_attachments == (file,)
    await again.save_draft("", [])
    assert store.chats() == []


def test_a_file_alone_is_a_draft_that_comes_back(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "c.sqlite3"), Store(tmp_path / "c.sqlite3")
    first.save_draft(first.create_chat().id, "", [Attachment("a", "b")])
    first.close()
    draft = second.abandoned_draft()
    assert draft is not None
    assert draft.draft_attachments == (Attachment("a", "b"),)
    second.close()


def test_pinned_conversations_come_first_and_titles_are_one_line(store: Store) -> None:
    one, two, three = (store.create_chat() for _ in range(3))
    store.pin(one.id)
    store.rename(two.id, " a\n title ")
    assert [chat.id for chat in store.chats()] == [one.id, three.id, two.id]
    assert [chat.id for chat in store.chats(limit=1)] == [one.id]
    store.pin(one.id, False)
    assert [(chat.id, chat.title, chat.pinned) for chat in store.chats()] == [
        (three.id, "", False),
        (two.id, "a title", False),
        (one.id, "", False),
    ]
    with pytest.raises(ChatStoreError, match="no conversation 99"):
        store.rename(99, "x")


async def test_the_open_conversation_can_be_renamed(store: Store) -> None:
    conversation = Conversation(store)
    await conversation.ask("first words")
    await conversation.rename("Mine")
    await conversation.ask("second words")
    assert conversation.chat is not None
    assert conversation.chat.title == "Mine"


async def test_the_title_of_a_message_without_words_is_its_file_s(store: Store) -> None:
    conversation = Conversation(store)
    await conversation.ask("", [Attachment("report.txt", "…")])
    assert [chat.title for chat in store.chats()] == ["report.txt"]


def test_deleting_can_be_undone_until_the_file_is_tidied(store: Store) -> None:
    kept, gone = store.create_chat(), store.create_chat()
    store.ask(gone.id, None, "bye")
    now = gone.created
    for chat in (kept, gone):
        store.delete(chat.id)
    assert store.chats() == []
    assert {chat.id for chat in store.deleted_chats()} == {kept.id, gone.id}
    assert store.purge(now + (KEPT_DAYS - 1) * DAY) == 0
    store.undelete(kept.id)
    assert [chat.id for chat in store.chats()] == [kept.id]
    assert store.purge(now + (KEPT_DAYS + 1) * DAY) == 1
    assert store.deleted_chats() == []
    assert len(store.tree(gone.id)) == 0
    with pytest.raises(ChatStoreError):
        store.undelete(gone.id)


def test_a_start_removes_old_deletions_and_not_too_many(tmp_path: Path) -> None:
    store = Store(tmp_path / "c.sqlite3")
    for _ in range(PURGED_AT_ONCE + 1):
        store.delete(store.create_chat().id)
    store._db.execute("UPDATE chat SET deleted_at = 1")
    store.close()
    store = Store(tmp_path / "c.sqlite3")
    assert len(store.deleted_chats()) == 1
    store.close()


def test_presets_are_kept_changed_and_removed(store: Store) -> None:
    poet = store.add_preset(" Poet\n", "Rhyme.", WARM)
    clerk = store.add_preset("clerk", "", SamplingParams())
    assert store.presets() == [clerk, poet]
    assert (poet.name, poet.params) == ("Poet", WARM)
    with pytest.raises(ChatStoreError, match="preset 'Poet' already"):
        store.add_preset("Poet", "", WARM)
    with pytest.raises(ChatStoreError, match="preset 'Poet' already"):
        store.change_preset(replace(clerk, name="Poet"))
    with pytest.raises(ChatStoreError, match="needs a name"):
        store.add_preset(" \n", "", WARM)
    store.change_preset(replace(clerk, system="Count."))
    store.remove_preset(poet.id)
    assert store.presets() == [replace(clerk, system="Count.")]
    with pytest.raises(ChatStoreError, match="is gone"):
        store.change_preset(poet)


def test_a_temporary_store_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store.temporary()

    async def talk() -> None:
        conversation = Conversation(store)
        await conversation.ask("secret")
        await conversation.respond(said("kept to myself"), SamplingParams(), lambda: "m", lambda: None)

    asyncio.run(talk())
    assert [hit.snippet for hit in store.search("kept")] == ["kept to myself"]
    assert store.is_temporary
    store.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ChatStoreError, match="temporary"):
        store.chats()


def test_starting_and_listing_read_no_more_with_ten_thousand_conversations(tmp_path: Path) -> None:
    store = Store(tmp_path / "c.sqlite3")
    store._db.execute("BEGIN")
    store._db.execute(
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 10000) "
        "INSERT INTO chat (title, created, updated, pinned) SELECT 'title ' || i, i, i, i % 1000 = 0 FROM n"
    )
    store._db.execute("COMMIT")
    page = store.chats(limit=50)
    assert len(page) == 50
    assert [chat.id for chat in page[:11]] == [*range(10000, 0, -1000), 9999]
    for statement, index in (
        (LISTED, "chat_listed"),
        (DELETED, "chat_deleted"),
        (DRAFTED, "chat_unasked"),
        (OUTDATED, "chat_deleted"),
        (OPEN, "message_open"),
    ):
        values = [0] * statement.count("?")
        plan = [row[3] for row in store._db.execute("EXPLAIN QUERY PLAN " + statement, values)]
        assert index in plan[0], plan
        assert not any("TEMP B-TREE" in step and "ORDER BY" in step for step in plan), plan
    store.close()
