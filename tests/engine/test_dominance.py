"""The search with llama.cpp's own count: what it finds fits, and no other layout that llama.cpp accepts is better."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fixtures.hollow import QWEN2_05B, QWEN2_7B, Size, write_hollow
from tests.server.running import DEADLINE
from tests.server.workers import worker

# Devices that are added to ggml's registry stay there, so another process searches.
SEARCH = """
import json, random, sys
from pathlib import Path
from localqwen.engine import probe, registry
from localqwen.engine.candidate import Bytes, Key, Wishes
from localqwen.engine.context import ContextOptions, parameters
from localqwen.engine.gguf_file import read_shape
from localqwen.engine.machine import Device, Speed
from localqwen.engine.placement import Placement
from localqwen.engine.rope import Rope
from localqwen.engine.search import UBATCHES, Search

path, shape = Path(sys.argv[1]), read_shape(Path(sys.argv[1]))
registry.add_rpc_servers(sys.argv[2].split(","))
handles = [handle for handle in registry.handles() if handle.kind == "rpc"]
draw = random.Random(int(sys.argv[3]))
total = shape.layers + 1
needed = shape.weights + shape.layers * shape.kv_bytes(8192)

def count(candidate):
    key = candidate.key
    placement = Placement.of(handles[: len(candidate.counts) - 1], candidate.counts[1:])
    used = placement.devices or ()
    options = ContextOptions(key.context, 1, Rope(1.0, key.context), key.kv_type, key.ubatch)
    rows = probe.count(path, placement.parameters(), parameters(options), len(used))
    by_name = dict(zip((handle.name for handle in used), rows))
    nothing = Bytes(0, 0, 0)
    return [*(by_name.get(handle.name, nothing) for handle in handles[: len(candidate.counts) - 1]), rows[-1]]

for machine in range(8):
    cards = handles[: draw.randint(0, len(handles))]
    devices = []
    for handle in cards:
        free, read = int(needed * draw.uniform(0.1, 1.2)), draw.choice([100e9, 400e9, 900e9])
        speed = Speed(read, read * 200, 10e9, 50e-6)
        devices.append(Device(handle.name, handle.description, "RPC", "rpc", free, free, 0, speed))
    ram = int(needed * draw.uniform(0.2, 1.5))
    cpu = Device("CPU", "Processor", "CPU", "cpu", ram, ram, 0, Speed(60e9, 1200e9, 20e9, 5e-6))
    context = draw.choice([2048, 8192, 32768])
    search = Search(shape, devices, cpu, Wishes(context=context), 32768, 131072)

    def fits(counted):
        return all(part.all <= one.usable for part, one in zip(counted, (*devices, cpu)))

    found = search.best(count)
    others = []
    while len(others) < 30:
        cuts = sorted(draw.randint(0, total) for _ in devices)
        counts = tuple(end - start for start, end in zip((0, *cuts), (*cuts, total)))
        layout = "part" if counts[0] else "alone" if sum(map(bool, counts)) == 1 else "pipeline"
        key = Key(context, draw.choice(["f16", "q8_0"]), draw.choice(UBATCHES), layout)
        other = search.scored(key, counts)
        others.append((other.score, fits(count(other)), str(other)))
    print(json.dumps({
        "found": found and [found.candidate.score, found.exact, fits(found.bytes), str(found.candidate)],
        "others": others,
    }))
"""


@pytest.mark.parametrize("size", [QWEN2_05B, QWEN2_7B], ids=["0.5B", "7B"])
def test_nothing_that_llama_cpp_accepts_is_better(size: Size, tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "hollow.gguf", size)
    with ExitStack() as stack:
        endpoints = [stack.enter_context(worker(tmp_path / f"w{i}.log"))[0] for i in range(3)]
        command = [sys.executable, "-c", SEARCH, str(path), ",".join(endpoints), "7"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    machines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(machines) == 8
    assert sum(fit for machine in machines for _, fit, _ in machine["others"]) > 40, "too few of the others fit"
    for machine in machines:
        if machine["found"] is None:
            assert not any(fit for _, fit, _ in machine["others"])
            continue
        score, exact, fits, plan = machine["found"]
        assert exact
        assert fits
        for other, fit, layout in machine["others"]:
            assert not fit or other >= score * (1 - 1e-9), f"{layout} is better than {plan}"
