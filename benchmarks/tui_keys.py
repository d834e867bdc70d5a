"""How soon a key is seen while an answer is generated on every core, and what a paste of a megabyte costs.

    .venv/bin/python -m benchmarks.tui_keys [RUNS]

The model is scripted and sends 200 deltas a second; beside it one process for each core does nothing but compute, as
an engine does. A key's time goes from the event that a terminal's bytes become to the moment when the strip with the
character is turned into bytes for the terminal. Stock Textual's figures were taken with a bare ``TextArea``.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import tui  # noqa: F401 (before Textual, which reads its frame rate from the environment that this sets)

# isort: split
from rich.console import RenderableType
from textual import events
from textual._compositor import CompositorUpdate
from textual.app import App, ComposeResult
from textual.screen import Screen
from textual.widgets import TextArea

from benchmarks.machine import description
from benchmarks.scripted import Scripted
from localqwen.chats.store import Store
from localqwen.serve_options import PRIVATE_NICENESS
from tui.app import ChatApp
from tui.widgets.composer import Composer

KEYS = 400
KEY_SECONDS = 0.02
RATE = 200
MEGABYTE = ("x = compute(alpha, beta)  # a line of code\r\n" * 24_385)[: 1 << 20]
# The characters that are looked for on the screen must not stand beside each other anywhere else.
LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds of one run. Work is this process's CPU time, which other processes cannot stretch."""

    p50: float
    p99: float
    longest: float
    work_p99: float
    paste: float
    paste_work: float
    next_key: float


class Watch:
    """Looks through an app's frames, as they would be written to a terminal, for a text."""

    def __init__(self, app: App[None]) -> None:
        self._app = app
        self._awaited = ""
        self._seen: asyncio.Future[tuple[float, float]] | None = None
        self._display = app._display
        # The one place that all frames go through.
        app._display = self._look  # type: ignore[method-assign]

    def _look(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        self._display(screen, renderable)
        if isinstance(renderable, CompositorUpdate) and not self._app._batch_count:
            written = renderable.render_segments(self._app.console)
            if self._seen is not None and not self._seen.done() and self._awaited in written:
                self._seen.set_result((time.perf_counter(), time.process_time()))

    async def until_seen(self, text: str, event: events.Event) -> tuple[float, float]:
        """Milliseconds from posting ``event`` until ``text`` is written, and of work in between."""
        self._awaited, self._seen = text, asyncio.get_running_loop().create_future()
        begin, work = time.perf_counter(), time.process_time()
        self._app.post_message(event)
        end, worked = await asyncio.wait_for(self._seen, 30)
        return (end - begin) * 1000, (worked - work) * 1000


class Stock(App[None]):
    """Textual's own text area, alone on the screen."""

    def compose(self) -> ComposeResult:
        """Nothing else."""
        yield TextArea()


@contextmanager
def busy_cores() -> Iterator[None]:
    """A process for each core that only computes, and gives way to the chat as its server does."""
    command = ["nice", "-n", str(PRIVATE_NICENESS), sys.executable, "-c", "while True: sum(range(10_000))"]
    processes = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def typed(app: App[None], watch: Watch, keys: int) -> list[tuple[float, float]]:
    """Type at a person's fastest, in lines that a composer shows whole."""
    times: list[tuple[float, float]] = []
    line = ""
    for count, letter in enumerate(islice(cycle(LETTERS), keys)):
        line += letter
        times.append(await watch.until_seen(line[-6:], events.Key(letter, letter)))
        await asyncio.sleep(KEY_SECONDS)
        if count % 40 == 39:
            app.post_message(events.Key("ctrl+j", None))
            line = ""
            await asyncio.sleep(KEY_SECONDS)
    return times


async def run() -> Figures:
    """One run in a new chat."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "chats.sqlite3")
        gc.disable()  # as `localqwen chat` begins
        app = ChatApp(store, Scripted(lambda n: "word " if n % 80 else "\n\n", RATE, RATE * 60))
        watch = Watch(app)
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            while not gc.isenabled():  # noqa: ASYNC110 (it tells nobody)
                await asyncio.sleep(0.05)
            composer = app.screen.query_one(Composer)
            composer.fill("Tell me a long story.")
            await pilot.press("enter")
            await asyncio.sleep(1)
            with busy_cores():
                await asyncio.sleep(1)
                times = await typed(app, watch, KEYS)
            composer.fill("")
            paste, work = await watch.until_seen("pasted text 1", events.Paste(MEGABYTE))
            key, _ = await watch.until_seen("q", events.Key("q", "q"))
            await pilot.press("escape")
        store.close()
    echo, works = sorted(echo for echo, _ in times), sorted(work for _, work in times)
    ninety_nine = int(len(times) * 0.99)
    return Figures(echo[len(echo) // 2], echo[ninety_nine], echo[-1], works[ninety_nine], paste, work, key)


async def stock() -> tuple[float, float]:
    """A paste of a megabyte into a bare text area, and the next key."""
    app = Stock()
    watch = Watch(app)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        paste, _ = await watch.until_seen("alpha", events.Paste(MEGABYTE.replace("\r", "")))
        key, _ = await watch.until_seen("q", events.Key("q", "q"))
        return paste, key


def main(runs: int) -> None:
    """Print the table."""
    figures = [asyncio.run(run()) for _ in range(runs)]
    stock_paste, stock_key = asyncio.run(stock())
    print(f"{description()}\n\n| figure | goal | {' | '.join(f'run {n + 1}' for n in range(runs))} | stock Textual |")
    print("| --- | --- |" + " --- |" * (runs + 1))

    def row(name: str, goal: str, values: list[float], compared: str = "") -> None:
        print(f"| {name} | {goal} | {' | '.join(f'{value:.1f} ms' for value in values)} | {compared} |")

    row("key to echo, p50", "", [one.p50 for one in figures])
    row("key to echo, p99", "≤ 16 ms", [one.p99 for one in figures])
    row("key to echo, longest", "", [one.longest for one in figures])
    row("key to echo, work of the p99", "", [one.work_p99 for one in figures])
    row("1 MiB paste", "≤ 100 ms", [one.paste for one in figures], f"{stock_paste:.0f} ms")
    row("1 MiB paste, work", "", [one.paste_work for one in figures])
    row("the key behind it", "≤ 16 ms", [one.next_key for one in figures], f"{stock_key:.0f} ms")
    print(f"\nThe median of the p99 is {statistics.median(one.p99 for one in figures):.1f} ms.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
