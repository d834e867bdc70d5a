"""The app that :mod:`benchmarks.tui_transcript` measures, on a pseudo-terminal, and how it is measured from inside."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import json
import os
import signal
import struct
import sys
import termios
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

# First, as `localqwen chat` does: it tells Textual how often to look for what is to be painted.
import tui.app

# isort: split
from textual import events

from benchmarks.scripted import Script, Scripted
from localqwen.chats.store import Store
from localqwen.endpoint import Endpoint
from tui.app import ChatApp
from tui.attachments import Outgoing
from tui.connections import RemoteServer
from tui.widgets.sidebar import Sidebar
from tui.widgets.transcript.view import Transcript

HEARTBEAT_SECONDS = 0.004
FAST, SLOW = 200, 20
IDLE_SECONDS = 3.0
LONG, SHORT = 100_000, 1_000
WIDTH, HEIGHT, NARROWER = 120, 40, 100
PARAGRAPH = (
    "The quick brown fox jumps over the **lazy dog** and runs through `code` until the evening comes, every day. "
)
PROSE = (*(f"{word} " for word in PARAGRAPH.split(" ")), "\n\n")
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


class Meter:
    """Lateness of the loop and CPU of the process while something runs; several runs are put together."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self._cpu = self._wall = 0.0

    async def cost(self, action: Callable[[], Awaitable[object]]) -> None:
        """Measure the CPU of ``action``, without the heartbeat's."""
        cpu, wall = time.process_time(), time.perf_counter()
        await action()
        self._cpu += time.process_time() - cpu
        self._wall += time.perf_counter() - wall

    async def run(self, action: Callable[[], Awaitable[object]]) -> None:
        """Measure the lateness while ``action`` runs."""
        late: list[float] = []

        async def beat() -> None:
            while True:
                begin = time.perf_counter()
                await asyncio.sleep(HEARTBEAT_SECONDS)
                late.append((time.perf_counter() - begin - HEARTBEAT_SECONDS) * 1000)

        task = asyncio.create_task(beat())
        await asyncio.sleep(HEARTBEAT_SECONDS * 3)
        late.clear()
        await action()
        await asyncio.sleep(HEARTBEAT_SECONDS * 2)
        task.cancel()
        self.late = sorted(self.late + late)

    @property
    def cpu(self) -> float:
        """Percent of a core."""
        return 100 * self._cpu / self._wall

    @property
    def median(self) -> float:
        """The usual lateness, in ms."""
        return self.late[len(self.late) // 2]

    @property
    def p95(self) -> float:
        """Nearly the worst lateness, in ms."""
        return self.late[int(len(self.late) * 0.95)]

    @property
    def worst(self) -> float:
        """The worst lateness, in ms."""
        return self.late[-1]


class Scenario:
    """All measurements, on a running app; ``seconds`` are those of each answer."""

    def __init__(self, app: ChatApp, server: Scripted, chats: dict[int, list[int]], seconds: float) -> None:
        """``chats`` are the ids of a spare conversation, then one for each turn, by their length."""
        self._app = app
        self._server = server
        self._chats = chats
        self._seconds = seconds
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
        await self._open(self._chats[SHORT][0], "warm-up")
        await asyncio.sleep(0.5)
        idle = Meter()
        await idle.run(lambda: asyncio.sleep(min(IDLE_SECONDS, self._seconds)))
        self.figures |= {"idle p95": idle.p95, "idle max": idle.worst}
        memory = rss()
        await self._open(self._chats[LONG][0], "open")
        self.figures["memory MB"] = rss() - memory
        await self._redraws()
        # In turns, so that both are measured in the same minutes; each time in a conversation of that length.
        meters = {LONG: Meter(), SHORT: Meter()}
        for turn in range(1, len(self._chats[LONG])):
            for tokens, meter in meters.items():
                await self._open(self._chats[tokens][turn], "turn")
                await self._stream(Script(PROSE, FAST, round(FAST * self._seconds), waits=True), meter)
        for tokens, meter in meters.items():
            self._take(str(tokens), meter)
        for name, (seed, pieces) in BLOCKS.items():
            meter = Meter()
            await self._stream(Script(pieces, SLOW, round(SLOW * self._seconds), seed, waits=True), meter)
            self._take(name, meter)

    def _take(self, name: str, meter: Meter) -> None:
        of = {"median": meter.median, "p95": meter.p95, "max": meter.worst, "cpu": meter.cpu}
        self.figures |= {f"{name} {figure}": value for figure, value in of.items()}

    async def _open(self, chat_id: int, name: str) -> None:
        begin = time.perf_counter()

        async def choose() -> None:
            await self._app.chat.on_sidebar_chosen(Sidebar.Chosen(chat_id))
            await self._painted()
            self.figures[f"{name} readable ms"] = (time.perf_counter() - begin) * 1000
            await self._until(lambda: self._view.is_exact)
            self.figures[f"{name} exact ms"] = (time.perf_counter() - begin) * 1000

        meter = Meter()
        await meter.run(choose)
        self.figures[f"{name} stall ms"] = meter.worst
        await self._until(lambda: self._view.is_settled)

    async def _timed(self, name: str, action: Callable[[], object], done: Callable[[], bool] = lambda: True) -> None:
        """Measure ``action`` until it is painted; what happens later than its call is ``done`` at some time."""
        await asyncio.sleep(0.3)

        async def act() -> None:
            begin = time.perf_counter()
            action()
            await asyncio.sleep(0.001)
            await self._until(done, 0)
            await self._painted()
            self.figures[f"{name} ms"] = (time.perf_counter() - begin) * 1000
            await asyncio.sleep(0.4)

        meter = Meter()
        await meter.run(act)
        self.figures[f"{name} stall ms"] = meter.worst
        await self._until(lambda: self._view.is_settled)

    async def _redraws(self) -> None:
        app, view = self._app, self._view
        await self._timed("focus out", lambda: app.post_message(events.AppBlur()), lambda: not app.app_focus)
        await self._timed("focus in", lambda: app.post_message(events.AppFocus()), lambda: app.app_focus)
        # Textual waits for more changes of the size before it tells the app of one: that is a part of it.
        width = view.size.width
        await self._timed("resize", lambda: resize(NARROWER), lambda: view.size.width != width)
        resize(WIDTH)
        await self._until(lambda: view.size.width == width)
        await asyncio.sleep(0.3)
        await self._until(lambda: self._view.is_settled)
        before = app.screen.styles.background
        await self._timed(
            "theme",
            lambda: app.post_message(events.Key("ctrl+t", None)),
            # The styles are computed anew some turns after the theme's name has changed.
            lambda: app.screen.styles.background != before,
        )

    async def _stream(self, script: Script, meter: Meter) -> None:
        """The same answer twice: for the lateness, and for the CPU without the heartbeat."""
        for measure in (meter.run, meter.cost):
            await asyncio.to_thread(self._server.tell, script)
            self._app.chat.desk.send(Outgoing("go on"))
            await asyncio.sleep(0.7)
            await self._until(lambda: self._view.is_settled)
            await measure(self._answer)

    async def _answer(self) -> None:
        await asyncio.to_thread(self._server.go)
        desk = self._app.chat.desk
        await asyncio.sleep(0.1)
        await self._until(lambda: not desk.turns.is_under_way(desk.conversation), 0.05)


def rss() -> float:
    """Resident memory of this process in MB."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def resize(width: int) -> None:
    """Another width of the terminal that this process runs on."""
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, width, 0, 0))
    os.kill(os.getpid(), signal.SIGWINCH)


class Measured(ChatApp):
    """The app, which measures itself and ends."""

    CSS_PATH = str(Path(tui.app.__file__).with_name("localqwen.tcss"))

    def __init__(
        self, store: Store, server: Scripted, chats: dict[int, list[int]], seconds: float, report: Path
    ) -> None:
        super().__init__(store, RemoteServer(Endpoint(server.url)))
        self._scenario = Scenario(self, server, chats, seconds)
        self._report = report

    def on_ready(self) -> None:
        """Begin when the app is there."""
        self.run_worker(self._measure())

    async def _measure(self) -> None:
        await self._scenario.run()
        self._report.write_text(json.dumps(self._scenario.figures))
        self.exit()


def main() -> None:
    """The app, begun as `localqwen chat` begins it: the file of chats, what is measured, and where that goes."""
    gc.disable()
    what = json.loads(sys.argv[2])
    store = Store(Path(sys.argv[1]))
    chats = {int(tokens): ids for tokens, ids in what["chats"].items()}
    server = Scripted(what["url"], what["pid"])
    app = Measured(store, server, chats, what["seconds"], Path(what["report"]))
    app.run_sturdily()
    store.close()


if __name__ == "__main__":
    main()
