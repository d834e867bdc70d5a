"""Every failure is an OpenAI error object with a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from localqwen.server.app import Access
from localqwen.server.guard import MAX_BODY_BYTES
from tests.server.running import DEADLINE, Running, running_server

HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {"type": "function", "function": {"name": "weather"}}
CALL_NEWS = {"type": "function", "function": {"name": "news"}}


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].endswith(".")
    return error


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [{"role": "robot", "content": "Hello"}]}, "messages.0.role"),
        ({"messages": [{"content": "Hello"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "assistant"}]}, "messages.0"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
            "messages.0.tool_calls.0.function.name",
        ),
        ({"messages": HELLO, "temperature": 3}, "temperature"),
        ({"messages": HELLO, "top_p": 0}, "top_p"),
        ({"messages": HELLO, "frequency_penalty": -3}, "frequency_penalty"),
        ({"messages": HELLO, "max_tokens": 0}, "max_tokens"),
        ({"messages": HELLO, "stop": [""]}, "stop.0"),
        ({"messages": HELLO, "n": 0}, "n"),
        ({"messages": HELLO, "n": 1000}, "n"),
        ({"messages": HELLO, "tools": [{}]}, "tools.0.type"),
        ({"messages": HELLO, "tools": [WEATHER, WEATHER]}, None),
        ({"messages": HELLO, "tool_choice": "required"}, None),
        ({"messages": HELLO, "tools": [WEATHER], "tool_choice": CALL_NEWS}, None),
        ({"messages": HELLO, "response_format": {"type": "xml"}}, "response_format.type"),
        ({"messages": HELLO, "response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"messages": HELLO, "response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
        ),
        ({"messages": HELLO, "top_logprobs": 2}, None),
        ({"messages": HELLO, "logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"messages": HELLO, "logit_bias": {"hello": 1}}, None),
        ({"messages": HELLO, "logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"messages": HELLO, "audio": {"voice": "alloy"}}, None),
        ({"messages": HELLO, "guided_regex": "a+"}, None),
    ],
)
def test_wrong_requests(server: Running, body: dict[str, Any], param: str | None) -> None:
    response = server.ask(**body)
    assert response.status_code == 400
    error = error_of(response)
    assert error["type"] == "invalid_request_error"
    assert param is None or error["param"] == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": []}, None),
        ({"prompt": [[1], []]}, None),
        ({"prompt": [-1]}, "prompt.0"),
        ({"prompt": [10**8]}, None),
        ({"prompt": ""}, None),
        ({"prompt": "x", "suffix": "y"}, None),
        ({"prompt": "x", "best_of": 2}, None),
        ({"prompt": "x", "echo": True, "logprobs": 1}, None),
        ({"prompt": [1], "echo": True}, None),
        ({"prompt": "x", "logprobs": 6}, "logprobs"),
        ({"prompt": ["x"] * 2, "n": 100}, None),
        ({"prompt": "word " * 9000}, "prompt"),
    ],
)
def test_wrong_completions(server: Running, body: dict[str, Any], param: str | None) -> None:
    response = httpx.post(f"{server.url}/v1/completions", json=body, timeout=DEADLINE)
    assert response.status_code == 400
    error = error_of(response)
    assert param is None or error["param"] == param


@pytest.mark.parametrize(
    "body", [{}, {"input": ""}, {"input": []}, {"input": "x", "dimensions": 3}, {"input": [10**8]}]
)
def test_wrong_embeddings(server: Running, body: dict[str, Any]) -> None:
    response = httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=DEADLINE)
    assert response.status_code == 400
    error_of(response)


def test_a_page_cannot_ask_without_a_preflight(server: Running) -> None:
    response = httpx.post(
        f"{server.url}/v1/completions", content=b'{"prompt": "x"}', headers={"Content-Type": "text/plain"}
    )
    assert response.status_code == 400
    error_of(response)


@pytest.mark.parametrize("content", [b"{", b"[]", b"NaN", b'{"messages": NaN}', b"\xff", b"[" * 100000, b"9" * 5000])
def test_no_json(server: Running, content: bytes) -> None:
    response = httpx.post(
        f"{server.url}/v1/chat/completions", content=content, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 400
    error_of(response)


def test_half_a_character_is_a_question_mark(server: Running) -> None:
    content = rb'{"messages": [{"role": "user", "content": "\ud800"}], "max_tokens": 1}'
    response = httpx.post(
        f"{server.url}/v1/chat/completions", content=content, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 200


def test_half_a_character_in_an_error(server: Running) -> None:
    content = rb'{"messages": [{"role": "user", "content": "x"}], "model": "\ud800"}'
    response = httpx.post(
        f"{server.url}/v1/chat/completions", content=content, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 404
    error_of(response)


def test_not_finite(server: Running) -> None:
    content = b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}'
    response = httpx.post(
        f"{server.url}/v1/chat/completions", content=content, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 400
    assert error_of(response)["param"] == "temperature"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/v1/chat/completions", 405)])
def test_wrong_addresses(server: Running, method: str, path: str, status: int) -> None:
    response = httpx.request(method, server.url + path)
    assert response.status_code == status
    error_of(response)


def test_a_request_that_is_too_large(server: Running) -> None:
    response = server.ask(messages=[{"role": "user", "content": "x" * MAX_BODY_BYTES}])
    assert response.status_code == 413
    error_of(response)


def test_a_page_of_another_name_is_not_served(server: Running) -> None:
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""):
        response = httpx.get(f"{server.url}/v1/models", headers={"Host": host})
        assert response.status_code == 403
        error_of(response)
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]:8000"):
        assert httpx.get(f"{server.url}/v1/models", headers={"Host": host}).status_code == 200


def test_an_api_key_is_asked_for(demo_gguf: Path) -> None:
    with running_server(
        demo_gguf, context=256, access=Access(api_key="secret", check_host=False), ready=False
    ) as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
            response = httpx.get(f"{server.url}/v1/models", headers=headers)
            assert response.status_code == 401
            assert error_of(response)["code"] == "invalid_api_key"
        right = {"Authorization": "Bearer secret", "Host": "box.example"}
        assert httpx.get(f"{server.url}/v1/models", headers=right).status_code == 200
        assert httpx.get(f"{server.url}/health").status_code in {200, 503}


def test_a_failing_engine_answers_in_words(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("localqwen.engine.sampler.Sampler.sample", fail)
    response = server.ask(messages=HELLO)
    assert response.status_code == 500
    assert "boom" in error_of(response)["message"]
    stream = server.ask(messages=HELLO, stream=True)
    assert stream.status_code == 200
    assert "boom" in stream.text
    monkeypatch.undo()
    assert server.ask(messages=HELLO, max_tokens=1).status_code == 200
