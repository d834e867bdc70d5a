"""A store in the test's own folder, and apps that talk to a scripted model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localqwen.chats.store import Store
from tests.tui.fakes import FakeConnection
from tui.app import ChatApp


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    store = Store(tmp_path / "chats.sqlite3")
    yield store
    store.close()


@pytest.fixture
def connection() -> FakeConnection:
    """A model that is ready at once."""
    return FakeConnection()


@pytest.fixture
def app(store: Store, connection: FakeConnection) -> ChatApp:
    """The app over both."""
    return ChatApp(store, connection)
