"""A hundred kills at random points: half of them converting from this disk, half from a hub that cuts connections.

    PYTHONPATH=. python -m benchmarks.converter_kills [--kills 100] [--type Q4_K_M]

Prints a table: kills, how often the finished file had the bytes of an undisturbed conversion, and how much work of the
source (in MiB of its bytes) had to be done again after a kill.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.machine import description
from converters.convert import convert
from tests.fixtures.build import smollm2_checkpoint
from tests.fixtures.kills import Run, kill_often
from tests.hub.mock_hub import Fault, mock_hub

# Kills of one conversion; the whole is repeated until there were enough.
ROUND = 10


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--type", default="Q4_K_M")
    arguments = parser.parse_args()
    print(description())
    checkpoint = smollm2_checkpoint()
    with tempfile.TemporaryDirectory() as scratch, mock_hub({f"Someone/{checkpoint.name}": checkpoint}) as hub:
        os.environ["HF_ENDPOINT"] = hub.url
        hub.faults = lambda name, begin, count: Fault(cut_after=3_000_000) if count == 0 else None
        expected = Path(scratch) / "expected.gguf"
        size = convert(checkpoint, expected, arguments.type).source_size
        print(f"{checkpoint.name} to {arguments.type}, {size / 2**20:.0f} MiB of weights, seeds 0 to …\n")
        print("| source | kills | conversions | same sha256 | redone: most | median | seconds |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        sources: dict[str, str | Path] = {"this disk": checkpoint, "mock hub with cuts": f"Someone/{checkpoint.name}"}
        for name, source in sources.items():
            start, kills, same, rounds = time.monotonic(), 0, 0, 0
            lost: list[float] = []
            while kills < arguments.kills // 2:
                out = Path(scratch) / "out.gguf"
                wanted = min(ROUND, arguments.kills // 2 - kills)
                runs = kill_often(source, out, arguments.type, size, wanted, seed=rounds)
                kills += sum(run.killed for run in runs)
                same += _digest(out) == _digest(expected)
                rounds += 1
                lost += _redone(runs)
                out.unlink()
            print(
                f"| {name} | {kills} | {rounds} | {same} of {rounds} | {max(lost):.1f} MiB | {median(lost):.1f} MiB "
                f"| {time.monotonic() - start:.0f} |",
                flush=True,
            )


def _redone(runs: list[Run]) -> list[float]:
    """MiB that each run did again of what was reported before it."""
    return [max(0, before.end - after.begin) / 2**20 for before, after in pairwise(runs)]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
