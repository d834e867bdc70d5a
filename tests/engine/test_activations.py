"""The formulas against what llama.cpp counts, on the CPU and on the devices of workers."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from localqwen.engine.activations import lower_bound, role_of, upper_bound
from localqwen.engine.candidate import Key, Layout
from localqwen.engine.gguf_file import read_shape
from tests.fixtures.hollow import PADDED_72B, QWEN2_05B, QWEN2_7B, write_hollow
from tests.server.running import DEADLINE
from tests.server.test_workers import worker

# Devices that are added to ggml's registry stay there, so another process asks.
COUNT = """
import json, sys
from pathlib import Path
from localqwen.engine import probe, registry
from localqwen.engine.context import ContextOptions, parameters
from localqwen.engine.placement import Placement
from localqwen.engine.rope import Rope

registry.add_rpc_servers(sys.argv[2].split(","))
handles = [handle for handle in registry.handles() if handle.kind == "rpc"]
for context, kv_type, ubatch, layout, counts in json.loads(sys.argv[3]):
    mode = "tensor" if layout == "tensor" else "layer"
    placement = Placement.of(handles[: len(counts)], counts, mode)
    options = ContextOptions(context, 1, Rope(1.0, context), kv_type, ubatch)
    rows = 1 if mode == "tensor" else len(counts)
    found = probe.count(Path(sys.argv[1]), placement.parameters(), parameters(options), rows)
    print(json.dumps([[part.weights, part.kv, part.compute] for part in found]))
"""


def counts(layout: Layout, layers: int) -> list[list[int]]:
    """Layers on each of up to three devices, the output matrix as one."""
    third = layers // 3
    if layout == "part":
        return [[third], [third, third], [1], [layers // 4] * 3]
    if layout == "pipeline":
        return [[layers - third, third], [third, third, layers - 2 * third], [layers - 1, 1]]
    return [[layers]] if layout == "alone" else [[third, layers - third]]


@pytest.mark.parametrize("size", [QWEN2_05B, QWEN2_7B, PADDED_72B], ids=["0.5B", "7B", "72B"])
def test_llama_cpp_counts_between_the_bounds(size: object, tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "hollow.gguf", size)  # type: ignore[arg-type]
    shape = read_shape(path)
    layers = shape.layers + 1
    layouts: tuple[Layout, ...] = ("part", "alone", "pipeline", "tensor")
    wanted = [
        (context, kv_type, ubatch, layout, each)
        for context in (4096, 32768)
        for kv_type in ("f16", "q8_0")
        for ubatch in (128, 512, 2048)
        for layout in layouts
        if not (layout == "tensor" and kv_type != "f16")
        for each in counts(layout, layers)
    ]
    with ExitStack() as stack:
        endpoints = [stack.enter_context(worker(tmp_path / f"w{i}.log"))[0] for i in range(3)]
        command = [sys.executable, "-c", COUNT, str(path), ",".join(endpoints), json.dumps(wanted)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(wanted)
    for (context, kv_type, ubatch, layout, each), line in zip(wanted, lines, strict=True):
        key = Key(context, kv_type, ubatch, layout)  # type: ignore[arg-type]
        *devices, host = (compute for _, _, compute in json.loads(line))
        start = layers - sum(each)
        for count, compute in zip([layers] if layout == "tensor" else each, devices, strict=True):
            role = "last" if layout == "tensor" else role_of(key, start, start + count, layers)
            assert lower_bound(shape, key, role) <= compute <= upper_bound(shape, key, role), (key, each, role)
            start += count
        assert lower_bound(shape, key, "host") <= host <= upper_bound(shape, key, "host"), (key, each)
