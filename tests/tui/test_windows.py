"""What another window, or an early Esc, does to a turn; and who is taken to the end of the conversation."""

from __future__ import annotations

import threading
from typing import Any

from localqwen.chats.store import Store
from localqwen.chats.tree import Message
from localqwen.events import Finished
from tests.tui.stage import Stage, staged


async def test_what_the_other_window_has_sent_ends_the_turn_with_a_sentence(store: Store) -> None:
    other = Store(store.path)
    async with staged(store) as stage:
        await stage.begin("first", "an answer")
        await stage.send("second")
        await stage.sees("1 queued")
        await stage.press("escape")
        await stage.rests()
        queued = other.queue(stage.chat.id)
        other.ask_queued(stage.chat.id, stage.chat.tip, queued[0])
        await stage.slash("send-queued")
        await stage.hears_of("Another window has sent what waited here")
        await stage.rests()
        await stage.misses("queued")
        assert stage.open.path[-1].text == "second"
    other.close()


async def test_esc_right_behind_enter_stops_the_answer(store: Store) -> None:
    keep, goes_on = store.ask, threading.Event()

    def slow(*arguments: Any, **more: Any) -> Message:
        goes_on.wait(20)
        return keep(*arguments, **more)

    async with staged(store) as stage:
        store.ask = slow  # type: ignore[method-assign]
        await stage.send("first")
        await stage.press("escape")
        goes_on.set()
        await stage.rests()
        assert [message.state for message in stage.kept] == ["done", "stopped"]
        assert stage.client.asked == []


async def reads_above(stage: Stage) -> None:
    await stage.ask("first", "\n\n".join(f"paragraph {number}" for number in range(60)))
    await stage.begin("second", "an answer")
    await stage.send("third")
    await stage.sees("1 queued")
    stage.transcript.scroll_to(y=0, animate=False)
    await stage.until(lambda: not stage.transcript.following)


async def test_who_reads_above_stays_there_when_what_waits_is_sent(store: Store) -> None:
    async with staged(store) as stage:
        await reads_above(stage)
        stage.client.events.put_nowait(Finished("stop"))
        await stage.until(lambda: len(stage.client.asked) == 3)
        stage.client.answer("to the third")
        await stage.rests()
        assert round(stage.transcript.scroll_y) == 0


async def test_who_reads_above_and_sends_goes_to_the_end(store: Store) -> None:
    async with staged(store) as stage:
        await reads_above(stage)
        await stage.send("fourth")
        await stage.sees("2 queued", "fourth")
        assert stage.transcript.following


async def test_more_conversations_than_the_list_begins_with_are_offered(store: Store) -> None:
    with store._writing() as db:
        db.executemany(
            "INSERT INTO chat (title, created, updated) VALUES (?, 1, ?)",
            [(f"chat {number}", number) for number in range(520)],
        )
    async with staged(store) as stage:
        await stage.until(lambda: len(stage.list_titles) == 501)
        assert stage.list_titles[-1].startswith("… more")
        await stage.press("ctrl+l", "end", "p", "enter")
        await stage.until(lambda: len(stage.list_titles) == 520)
        options = stage.app.chat.desk.sidebar.options
        assert options.highlighted == 500
        assert store.chats(501)[-1].title == "chat 19"
        assert not any(chat.pinned for chat in store.chats())
