"""`localqwen worker` processes on loopback, as other machines' devices."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.server.running import DEADLINE, wait_until

LOCALQWEN = [sys.executable, "-m", "localqwen"]
# llama.cpp's server as it is: a CPU that says all its memory is free, and with GGML_RPC_DEBUG what it allocates.
PLAIN = [
    sys.executable,
    "-c",
    """
import ctypes, sys
import llama_cpp.llama_cpp as llama
from localqwen.engine import registry
devices = [handle for handle in registry.handles() if handle.kind == "cpu"]
llama.llama_log_set(ctypes.cast(None, llama.llama_log_callback), ctypes.c_void_p(None))
registry.serve_rpc(sys.argv[3], 1, devices)  # as of `worker --listen HOST:PORT`
""",
]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def worker(
    log: Path, *options: str, program: Sequence[str] = LOCALQWEN, endpoint: str | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A worker that listens, with ``options`` of its own, and its address."""
    endpoint = endpoint or f"127.0.0.1:{free_port()}"
    with log.open("wb") as output:
        command = [*program, "worker", "--listen", endpoint, "--threads", "1", *options]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        host, port = endpoint.split(":")

        def listens() -> bool:
            assert process.poll() is None, log.read_text()
            with socket.socket() as probe:
                return probe.connect_ex((host, int(port))) == 0

        wait_until(listens, "the worker listens")
        yield endpoint, process
    finally:
        process.kill()
        process.wait()


FAST = """
import sys
from localqwen import paths
from localqwen.engine import inventory, registry
from localqwen.engine.notebook import Notebook

registry.add_rpc_servers(sys.argv[1:])
for handle in registry.handles():
    if handle.kind == "rpc":
        speed = [1e13, 1e15, 1e10, 1e-6]  # bytes per second, the same of prompts, of uploads; seconds of a step
        Notebook(paths.planner_path()).put(inventory.SPEEDS, inventory.identity(handle), speed)
"""


def call_fast(*endpoints: str) -> None:
    """Have the planner take workers for fast machines, so that it wants all layers there; here they are this one."""
    python(FAST, *endpoints)


def python(program: str, *arguments: str) -> str:
    """What a program prints, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=DEADLINE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
