"""A device that has less memory than it says, as when another program takes it after the plan was made.

A worker whose address space is limited plays it: what cannot be allocated there fails as it does on a card.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.workers import LOCALQWEN, call_fast, python, worker

LENT = ("--devices", "CPU:1")  # it says that a GiB is free, whatever else goes on here
OPTIONS = ("--ctx", "4096", "--devices", "RPC0", "--kv-type", "f16", "--ubatch", "128")

# Small blocks, such as those that a graph of kernels works in, come from a heap that is there already: what fails is
# what the client asks for.
LIMITED = """
import ctypes, os, resource
import psutil
from localqwen.cli import main
from localqwen.engine import registry

libc, serve = ctypes.CDLL(None), registry.serve_rpc
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3

def limited(*arguments):
    libc.mallopt(M_MMAP_THRESHOLD, 4 << 20)
    libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)
    for block in [libc.malloc(1 << 20) for _ in range(12)]:
        libc.free(block)
    most = psutil.Process().memory_info().vms + int(os.environ["MOST"])
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    serve(*arguments)

registry.serve_rpc = limited
main()
"""

LOAD = """
import json, sys
from pathlib import Path
from localqwen.engine.engine import Engine, Failed
from localqwen.engine.model import Model
from localqwen.engine.options import EngineOptions
from localqwen.engine.inventory import Limit
from localqwen.events import Ready
from tests.server.running import wait_until

load, counts = Model.load.__func__, []

def seen(cls, path, placement, on_progress):
    counts.append(engine.planned.plan.gpu_layers)
    return load(cls, path, placement, on_progress)

Model.load = classmethod(seen)
options = EngineOptions(4096, threads=1, rpc=(sys.argv[2],), devices=(Limit("RPC0"),), kv_type="f16", ubatch=128)
engine = Engine(Path(sys.argv[1]), options)
engine.start()
wait_until(lambda: isinstance(engine.state, Ready | Failed), "the model is loaded")
assert isinstance(engine.state, Ready), engine.state
assert engine.close()
print(json.dumps(counts))
"""


def test_what_cannot_be_allocated_there_comes_back_here_and_is_remembered(
    demo_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = [sys.executable, "-c", LIMITED]
    monkeypatch.setenv("MOST", str(1 << 40))
    with worker(tmp_path / "roomy.log", *LENT, program=limited) as (endpoint, _):
        call_fast(endpoint)
        command = [*LOCALQWEN, "plan", str(demo_gguf), "--json", "--rpc", endpoint, *OPTIONS]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    share = json.loads(done.stdout)["shares"][0]
    assert share["layers"] + share["output"] == 31
    # All weights can be sent, and then three layers' part of the KV cache is missing.
    layer = (share["weights"] + share["kv"]) // 31
    monkeypatch.setenv("MOST", str(share["weights"] + share["kv"] + share["compute"] - 3 * layer))
    found = []
    for log in ("first.log", "second.log"):
        with worker(tmp_path / log, *LENT, program=limited, endpoint=endpoint):
            found.append(json.loads(python(LOAD, str(demo_gguf), endpoint)))
    first, second = found
    assert first[0] == 31
    assert len(first) > 1
    assert all(before > after > 0 for before, after in itertools.pairwise(first)), "less and less is tried"
    assert second == [first[-1]], "it is remembered"
