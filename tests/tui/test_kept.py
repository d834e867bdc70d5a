"""What a restart finds, and what becomes of a message that cannot be kept."""

from __future__ import annotations

from localqwen.chats.store import ChatStoreError, Store
from tests.tui.fakes import SIZE, FakeConnection, shows, type_text, until
from tui.app import ChatApp
from tui.widgets.composer import Composer


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


async def test_a_message_that_cannot_be_kept_returns_to_the_composer(app: ChatApp, store: Store) -> None:
    def fail(*_: object) -> None:
        raise ChatStoreError("The disk is full.")

    store.ask = fail  # type: ignore[method-assign,assignment]
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await type_text(pilot, "precious")
        await pilot.press("enter")
        await until(pilot, shows(pilot, "The disk is full."))
        assert app.chat.query_one(Composer).text == "precious"
