"""llama.cpp ends the process for want of memory, in the middle of its work: the next start takes less."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.running import DEADLINE
from tests.server.workers import call_fast, worker

# ggml's own way to end the process, as a CUDA call without memory goes it; "ready" is long after loading.
PROGRAM = """
import ctypes, sys
from pathlib import Path
from localqwen.engine import native
from localqwen.engine.engine import Engine
from localqwen.engine.options import EngineOptions
from localqwen.events import Ready
from tests.server.running import wait_until

engine = Engine(Path(sys.argv[1]), EngineOptions(context=512, threads=1, rpc=(sys.argv[2],)))
engine.start()
wait_until(lambda: isinstance(engine.state, Ready), "the model is loaded")
share = engine.planned.plan.devices[0]
print(share.weights + share.kv + share.compute, flush=True)
if len(sys.argv) > 3:
    native.LIBLLAMA.ggml_abort(b"ggml-cuda.cu", ctypes.c_int(97), b"%s", sys.argv[3].encode())
assert engine.close()
"""


def taken(gguf: Path, endpoint: str, death: str = "") -> int:
    command = [sys.executable, "-c", PROGRAM, str(gguf), endpoint, *([death] if death else [])]
    quiet = {**os.environ, "GGML_NO_BACKTRACE": "1"}  # a debugger would need its time
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE, env=quiet)
    assert done.returncode == (-signal.SIGABRT if death else 0), done.stderr
    return int(done.stdout)


@pytest.mark.parametrize(("death", "remembered"), [("CUDA error: out of memory", True), ("GGML_ASSERT(x)", False)])
def test_a_death_in_an_answer_is_remembered(demo_gguf: Path, tmp_path: Path, death: str, remembered: bool) -> None:
    with worker(tmp_path / "worker.log") as (endpoint, _):
        call_fast(endpoint)
        before = taken(demo_gguf, endpoint, death)
        after = taken(demo_gguf, endpoint)
    assert (after < before) is remembered
