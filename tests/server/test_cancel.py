"""A client that goes away cancels its job, whatever it was waiting for."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx
import pytest

from localqwen.engine.job import Job
from tests.server.running import DEADLINE, Running, wait_until

STORY = {"messages": [{"role": "user", "content": "Write a very long story about a lighthouse keeper."}]}
LONG = {"messages": [{"role": "user", "content": "word " * 7000}]}


def idle(server: Running) -> None:
    wait_until(lambda: not server.engine.open_jobs, "the engine is idle")


def test_in_the_middle_of_a_stream(server: Running) -> None:
    body = {**STORY, "stream": True}
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body, timeout=DEADLINE) as response:
        next(line for line in response.iter_lines() if '"content":"' in line and '"role"' not in line)
    idle(server)
    job = server.jobs[-1]
    assert job.cancelled.is_set()
    assert job.completion_tokens >= 1


@pytest.mark.parametrize("stream", [True, False])
def test_in_prefill(server: Running, stream: bool) -> None:
    before = len(server.jobs)
    body = httpx.Request("POST", "http://localhost", json={**LONG, "stream": stream}).content
    address = urlsplit(server.url)
    with socket.create_connection((str(address.hostname), address.port), timeout=DEADLINE) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        wait_until(lambda: len(server.jobs) > before, "the job is submitted")
    idle(server)
    job: Job = server.jobs[-1]
    assert job.cancelled.is_set()
    assert job.completion_tokens == 0


def test_the_next_request_is_answered(server: Running) -> None:
    answer = server.ask(messages=[{"role": "user", "content": "What is the capital of Japan?"}], temperature=0)
    assert "Tokyo" in answer.json()["choices"][0]["message"]["content"]


def test_our_own_events_come_only_when_asked_for(server: Running) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "stream": True, "max_tokens": 2}
    plain = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=DEADLINE)
    assert "event:" not in plain.text
    more = httpx.post(
        f"{server.url}/v1/chat/completions", json=body, timeout=DEADLINE, headers={"Localqwen-Events": "1"}
    )
    assert "event: localqwen.prefill\n" in more.text
    assert "event: localqwen.usage\n" in more.text
    assert more.text.endswith("data: [DONE]\n\n")
