"""What the chat costs: opening, streaming into, and redrawing a long conversation.

    PYTHONPATH=. python -m benchmarks.tui_transcript [--runs 3] [--seconds 6] [--turns 3]

The whole app runs on a pseudo-terminal of 120×40, with Textual's real driver, over a scripted server in a process of
its own (:mod:`benchmarks.scripted`): the client, its HTTP, server-sent events, JSON, token counts and looks at the
memory are a person's. A heartbeat every 4 ms measures how late the event loop is: that is how late a key would be. The
answers at 200 tokens a second go into conversations of 100,000 and of 1,000 tokens in turns. Run it on a machine that
does nothing else; three runs take about eight minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.chats import filled
from benchmarks.machine import ROOT, description
from benchmarks.pseudo_terminal import environment, size
from benchmarks.scripted import scripted_server
from benchmarks.table import Table
from benchmarks.transcript_scenario import BLOCKS, FAST, HEIGHT, LONG, SHORT, SLOW, WIDTH

RUNS, TURNS, SECONDS = 3, 3, 6.0
TAIL = 4000


def one_run(seconds: float, turns: int) -> dict[str, float]:
    """Run the app in a process of its own, on conversations that another one has written."""
    with tempfile.TemporaryDirectory() as folder, scripted_server() as server:
        chats, report = Path(folder) / "chats.sqlite3", Path(folder) / "figures.json"
        ids = filled(chats, [LONG] * (turns + 1) + [SHORT] * (turns + 1))
        what = {
            "chats": {LONG: ids[: turns + 1], SHORT: ids[turns + 1 :]},
            "url": server.url,
            "pid": server.pid,
            "seconds": seconds,
            "report": str(report),
        }
        shown = run_on_terminal([str(chats), json.dumps(what)], Path(folder))
        if not report.exists():
            sys.exit(f"the app failed:\n{shown.decode(errors='replace')}")
        figures: dict[str, float] = json.loads(report.read_text())
        return figures


def run_on_terminal(arguments: list[str], home: Path) -> bytes:
    """Run the measured app to its end; returns the last of what it wrote."""
    master, slave = pty.openpty()
    size(slave, WIDTH, HEIGHT)
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.transcript_scenario", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment(home),
        cwd=ROOT,
        start_new_session=True,
    )
    os.close(slave)
    shown = bytearray()

    def drain() -> None:
        with suppress(OSError):
            while piece := os.read(master, 65536):
                shown[:] = (shown + piece)[-TAIL:]

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    process.wait()
    thread.join()
    os.close(master)
    return bytes(shown)


def report(results: list[dict[str, float]], seconds: float, turns: int) -> None:
    """Print the table."""
    print(f"{description('textual')}; load {os.getloadavg()[0]:.1f}; answers of {seconds:g} s, {turns} turns\n")
    table = Table(len(results))

    def row(figure: str, goal: str, name: str, form: str = "{:.1f} ms", stock: str = "") -> None:
        table.row(figure, goal, [result[name] for result in results], form, stock)

    def ratio(figure: str, goal: str, name: str, stock: str = "") -> None:
        ratios = [result[f"{LONG} {name}"] / result[f"{SHORT} {name}"] for result in results]
        table.row(figure, goal, ratios, "{:.2f}", stock)

    row("lag of the loop at rest, p95", "", "idle p95")
    for tokens, stock in ((LONG, "3,801 ms"), (SHORT, "46 ms at 8k")):
        where = f"at {FAST} tok/s into {tokens // 1000}k tokens"
        row(f"lag {where}, median", "", f"{tokens} median")
        row(f"lag {where}, p95", "≤ 8 ms", f"{tokens} p95", stock=stock)
        row(f"lag {where}, longest", "≤ 33 ms", f"{tokens} max")
        row(f"CPU {where}", "", f"{tokens} cpu", "{:.1f} %")
    ratio("p95 at 100k over p95 at 1k", "≤ 1.20", "p95", "82")
    ratio("CPU at 100k over CPU at 1k", "≤ 1.20", "cpu")
    for name in BLOCKS:
        row(f"CPU at {SLOW} tok/s, {name}", "≤ 8 %", f"{name} cpu", "{:.1f} %", "95 %")
        row(f"longest stall at {SLOW} tok/s, {name}", "≤ 33 ms", f"{name} max")
    row("opening 100k tokens: readable", "≤ 100 ms", "open readable ms", "{:.0f} ms", "28 s")
    row("opening 100k tokens: exact extent", "≤ 1,000 ms", "open exact ms", "{:.0f} ms", "28 s")
    row("opening 100k tokens: longest stall", "", "open stall ms", "{:.0f} ms")
    row("opening 100k tokens: memory", "≤ 40 MB", "memory MB", "{:.1f} MB", "219 MB at 40k")
    for name, stock in (("focus out", "5.7 s"), ("focus in", "5.7 s"), ("resize", "4.6 s at 40k"), ("theme", "15 s")):
        row(f"{name} at 100k tokens: painted", "≤ 50 ms", f"{name} ms", "{:.0f} ms", stock)
        row(f"{name} at 100k tokens: longest stall", "", f"{name} stall ms", "{:.0f} ms")


def main() -> None:
    """All runs, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each answer")
    parser.add_argument("--turns", type=int, default=TURNS, help="into each of the two lengths")
    options = parser.parse_args()
    results = []
    for number in range(options.runs):
        begin = time.perf_counter()
        results.append(one_run(options.seconds, options.turns))
        print(f"run {number + 1}: {time.perf_counter() - begin:.0f} s", file=sys.stderr)
    report(results, options.seconds, options.turns)


if __name__ == "__main__":
    main()
