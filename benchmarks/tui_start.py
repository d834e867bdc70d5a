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
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import description
from benchmarks.pseudo_terminal import PseudoTerminal, environment
from benchmarks.table import Table
from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from tests.fixtures import demo_gguf

CHATS = 20
WARM_UPS = 2  # the first starts fill the caches
PROMPT = b"sk anything"  # the cursor stands on the first letter
KEY = "§".encode()  # stands nowhere else on the screen
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
    echoed: float = 0.0
    echoed_work: float = 0.0


def start(arguments: Sequence[str], env: dict[str, str]) -> Start:
    """Start Python in a new terminal, wait for the composer, type a key and wait for that."""
    with PseudoTerminal(arguments, env) as terminal:
        painted, painted_work = terminal.until(PROMPT), terminal.work
        echoed, echoed_work = terminal.until(KEY, KEY), terminal.work
        return Start((painted - terminal.began) * 1000, painted_work, (echoed - terminal.began) * 1000, echoed_work)


def run_to_end(arguments: Sequence[str], env: dict[str, str]) -> Start:
    """A Python from exec to its end."""
    begin = time.perf_counter()
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    pid = os.posix_spawn(sys.executable, [sys.executable, *arguments], env, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise RuntimeError(f"{arguments} ended with {status}")
    return Start((time.perf_counter() - begin) * 1000, (usage.ru_utime + usage.ru_stime) * 1000)


async def _fill(path: Path) -> None:
    """Conversations as a person has them."""
    store = Store(path)
    for number in range(CHATS):
        await Conversation(store).ask(f"What is the capital of country number {number}?\n\n" + "More words. " * 50)
    store.close()


def measure(
    times: int, arguments: Sequence[str], full: Path, how: Callable[[Sequence[str], dict[str, str]], Start] = start
) -> list[Start]:
    """Starts, each in a home as it was before the first."""
    starts = []
    for _ in range(times + WARM_UPS):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "home"
            shutil.copytree(full, home, symlinks=True)
            starts.append(how(arguments, environment(home)))
    return starts[WARM_UPS:]


def make_home(home: Path) -> None:
    """A home with the demo model and some conversations."""
    os.environ["LOCALQWEN_HOME"] = str(home)
    from localqwen import paths

    gguf = demo_gguf()
    models = home / "data" / "models"
    models.mkdir(parents=True)
    (models / gguf.name).symlink_to(gguf)
    asyncio.run(_fill(paths.chats_path()))


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    """The one that a twentieth exceeds."""
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]


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
            helps.append(measure(options.times, HELP, home, run_to_end))
            chats.append(measure(options.times, CHAT, home))
            stocks.append(measure(options.times, ["-c", STOCK], home))
    print(f"{description('textual')}; load {os.getloadavg()[0]:.1f}; {options.times} starts a run\n")
    table = Table(options.runs)

    def rows(
        name: str, goal: str, figure: Callable[[Start], float], runs: list[list[Start]], stock: list[list[Start]]
    ) -> None:
        for of, part in (("median", median), ("p95", p95)):
            # Stock's runs are one: there is no goal for it.
            compared = f"{part([figure(one) for run in stock for one in run]):.0f} ms" if stock else ""
            values = [part([figure(one) for one in run]) for run in runs]
            table.row(f"{name}, {of}", goal, values, "{:.0f} ms", compared)

    rows("`localqwen --help`", "≤ 100 ms", lambda one: one.painted, helps, [])
    rows("its work", "", lambda one: one.painted_work, helps, [])
    rows("first frame with the composer", "≤ 300 ms", lambda one: one.painted, chats, stocks)
    rows("its work", "", lambda one: one.painted_work, chats, stocks)
    rows("a key typed then is seen", "", lambda one: one.echoed, chats, stocks)
    rows("its work, from exec", "", lambda one: one.echoed_work, chats, stocks)


if __name__ == "__main__":
    main()
