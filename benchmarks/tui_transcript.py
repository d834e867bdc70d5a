"""What the chat costs: opening, streaming into, and redrawing a long conversation.

    .venv/bin/python benchmarks/tui_transcript.py [TOKENS ...]

The model is scripted and sends 200 deltas a second. A heartbeat every 4 ms measures how late the event loop is: that
is how late a key would be. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path

from localqwen.chats.answer import Answer, end
from localqwen.chats.store import Store
from localqwen.client import MODEL_DEFAULTS
from localqwen.device_memory import DeviceMemory
from localqwen.events import AnswerEvent, Delta, Finished, Ready
from localqwen.params import ChatMessage, SamplingParams
from tui.app import ChatApp
from tui.backend import Listener
from tui.widgets.sidebar import Sidebar
from tui.widgets.transcript.view import Transcript

HEARTBEAT_SECONDS = 0.004
STREAM_SECONDS = 5
RATE = 200
PARAGRAPH = (
    "The quick brown fox jumps over the **lazy dog** and runs through `code` until the evening comes, every day. "
)
ANSWER = (
    "## A heading\n\n" + (PARAGRAPH * 2 + "\n\n") * 3
    + "".join(f"- item {n} with some words in it\n" for n in range(8))
    + "\n```python\n" + "".join(f"value_{n} = compute(alpha, beta)\n" for n in range(12)) + "```\n\n"
)  # fmt: skip
STREAMS: dict[str, Callable[[int], str]] = {
    "prose": lambda n: "word " + ("\n\n" if n % 80 == 79 else ""),
    "one list": lambda n: "\n- item" if n % 6 == 0 else " word",
    "one fence": lambda n: "```c\n" if n == 0 else "\nint x = 1;" if n % 6 == 0 else " f(x);",
    "one table": lambda n: (
        "| a | b |\n|---|---|" if n == 0 else "\n| cell" if n % 8 == 0 else " | " if n % 8 == 4 else " w"
    ),
}


class Scripted:
    """A model that is ready at once and sends what ``piece`` says."""

    name, address = "scripted", None

    def __init__(self) -> None:
        self.piece = STREAMS["prose"]

    async def live(self, listener: Listener) -> str:
        """Never ends."""
        listener.loaded(self, Ready("scripted", 131072))
        await asyncio.Event().wait()
        return ""

    async def count_tokens(self, said: Sequence[ChatMessage] | str) -> int | None:
        """Nobody counts."""
        return None

    async def memory(self) -> tuple[DeviceMemory, ...]:
        """Nobody looks."""
        return ()

    async def stream(
        self,
        messages: Sequence[ChatMessage],
        params: SamplingParams = MODEL_DEFAULTS,
        model: str | None = None,
        *,
        resume: bool = False,
    ) -> AsyncGenerator[AnswerEvent, None]:
        """Deltas at a fixed rate."""
        begin, sent = time.perf_counter(), 0
        while sent < RATE * STREAM_SECONDS:
            for _ in range(sent, int((time.perf_counter() - begin) * RATE)):
                yield Delta(self.piece(sent))
                sent += 1
            await asyncio.sleep(0.005)
        yield Finished("stop")


async def measured(what: str, action: Callable[[], Awaitable[object]]) -> None:
    """Run ``action`` beside a heartbeat and print how late it was, and the CPU used."""
    late: list[float] = []

    async def beat() -> None:
        while True:
            begin = time.perf_counter()
            await asyncio.sleep(HEARTBEAT_SECONDS)
            late.append((time.perf_counter() - begin - HEARTBEAT_SECONDS) * 1000)

    task = asyncio.create_task(beat())
    await asyncio.sleep(HEARTBEAT_SECONDS * 2)
    cpu, wall = time.process_time(), time.perf_counter()
    await action()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    task.cancel()
    late.sort()
    p50, p95 = late[len(late) // 2], late[int(len(late) * 0.95)]
    print(
        f"  {what:<34} {wall * 1000:7.0f} ms   late p50 {p50:5.1f}  p95 {p95:6.1f}"
        f"  max {late[-1]:6.1f} ms   cpu {100 * cpu / wall:4.0f} %"
    )


def fill(store: Store, tokens: int) -> int:
    """A conversation of about so many tokens."""
    chat, tip = store.create_chat(), None
    for _ in range(max(1, tokens * 4 // len(ANSWER))):
        tip = store.ask(chat.id, tip, "Tell me more.").id
        answer = store.begin_answer(chat.id, tip, MODEL_DEFAULTS)
        tip = answer.id
        done = end(Answer(answer), "done").message
        store.finish_answer(type(done)(done.id, chat.id, done.parent_id, "assistant", ANSWER, "done", done.created))
    return chat.id


async def bench(tokens: int) -> None:
    """All figures for one length."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "chats.sqlite3")
        chat_id = fill(store, tokens)
        scripted = Scripted()
        app = ChatApp(store, scripted)
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            view = app.chat.query_one(Transcript)
            memory = rss()

            async def until(condition: Callable[[], bool]) -> None:
                while not condition():  # noqa: ASYNC110 (a condition of somebody else's)
                    await asyncio.sleep(0.002)

            async def open_chat() -> None:
                await app.chat.on_sidebar_chosen(Sidebar.Chosen(chat_id))

            async def answer() -> None:
                app.chat._send("go on")
                await asyncio.sleep(0.1)
                await until(lambda: not app.chat._turns.is_under_way(app.chat._conversation))

            async def theme() -> None:
                app.action_toggle_theme()
                await asyncio.sleep(0.3)

            async def scroll() -> None:
                for _ in range(20):
                    app.chat.action_page(-1)
                    await asyncio.sleep(0.02)

            print(f"{tokens} tokens")
            await measured("open, readable", open_chat)
            await measured("open, exact extent", lambda: until(lambda: view._document.is_exact))
            print(f"  memory {rss() - memory:+.0f} MB")
            for name, piece in STREAMS.items():
                scripted.piece = piece
                await measured(f"{RATE} tok/s, {name}", answer)
            await measured("20 pages up", scroll)
            await measured("theme", theme)
            await until(lambda: view._document.is_exact)
            await measured("resize", lambda: pilot.resize_terminal(100, 40))
        store.close()


def rss() -> float:
    """Resident memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    for length in [int(argument) for argument in sys.argv[1:]] or [1_000, 100_000]:
        asyncio.run(bench(length))
