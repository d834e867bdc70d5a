"""What a person reads when llama.cpp ends the process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from localqwen.engine.last_words import sentence
from localqwen.engine.native import is_about_memory

RPC = "/src/ggml/src/ggml-rpc/ggml-rpc.cpp:566: Remote RPC server crashed or returned malformed response"
CUDA = "/src/ggml/src/ggml-cuda/ggml-cuda.cu:109: CUDA error"


def nobody_asks(_server: str) -> bool:
    raise AssertionError("asked")


def test_the_server_that_went_away_is_named() -> None:
    said = sentence(RPC, [], ["10.0.0.1:50052", "10.0.0.2:50052"], lambda server: server.startswith("10.0.0.2"))
    assert said.startswith("The RPC server 10.0.0.2:50052 went away in the middle of the work: ")
    assert "`localqwen worker`" in said
    assert "ggml" not in said
    assert not is_about_memory(said), "the plan is not to blame"


def test_behind_a_tunnel_nobody_knows_which_one_it_was() -> None:
    said = sentence(RPC, [], ["127.0.0.1:1", "127.0.0.1:2"], lambda server: False)
    assert said.startswith("One of the RPC servers 127.0.0.1:1 and 127.0.0.1:2 went away")


def test_two_that_went_away() -> None:
    said = sentence(RPC, [], ["a:1", "b:2", "c:3"], lambda server: server != "b:2")
    assert said.startswith("The RPC servers a:1 and c:3 went away")


def test_one_that_is_gone_before_it_was_used() -> None:
    said = sentence(
        "/x/ggml-rpc.cpp:547: Failed to connect to 10.0.0.2:50052", [], ["a:1", "10.0.0.2:50052"], nobody_asks
    )
    assert said.startswith("The RPC server 10.0.0.2:50052 went away")


def test_a_card_that_dies_is_named_with_the_drivers_reason() -> None:
    errors = [
        "CUDA error: an earlier one",
        "  current device: 0, in function earlier at /src/ggml-cuda.cu:1",
        "  cudaEarlier()",
        "CUDA error: unspecified launch failure",
        "  current device: 1, in function ggml_backend_cuda_synchronize at /src/ggml-cuda.cu:2900",
        "  cudaStreamSynchronize(cuda_ctx->stream())",
    ]
    said = sentence(CUDA, errors, [], nobody_asks)
    assert said.startswith(
        "CUDA1 failed in the middle of the work (unspecified launch failure in cudaStreamSynchronize)"
    )
    assert "localqwen doctor" in said
    assert "/src" not in said
    assert not is_about_memory(said)


def test_a_card_without_memory_is_told_from_one_that_dies() -> None:
    errors = [
        "ROCm error: out of memory",
        "  current device: 0, in function f at x.cu:9",
        "  hipGraphInstantiate(a, b)",
    ]
    said = sentence("x.cu:109: ROCm error", errors, [], nobody_asks)
    assert said.startswith("ROCm0 has no memory left in the middle of the work (out of memory in hipGraphInstantiate)")
    assert "close other programs" in said
    assert is_about_memory(said), "a layer less will be tried"


def test_anything_else_stays_as_llama_cpp_said_it() -> None:
    said = sentence("ggml.c:1: GGML_ASSERT(x) failed", ["a cause"], ["a:1"], nobody_asks)
    assert said == "llama.cpp stopped on an internal check, ggml.c:1: GGML_ASSERT(x) failed (a cause)."


# As llama.cpp does when the card falls off the bus: it logs the driver's words and aborts.
DYING = """
import ctypes
from localqwen.engine import native

native.start()
for line in ("CUDA error: unspecified launch failure\\n",
             "  current device: 0, in function f at x.cu:9\\n", "  cudaStreamSynchronize(stream)\\n"):
    native._log_callback(native.ERROR, line.encode(), None)
abort = native.LIBLLAMA.ggml_abort
abort(b"x.cu", ctypes.c_int(109), b"CUDA error")
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_real_abort_says_it_on_standard_error() -> None:
    done = subprocess.run([sys.executable, "-c", DYING], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -6
    (spoken,) = [line for line in done.stderr.splitlines() if line.startswith("localqwen: ")]
    assert spoken.startswith("localqwen: CUDA0 failed in the middle of the work (unspecified launch failure")
    assert "x.cu:109: CUDA error" in done.stderr, "the log keeps llama.cpp's own words"
