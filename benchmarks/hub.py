"""From a hub whose line is limited: when is the GGUF complete, counted from the last byte that arrived?

    PYTHONPATH=. python -m benchmarks.hub [--megabytes-per-second 50] [--type Q4_K_M] [--checkpoint DIR] [--threads N]

The puller is a process of its own; both use the same clock. Peak memory is the puller's, its disk use that of the
output's directory and the scratch directory, sampled.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import description
from tests.fixtures.build import smollm2_checkpoint
from tests.hub.mock_hub import mock_hub

CHILD = """
import json, resource, sys, time
from pathlib import Path
from localqwen.hub.pull import Options, pull
pulled = pull(sys.argv[1], Path(sys.argv[2]), Options(type=sys.argv[3], threads=int(sys.argv[4]) or None))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([time.monotonic(), pulled.seconds, peak, pulled.size, pulled.verified, pulled.files]))
"""


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes-per-second", type=float, default=50.0)
    parser.add_argument("--type", default="Q4_K_M")
    parser.add_argument("--checkpoint", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    checkpoint: Path = (arguments.checkpoint or smollm2_checkpoint()).resolve()
    print(description())
    print("| limit | downloaded | output | whole | after the last byte | peak memory | most disk | sha256 verified |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for limit in (arguments.megabytes_per_second * 1e6, float("inf")):
        row = _measure(checkpoint, arguments.type, arguments.threads, limit)
        name = f"{limit / 1e6:.0f} MB/s" if limit < float("inf") else "none"
        print(
            f"| {name} | {row['sent'] / 1e6:,.0f} MB | {row['size'] / 1e6:,.0f} MB | {row['seconds']:.1f} s "
            f"| {row['after']:.2f} s | {row['peak'] / 2**20:.0f} MiB | {row['disk'] / 1e6:,.0f} MB "
            f"| {row['verified']} of {row['files']} |",
            flush=True,
        )


def _measure(checkpoint: Path, kind: str, threads: int, limit: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch, mock_hub({f"Someone/{checkpoint.name}": checkpoint}) as hub:
        hub.bytes_per_second = limit
        # huggingface_hub's own cache would count as disk too, if it were used.
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "TMPDIR": scratch, "HF_HOME": f"{scratch}/hf"}
        out = Path(scratch) / "out.gguf"
        command = [sys.executable, "-c", CHILD, f"Someone/{checkpoint.name}", str(out), kind, str(threads)]
        disk = 0
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
            while child.poll() is None:
                disk = max(disk, _used(Path(scratch)))
                time.sleep(0.1)
            assert child.stdout is not None
            end, seconds, peak, size, verified, files = json.loads(child.stdout.read())
        return {
            "sent": hub.sent,
            "after": end - hub.last_byte,
            "seconds": seconds,
            "peak": peak,
            "size": size,
            "disk": disk,
            "verified": verified,
            "files": files,
        }


def _used(folder: Path) -> int:
    """Bytes on the disk, holes not counted."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except OSError:
            continue  # renamed or removed meanwhile
    return total


if __name__ == "__main__":
    main()
