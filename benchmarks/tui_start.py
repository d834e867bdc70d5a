"""How soon the chat can be typed into, from exec to the first frame, and how soon `localqwen --help` is there.

    PYTHONPATH=. python -m benchmarks.tui_start [--times 20] [--runs 3]

The real command in a pseudo-terminal of 120×40, with the demo model and a few stored conversations; every file has
been read, and every module been compiled before. A key is sent at the moment when the composer's frame is there, and
awaited. Work is the CPU time of the command's process until then, which other processes cannot stretch much. Stock is
Textual's own text area, alone.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import pty
import select
import shutil
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.machine import description
from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from tests.fixtures import demo_gguf

COLUMNS, LINES = 120, 40
PATIENCE_SECONDS = 30.0
CHATS = 20
KEY = "§"  # stands nowhere else on the screen
CHAT = ["-m", "localqwen", "chat", "demo"]
HELP = ["-m", "localqwen", "--help"]
STOCK = """
from textual.app import App
from textual.widgets import TextArea
class Stock(App):
    def compose(self):
        yield TextArea(placeholder="Ask anything")
Stock().run()
"""


@dataclass(frozen=True, slots=True)
class Start:
    """One start: milliseconds from exec, and of CPU time until the same moment."""

    painted: float
    painted_work: float
    echoed: float
    echoed_work: float


def start(arguments: Sequence[str], env: dict[str, str]) -> Start:
    """Start Python in a new terminal, wait for the composer, type a key and wait for that."""
    begin = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        os.execve(sys.executable, [sys.executable, *arguments], env)
    try:
        # The cursor stands on the first letter.
        _read_until(terminal, b"sk anything")
        painted, painted_work = time.perf_counter(), _work(pid)
        os.write(terminal, KEY.encode())
        _read_until(terminal, KEY.encode())
        echoed, echoed_work = time.perf_counter(), _work(pid)
    finally:
        _end(pid)
        os.close(terminal)
    return Start((painted - begin) * 1000, painted_work, (echoed - begin) * 1000, echoed_work)


def _read_until(terminal: int, awaited: bytes) -> None:
    seen = b""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while awaited not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError(f"{awaited!r} does not come; the terminal got {seen[-500:]!r}")
        seen = seen[-100:] + os.read(terminal, 65536)


def _work(pid: int) -> float:
    """Milliseconds on a CPU of all of a process's threads that are still there."""
    spent = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            spent += int((task / "schedstat").read_text().split()[0])
    return spent / 1e6


def _end(pid: int) -> None:
    servers = psutil.Process(pid).children(recursive=True)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    for server in servers:
        with suppress(psutil.NoSuchProcess):
            server.kill()
    psutil.wait_procs(servers, timeout=PATIENCE_SECONDS)


def run_to_end(arguments: Sequence[str], env: dict[str, str]) -> tuple[float, float]:
    """Milliseconds, and of CPU time, that a Python takes from exec to its end."""
    begin = time.perf_counter()
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    pid = os.posix_spawn(sys.executable, [sys.executable, *arguments], env, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise RuntimeError(f"{arguments} ended with {status}")
    return (time.perf_counter() - begin) * 1000, (usage.ru_utime + usage.ru_stime) * 1000


async def _fill(path: Path) -> None:
    """Conversations as a person has them."""
    store = Store(path)
    for number in range(CHATS):
        await Conversation(store).ask(f"What is the capital of country number {number}?\n\n" + "More words. " * 50)
    store.close()


def _environment(home: Path) -> dict[str, str]:
    # Compiled modules are kept, as everywhere but where a developer's shell forbids it.
    hidden = ("LOCALQWEN", "TEXTUAL", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return {**kept, "LOCALQWEN_HOME": str(home), "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}


def measure(times: int, arguments: Sequence[str], full: Path) -> list[Start]:
    """Starts, each in a home as it was before the first."""
    starts = []
    for number in range(times + 2):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "home"
            shutil.copytree(full, home, symlinks=True)
            one = start(arguments, _environment(home))
        if number >= 2:  # the first ones warm the caches
            starts.append(one)
    return starts


def make_home(home: Path) -> None:
    """A home with the demo model and some conversations."""
    os.environ["LOCALQWEN_HOME"] = str(home)
    from localqwen import paths

    gguf = demo_gguf()
    models = home / "data" / "models"
    models.mkdir(parents=True)
    (models / gguf.name).symlink_to(gguf)
    asyncio.run(_fill(paths.chats_path()))


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_home(home)
        helps, chats, stocks = [], [], []
        for _ in range(options.runs):
            helps.append([run_to_end(HELP, _environment(home)) for _ in range(options.times + 2)][2:])
            chats.append(measure(options.times, CHAT, home))
            stocks.append(measure(options.times, ["-c", STOCK], home))

    def row(name: str, goal: str, values: Sequence[float], stock: Sequence[float] = ()) -> None:
        print(
            f"| {name} | {goal} | {' | '.join(f'{value:.0f} ms' for value in values)} "
            f"| {f'{statistics.median(stock):.0f} ms' if stock else ''} |"
        )

    def medians(runs: list[list[Start]], figure: Callable[[Start], float]) -> list[float]:
        return [statistics.median(map(figure, run)) for run in runs]

    print(f"{description()}; load {os.getloadavg()[0]:.1f}; medians of {options.times} starts\n")
    print(f"| figure | goal | {' | '.join(f'run {n + 1}' for n in range(options.runs))} | stock Textual |")
    print("| --- | --- |" + " --- |" * (options.runs + 1))
    row("`localqwen --help`", "≤ 100 ms", [statistics.median(wall for wall, _ in run) for run in helps])
    row("its work", "", [statistics.median(work for _, work in run) for run in helps])
    for name, goal, figure in (
        ("first frame with the composer", "≤ 300 ms", lambda one: one.painted),
        ("its work", "", lambda one: one.painted_work),
        ("a key typed then is seen", "", lambda one: one.echoed),
        ("its work, from exec", "", lambda one: one.echoed_work),
    ):
        row(name, goal, medians(chats, figure), medians(stocks, figure))


if __name__ == "__main__":
    main()
