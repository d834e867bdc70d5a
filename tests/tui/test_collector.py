"""Collections that stop nobody, and that find everything in the end."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from localqwen.chats.store import Store
from tests.tui.fakes import FakeConnection, until
from tui.app import ChatApp
from tui.collector import AWAY_SECONDS, MANY_OBJECTS, Collector


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Node:
    """One that can be watched."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def collector(clock: Clock) -> Iterator[Collector]:
    collector = Collector(clock)
    collector.begin()
    yield collector
    collector.end()
    gc.unfreeze()


def test_what_outlives_a_collection_is_not_walked_over_again(collector: Collector) -> None:
    before = gc.get_freeze_count()
    kept = [Node() for _ in range(1000)]
    gc.collect()
    assert gc.get_freeze_count() >= before + len(kept)
    assert len(gc.get_objects()) < len(kept)


def test_a_cycle_that_dies_young_is_found(collector: Collector) -> None:
    dead = weakref.ref(Node())
    gc.collect()
    assert dead() is None


def test_what_died_after_it_was_frozen_is_found_when_nobody_is_there(collector: Collector, clock: Clock) -> None:
    node = Node()
    dead = weakref.ref(node)
    kept = [Node() for _ in range(MANY_OBJECTS)]
    gc.collect()
    del node
    gc.collect()
    assert dead() is not None
    assert not collector.look()
    clock.now = AWAY_SECONDS
    collector.touched()
    assert not collector.look()
    clock.now *= 2
    assert collector.look()
    assert dead() is None
    assert not collector.look(), "there is nothing new to search"
    assert kept


def test_nothing_is_searched_for_a_few_objects(collector: Collector, clock: Clock) -> None:
    gc.collect()
    clock.now = AWAY_SECONDS
    assert not collector.look()


async def test_the_chat_begins_it_when_it_has_been_painted(tmp_path: Path) -> None:
    store = Store(tmp_path / "chats.sqlite3")
    app = ChatApp(store, FakeConnection())
    callbacks = list(gc.callbacks)
    gc.disable()
    try:
        async with app.run_test() as pilot:
            assert not gc.isenabled()
            await until(pilot, gc.isenabled)
            assert len(gc.callbacks) == len(callbacks) + 1
        assert gc.callbacks == callbacks
    finally:
        gc.enable()
        gc.unfreeze()
    store.close()
