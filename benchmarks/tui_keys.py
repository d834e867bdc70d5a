"""How soon a key is seen while an answer is generated on every core, and what a paste of a megabyte costs.

    PYTHONPATH=. python -m benchmarks.tui_keys [--runs 3] [--keys 400]

The real command on a pseudo-terminal of 120×40, over a scripted server in a process of its own that sends 200 deltas a
second (:mod:`benchmarks.scripted`) and is as nice as our own. A key's time goes from writing its byte to the terminal
until the bytes that show it have been read; so does a paste's, which a terminal hands over 4 KiB at a time. Beside that
runs nothing, or one process for each core that only computes: at the niceness of our own server, and at that of
everything else. This program is the terminal; where it may, it runs at a niceness of -10, so that what it waits for
itself does not count. What is left of that is how long a key takes that a program sends back at once. Stock is
Textual's bare text area, without an answer.
"""

from __future__ import annotations

import argparse
import os
import random
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from benchmarks.machine import description
from benchmarks.pseudo_terminal import PseudoTerminal, environment
from benchmarks.scripted import Script, scripted_server
from benchmarks.table import Table
from localqwen.serve_options import PRIVATE_NICENESS

RUNS, KEYS = 3, 400
# Beside whom the chat runs: nobody, or a process for each core with this niceness.
LOADS: dict[str, int | None] = {
    "nothing else runs": None,
    f"every core busy at nice {PRIVATE_NICENESS}": PRIVATE_NICENESS,
    "every core busy at nice 0": 0,
}
RATE, ANSWER_SECONDS = 200, 600
BETWEEN_KEYS = (0.015, 0.040)  # a person's fastest, and not in step with the frames
SETTLE_SECONDS = 1.0
TERMINALS_NICENESS = -10
LETTERS = string.ascii_letters + string.digits
# Lines are short enough to be shown whole. So many letters are looked for, which stand beside each other nowhere else;
# a line's first ones are too few, and are not measured.
LINE, LOOKED_FOR = 40, 6
MEGABYTE = ("x = compute(alpha, beta)  # a line of code\r\n" * 24_385)[: 1 << 20].encode()
PASTE = b"\x1b[200~" + MEGABYTE + b"\x1b[201~"
RARE = "§".encode()  # stands nowhere else on the screen
PROMPT = b"sk anything"  # the cursor stands on its first letter
ECHO = "import os, tty\ntty.setraw(0)\nprint('Ask anything', flush=True)\nwhile True: os.write(1, os.read(0, 4096))"
STOCK = """
from textual.app import App
from textual.widgets import TextArea
class Stock(App):
    def compose(self):
        yield TextArea(placeholder="Ask anything")
Stock().run()
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds: of each key, of the paste, and of the key behind it."""

    keys: Sequence[float]
    paste: float = 0.0
    next_key: float = 0.0

    def part(self, part: float) -> float:
        """What so large a part of the keys does not exceed."""
        return sorted(self.keys)[min(len(self.keys) - 1, int(len(self.keys) * part))]


@contextmanager
def busy_cores(niceness: int | None) -> Iterator[None]:
    """A process for each core that only computes; none without a niceness."""
    command = ["nice", "-n", str(niceness), sys.executable, "-c", "while True: sum(range(10_000))"]
    count = 0 if niceness is None else os.cpu_count() or 1
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        time.sleep(SETTLE_SECONDS)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def first_of_all() -> Iterator[None]:
    """Run this process before others; what it has started stays as it is."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, TERMINALS_NICENESS)
    try:
        yield
    finally:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, before)


def typed(terminal: PseudoTerminal, count: int, newline: bytes) -> list[float]:
    """Type so many keys whose time is taken."""
    chance = random.Random(0)
    times: list[float] = []
    letters = cycle(LETTERS)
    while len(times) < count:
        line = ""
        for letter in islice(letters, LINE):
            line += letter
            if len(line) < LOOKED_FOR:
                terminal.write(letter.encode())
            else:
                times.append(terminal.exchange(letter.encode(), line[-LOOKED_FOR:].encode()))
            terminal.drain(chance.uniform(*BETWEEN_KEYS))
        terminal.write(newline)
        terminal.drain(BETWEEN_KEYS[1])
    return times[:count]


def measured(terminal: PseudoTerminal, niceness: int | None, keys: int, newline: bytes, pasted: bytes) -> Figures:
    """Type and paste while the cores are busy; ``pasted`` shows that the paste is there."""
    with busy_cores(niceness), first_of_all():
        times = typed(terminal, keys, newline)
        paste = terminal.exchange(PASTE, pasted)
        return Figures(times, paste, terminal.exchange(RARE, RARE))


def chat(niceness: int | None, keys: int) -> Figures:
    """A new chat, while it is answered."""
    with tempfile.TemporaryDirectory() as folder, scripted_server(PRIVATE_NICENESS) as server:
        server.tell(Script(("word ",) * 79 + ("\n\n",), RATE, RATE * ANSWER_SECONDS))
        arguments = ["-m", "localqwen", "chat", "--endpoint", server.url]
        with PseudoTerminal(arguments, environment(Path(folder))) as terminal:
            terminal.until(PROMPT)
            terminal.until(b"stops", typed=b"Tell me a long story.\r")
            terminal.drain(SETTLE_SECONDS)
            return measured(terminal, niceness, keys, b"\n", b"pasted text 1")


def stock(niceness: int | None, keys: int) -> Figures:
    """A bare text area, alone."""
    with PseudoTerminal(["-c", STOCK], environment(Path())) as terminal:
        terminal.until(PROMPT)
        terminal.drain(SETTLE_SECONDS)
        return measured(terminal, niceness, keys, b"\r", b"alpha")


def nothing(niceness: int | None, keys: int) -> Figures:
    """A program that sends back what it gets."""
    with PseudoTerminal(["-c", ECHO], environment(Path())) as terminal:
        terminal.until(PROMPT)
        with busy_cores(niceness), first_of_all():
            return Figures([terminal.exchange(RARE, RARE) for _ in range(keys)])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--keys", type=int, default=KEYS)
    options = parser.parse_args()
    runs = [{load: chat(niceness, options.keys) for load, niceness in LOADS.items()} for _ in range(options.runs)]
    stocks = {load: stock(niceness, options.keys // 4) for load, niceness in LOADS.items()}
    alone = {load: nothing(niceness, options.keys) for load, niceness in LOADS.items()}
    print(f"{description('textual')}; load {os.getloadavg()[0]:.1f}; {options.keys} keys\n")
    table = Table(options.runs)
    for load in LOADS:
        is_goal = load != "nothing else runs"
        mine = [run[load] for run in runs]
        for name, part, goal in (("p50", 0.5, ""), ("p99", 0.99, "≤ 16 ms" if is_goal else ""), ("longest", 1.0, "")):
            compared = f"{stocks[load].part(part):.1f} ms"
            table.row(f"key to echo, {load}, {name}", goal, [one.part(part) for one in mine], compared=compared)
        table.row(
            f"1 MiB paste, {load}", "≤ 100 ms", [one.paste for one in mine], compared=f"{stocks[load].paste:.0f} ms"
        )
        table.row(
            f"the key behind it, {load}", "", [one.next_key for one in mine], compared=f"{stocks[load].next_key:.0f} ms"
        )
        table.row(f"of a key, the terminal itself, {load}, p99", "", [alone[load].part(0.99)] * options.runs)
    print("\nThe issue's figure for stock Textual's paste, taken inside of the process on another machine, is 918 ms.")


if __name__ == "__main__":
    main()
