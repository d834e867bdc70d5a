"""What a worker tells other machines: in a process of its own, since it changes ggml's device for good."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from localqwen.engine import registry
from localqwen.engine.inventory import Limit
from localqwen.engine.lending import Lent, chosen
from localqwen.engine.registry import DeviceError, Handle

CPU = Handle(1, "CPU", "Processor", "CPU", "cpu")
CARD = Handle(2, "CUDA0", "Card", "CUDA", "gpu")

PROGRAM = """
import json, sys
import numpy as np
from localqwen.engine import registry
from localqwen.engine.lending import Lent, tell_truly

(host,) = [handle for handle in registry.handles() if handle.kind == "cpu"]
told = [host.memory()]
most = int(sys.argv[1]) or None
tell_truly(Lent(host, most), lambda: 5 << 30)
told.append(host.memory())
taken = np.ones(256 << 20, np.uint8)
told.append(host.memory())
print(json.dumps(told))
"""


def told(most: int) -> list[tuple[int, int]]:
    command = [sys.executable, "-c", PROGRAM, str(most)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [tuple(pair) for pair in json.loads(done.stdout)]


def test_a_cpu_tells_what_is_available_and_not_all_there_is() -> None:
    before, free, after = told(0)
    assert before[0] == before[1], "what ggml's own CPU tells"
    assert free[0] == after[0] == 5 << 30
    assert 0 < free[1] <= before[1]


def test_a_part_is_lent_and_shrinks_by_what_is_taken() -> None:
    _, free, after = told(1 << 30)
    assert free[0] == pytest.approx(1 << 30, abs=16 << 20)
    assert free[1] == 1 << 30
    assert free[0] - after[0] == pytest.approx(256 << 20, rel=0.05)
    assert after[1] == 1 << 30


def test_gpus_are_lent_or_else_the_cpu() -> None:
    assert chosen([CARD, CPU], None) == [Lent(CARD)]
    assert chosen([CPU], None) == [Lent(CPU)]
    assert chosen([CARD, CPU], [Limit("cpu", 8), Limit("CUDA0")]) == [Lent(CPU, 8), Lent(CARD)]
    with pytest.raises(DeviceError, match="no device CUDA7 here"):
        chosen([CARD, CPU], [Limit("CUDA7")])


def test_this_process_was_left_alone() -> None:
    (host,) = [handle for handle in registry.handles() if handle.kind == "cpu"]
    free, total = host.memory()
    assert free == total
