"""What the chat costs: opening, streaming into, and redrawing a long conversation.

    .venv/bin/python benchmarks/tui_transcript.py [RUNS]

The whole app runs on a pseudo-terminal of 120×40, with Textual's real driver, over a model that is scripted. A
heartbeat every 4 ms measures how late the event loop is: that is how late a key would be. Run it on a machine that
does nothing else; three runs take about five minutes.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from textual import events

import tui.app
from localqwen.chats.answer import Answer, end
from localqwen.chats.store import Store
from localqwen.client import MODEL_DEFAULTS
from localqwen.device_memory import DeviceMemory
from localqwen.events import AnswerEvent, Delta, Finished, Ready
from localqwen.params import ChatMessage, SamplingParams
from tui.app import ChatApp
from tui.attachments import Outgoing
from tui.connections import Listener
from tui.widgets.sidebar import Sidebar
from tui.widgets.transcript.view import Transcript

HEARTBEAT_SECONDS = 0.004
FAST, SLOW = 200, 20
FAST_SECONDS, SLOW_SECONDS = 6, 5
LONG, SHORT = 100_000, 1_000
WIDTH, HEIGHT = 120, 40
RUNS = 3
PARAGRAPH = (
    "The quick brown fox jumps over the **lazy dog** and runs through `code` until the evening comes, every day. "
)
ANSWER = (
    "## A heading\n\n" + (PARAGRAPH * 2 + "\n\n") * 3
    + "".join(f"- item {n} with some words in it\n" for n in range(8))
    + "\n```python\n" + "".join(f"value_{n} = compute(alpha, beta)\n" for n in range(12)) + "```\n\n"
)  # fmt: skip
# What stands there already when the measurement begins, and the tokens that go on with it.
BLOCKS: dict[str, tuple[str, list[str]]] = {
    "500-item list": (
        "".join(f"- item {n} with some words in it\n" for n in range(500)),
        ["- item", " with", " some", " more", " words", " in it\n"],
    ),
    "300-row table": (
        "| name | what it is | n |\n|---|---|--:|\n"
        + "".join(f"| row {n} | some words {n} | {n} |\n" for n in range(300)),
        ["| row", " x |", " some", " words", " |", " 12", " |\n"],
    ),
    "2,000-line fence": (
        "```c\n" + "".join(f"int value_{n} = compute(alpha, {n}); /* note */\n" for n in range(2000)),
        ["int", " x", " =", " f(", "1,", " 2)", ";", "\n"],
    ),
    "50k-character line": ((PARAGRAPH * 500)[:50_000], [" and", " so", " **on**", " with", " `code`", " and", " on,"]),
}


class Scripted:
    """A model that is ready at once and sends what it is told."""

    name, address = "scripted", None

    def __init__(self) -> None:
        self.rate, self.seconds = FAST, 0.0
        self.seed = ""
        self.pieces = ["word "]
        self.go_on = asyncio.Event()

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
        """The seed, then, when told, deltas at a fixed rate."""
        if self.seed:
            yield Delta(self.seed)
        await self.go_on.wait()
        begin, sent = time.perf_counter(), 0
        while sent < self.rate * self.seconds:
            for _ in range(sent, int((time.perf_counter() - begin) * self.rate)):
                yield Delta(self.pieces[sent % len(self.pieces)])
                sent += 1
            await asyncio.sleep(1 / self.rate)
        yield Finished("stop")


class Meter:
    """Lateness of the loop and CPU of the process while something runs."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.cpu = 0.0

    async def cost(self, action: Callable[[], Awaitable[object]]) -> Meter:
        """Measure the CPU of ``action`` in percent of a core, without the heartbeat's."""
        cpu, wall = time.process_time(), time.perf_counter()
        await action()
        self.cpu = 100 * (time.process_time() - cpu) / (time.perf_counter() - wall)
        return self

    async def run(self, action: Callable[[], Awaitable[object]]) -> Meter:
        """Measure ``action``; times are in ms."""

        async def beat() -> None:
            while True:
                begin = time.perf_counter()
                await asyncio.sleep(HEARTBEAT_SECONDS)
                self.late.append((time.perf_counter() - begin - HEARTBEAT_SECONDS) * 1000)

        task = asyncio.create_task(beat())
        await asyncio.sleep(HEARTBEAT_SECONDS * 3)
        self.late.clear()
        await action()
        await asyncio.sleep(HEARTBEAT_SECONDS * 2)
        task.cancel()
        self.late.sort()
        return self

    @property
    def p95(self) -> float:
        """Nearly the worst lateness, in ms."""
        return self.late[int(len(self.late) * 0.95)]

    @property
    def worst(self) -> float:
        """The worst lateness, in ms."""
        return self.late[-1]


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


def rss() -> float:
    """Resident memory of this process in MB."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


class Scenario:
    """All measurements, on a running app."""

    def __init__(self, app: ChatApp, scripted: Scripted, chats: dict[int, int]) -> None:
        self._app = app
        self._scripted = scripted
        self._chats = chats
        self.figures: dict[str, float] = {}

    @property
    def _view(self) -> Transcript:
        return self._app.chat.query_one(Transcript)

    async def _until(self, condition: Callable[[], bool], pause: float = 0.002) -> None:
        while not condition():  # noqa: ASYNC110 (a condition of somebody else's)
            await asyncio.sleep(pause)

    async def _painted(self) -> None:
        painted = asyncio.Event()
        self._app.chat.call_after_refresh(painted.set)
        await painted.wait()

    async def run(self) -> None:
        """Everything; the figures are in :attr:`figures` then."""
        await self._until(lambda: self._app.chat.is_running and bool(self._app.chat.query(Transcript)))
        await self._until(gc.isenabled)
        await asyncio.sleep(0.5)
        await self._open(SHORT, "warm-up")
        memory = rss()
        await self._open(LONG, "open")
        self.figures["memory MB"] = rss() - memory
        await self._redraws()
        await self._stream(LONG)
        await self._open(SHORT, "reopen")
        await self._stream(SHORT)
        for name in BLOCKS:
            await self._block(name)

    async def _open(self, tokens: int, name: str) -> None:
        begin = time.perf_counter()

        async def choose() -> None:
            await self._app.chat.on_sidebar_chosen(Sidebar.Chosen(self._chats[tokens]))
            await self._painted()
            self.figures[f"{name} readable ms"] = (time.perf_counter() - begin) * 1000
            await self._until(lambda: self._view.is_exact)
            self.figures[f"{name} exact ms"] = (time.perf_counter() - begin) * 1000

        meter = await Meter().run(choose)
        self.figures[f"{name} stall ms"] = meter.worst
        await self._until(lambda: self._view.is_settled)

    async def _timed(self, name: str, action: Callable[[], object], done: Callable[[], bool] = lambda: True) -> None:
        """Measure ``action`` until it is painted; what happens later than its call is ``done`` at some time."""
        await asyncio.sleep(0.3)

        async def act() -> None:
            action()
            await asyncio.sleep(0.001)
            await self._until(done, 0)
            await self._painted()
            self.figures[f"{name} ms"] = (time.perf_counter() - begin) * 1000
            await asyncio.sleep(0.4)

        begin = time.perf_counter() + HEARTBEAT_SECONDS * 3
        meter = await Meter().run(act)
        self.figures[f"{name} stall ms"] = meter.worst
        await self._until(lambda: self._view.is_settled)

    async def _redraws(self) -> None:
        await self._timed("focus out", lambda: self._app.post_message(events.AppBlur()))
        await self._timed("focus in", lambda: self._app.post_message(events.AppFocus()))
        await self._timed("resize", lambda: resize(100))
        resize(WIDTH)
        await asyncio.sleep(0.3)
        await self._until(lambda: self._view.is_settled)
        before = self._app.screen.styles.background
        await self._timed(
            "theme",
            lambda: self._app.post_message(events.Key("ctrl+t", None)),
            # The styles are computed anew some turns after the theme's name has changed.
            lambda: self._app.screen.styles.background != before,
        )

    async def _ask(self) -> None:
        self._scripted.go_on.clear()
        self._app.chat.desk.send(Outgoing("go on"))
        await asyncio.sleep(0.7)
        await self._until(lambda: self._view.is_settled)

    async def _answer(self) -> None:
        self._scripted.go_on.set()
        desk = self._app.chat.desk
        await asyncio.sleep(0.1)
        await self._until(lambda: not desk.turns.is_under_way(desk.conversation), 0.05)

    async def _stream(self, tokens: int) -> None:
        words = PARAGRAPH.split(" ")
        self._scripted.pieces = [f"{word} " for word in words] + ["\n\n"]
        self._scripted.seed, self._scripted.rate, self._scripted.seconds = "", FAST, FAST_SECONDS
        await self._ask()
        meter = await Meter().run(self._answer)
        await self._ask()
        await meter.cost(self._answer)
        self.figures |= {f"{tokens} p95": meter.p95, f"{tokens} max": meter.worst, f"{tokens} cpu": meter.cpu}

    async def _block(self, name: str) -> None:
        self._scripted.seed, self._scripted.pieces = BLOCKS[name]
        self._scripted.rate, self._scripted.seconds = SLOW, SLOW_SECONDS
        await self._ask()
        meter = await Meter().run(self._answer)
        await self._ask()
        await meter.cost(self._answer)
        self.figures |= {f"{name} cpu": meter.cpu, f"{name} max": meter.worst}


def resize(width: int) -> None:
    """Another width of the terminal that this process runs on."""
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, width, 0, 0))
    os.kill(os.getpid(), signal.SIGWINCH)


class Measured(ChatApp):
    """The app, which measures itself and ends."""

    CSS_PATH = str(Path(tui.app.__file__).with_name("localqwen.tcss"))

    def __init__(self, store: Store, scripted: Scripted, chats: dict[int, int], report: Path) -> None:
        super().__init__(store, scripted)
        self._scenario = Scenario(self, scripted, chats)
        self._report = report

    def on_ready(self) -> None:
        """Begin when the app is there."""
        self.run_worker(self._measure())

    async def _measure(self) -> None:
        await self._scenario.run()
        self._report.write_text(json.dumps(self._scenario.figures))
        self.exit()


def inside(report: Path) -> None:
    """The app, on the pseudo-terminal, begun as `localqwen chat` begins it."""
    gc.disable()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "chats.sqlite3")
        scripted = Scripted()
        app = Measured(store, scripted, {n: fill(store, n) for n in (SHORT, LONG)}, report)
        app.run_sturdily()
        store.close()


def one_run() -> dict[str, float]:
    """Run the app in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "figures.json"
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        process = subprocess.Popen(
            [sys.executable, __file__, "--inside", str(report)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        shown = bytearray()

        def drain() -> None:
            with suppress(OSError):
                while piece := os.read(master, 65536):
                    shown[:] = (shown + piece)[-4000:]

        thread = threading.Thread(target=drain, daemon=True)
        thread.start()
        process.wait()
        if not report.exists():
            sys.exit("the app failed:\n" + shown.decode(errors="replace"))
        figures: dict[str, float] = json.loads(report.read_text())
        return figures


def main(runs: int) -> None:
    """All runs, and a table of the worst of each figure."""
    results = []
    for number in range(runs):
        begin = time.perf_counter()
        results.append(one_run())
        print(f"run {number + 1}: {time.perf_counter() - begin:.0f} s", file=sys.stderr)

    def each(name: str, form: str = ".1f") -> str:
        return " ".join(format(result[name], form) for result in results)

    def row(figure: str, goal: str, measured: str, stock: str) -> None:
        print(f"| {figure} | {goal} | {measured} | {stock} |")

    print(f"Measured on {WIDTH}×{HEIGHT}, {runs} runs side by side.\n")
    row("figure", "goal", "measured", "stock Textual")
    row("---", "---", "---", "---")
    for tokens, stock in ((LONG, "3,801 ms p95"), (SHORT, "46 ms p95 at 8k")):
        what = f"loop lag at {FAST} tok/s into a {tokens // 1000}k-token chat, p95 / max ms"
        row(what, "8 / 33", f"{each(f'{tokens} p95')} / {each(f'{tokens} max')}", stock)
        row(f"… its CPU, % of a core at {FAST} tok/s", "", each(f"{tokens} cpu", ".0f"), "")
    ratio = " ".join(f"{result[f'{LONG} p95'] / result[f'{SHORT} p95']:.2f}" for result in results)
    row("… p95 at 100k over p95 at 1k", "within 20 %", ratio, "82")
    for name in BLOCKS:
        measured = f"{each(f'{name} cpu')} / {each(f'{name} max')}"
        row(f"CPU at {SLOW} tok/s: {name}, % / longest stall ms", "8 / 33", measured, "95 %")
    row("opening a 100k-token chat: readable ms", "100", each("open readable ms", ".0f"), "28 s")
    row("… exact extent ms", "1000", each("open exact ms", ".0f"), "28 s")
    row("… longest stall ms", "", each("open stall ms", ".0f"), "")
    row("… extra memory MB", "40", each("memory MB"), "219 MB at 40k")
    for name, stock in (("focus out", "5.7 s"), ("focus in", "5.7 s"), ("resize", "4.6 s at 40k"), ("theme", "15 s")):
        measured = f"{each(f'{name} ms', '.0f')} / {each(f'{name} stall ms', '.0f')}"
        row(f"{name} at 100k tokens: painted / longest stall, ms", "50", measured, stock)


if __name__ == "__main__":
    if "--inside" in sys.argv:
        inside(Path(sys.argv[-1]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
