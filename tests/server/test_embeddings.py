"""Embeddings between the engine's futures and the wire."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from localqwen.errors import PromptTooLongError
from tests.server.running import DEADLINE, Running, wait_until


@pytest.fixture
def futures(server: Running, monkeypatch: pytest.MonkeyPatch) -> list[Future[list[float]]]:
    """The futures that the engine hands out."""
    handed: list[Future[list[float]]] = []

    def embed(tokens: Sequence[int]) -> Future[list[float]]:
        assert tokens
        handed.append(Future())
        return handed[-1]

    monkeypatch.setattr(server.engine, "embed", embed)
    return handed


def test_numbers_and_base64(server: Running, futures: list[Future[list[float]]]) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    vectors = [[0.6, -0.8], [1.0, 1e-30]]

    def answer(first: int) -> None:
        wait_until(lambda: len(futures) == first + 2, "the texts are queued")
        for future, vector in zip(futures[first:], vectors, strict=True):
            future.set_result(vector)

    for first, encoding in ((0, openai.NOT_GIVEN), (2, "float")):
        thread = threading.Thread(target=answer, args=(first,))
        thread.start()
        told = client.embeddings.create(model="demo", input=["One", "Two words"], encoding_format=encoding)  # type: ignore[arg-type]
        thread.join()
        assert [one.index for one in told.data] == [0, 1]
        for one, vector in zip(told.data, vectors, strict=True):
            assert one.embedding == pytest.approx(vector, rel=1e-6)
        assert told.usage.prompt_tokens == told.usage.total_tokens == 3


def test_a_text_that_is_too_long(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def embed(tokens: Sequence[int]) -> Future[list[float]]:
        future: Future[list[float]] = Future()
        future.set_exception(PromptTooLongError(f"The text has {len(tokens)} tokens: shorten it."))
        return future

    monkeypatch.setattr(server.engine, "embed", embed)
    response = httpx.post(f"{server.url}/v1/embeddings", json={"input": [1, 2, 3]}, timeout=DEADLINE)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"
    assert response.json()["error"]["param"] == "input"
    assert "3 tokens" in response.json()["error"]["message"]


def test_a_client_that_goes_away(server: Running, futures: list[Future[list[float]]]) -> None:
    body = b'{"input": ["a", "b"]}'
    address = urlsplit(server.url)
    with socket.create_connection((str(address.hostname), address.port), timeout=DEADLINE) as connection:
        head = f"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        wait_until(lambda: len(futures) == 2, "the texts are queued")
    wait_until(lambda: all(future.cancelled() for future in futures), "the work is given up")
