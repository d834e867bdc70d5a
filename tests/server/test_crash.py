"""A failed assertion of llama.cpp ends the process, but not without a word to those who wait for an answer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.server.running import DEADLINE

# Before the fourth decode a sequence is named that cannot be, which llama.cpp asserts.
PROGRAM = """
import sys, threading
from pathlib import Path
from localqwen.engine.context import Context
from tests.server.running import running_server

decode, count = Context.decode, 0

def fatal(self, batch):
    global count
    count += 1
    if count == 4:
        self.truncate(100000, 0)
    decode(self, batch)

Context.decode = fatal
with running_server(Path(sys.argv[1])) as running:
    print(running.url, flush=True)
    threading.Event().wait()
"""


@contextmanager
def doomed(gguf: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-c", PROGRAM, str(gguf)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


@pytest.mark.parametrize("stream", [True, False])
def test_the_assertion_reaches_the_client(demo_gguf: Path, stream: bool) -> None:
    body = {"messages": [{"role": "user", "content": "Tell me a story."}], "stream": stream, "temperature": 0}
    with doomed(demo_gguf) as (url, process):
        response = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=DEADLINE)
        if stream:
            events = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: {")]
            assert '"content"' in response.text, "what was generated before is there"
            error = json.loads(events[-1])["error"]
        else:
            assert response.status_code == 500
            error = response.json()["error"]
        assert error["message"].startswith("llama.cpp stopped on an internal check, ")
        assert "GGML_ASSERT" in error["message"]
        assert process.wait(DEADLINE) == -signal.SIGABRT
        assert process.stderr is not None
        assert f"localqwen: {error['message']}" in process.stderr.read()
