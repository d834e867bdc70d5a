"""Nothing that the OpenAPI document allows, or nearly allows, makes the server fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error

from tests.server.running import DEADLINE, Running, running_server

POSTS = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/localqwen/tokenize"]
GETS = ["/health", "/metrics", "/v1/models", "/v1/models/{name}"]
# How long an answer takes is not what is tested here, and hardly any made-up name is the model's.
BOUNDED = {"max_tokens": 1, "max_completion_tokens": 1, "n": 1, "model": None}


@pytest.fixture(scope="module")
def small(demo_gguf: Path) -> Iterator[Running]:
    """A server with a small context, so that no prompt takes long."""
    with running_server(demo_gguf, context=256) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        *(("POST", path, GenerationMode.POSITIVE) for path in POSTS),
        *(("POST", path, GenerationMode.NEGATIVE) for path in POSTS),
        *(("GET", path, GenerationMode.POSITIVE) for path in GETS),  # nothing can be wrong there
    ],
)
def test_no_server_error(small: Running, method: str, path: str, mode: GenerationMode) -> None:
    document = httpx.get(f"{small.url}/openapi.json").json()
    operation = schemathesis.openapi.from_dict(document)[path][method]
    statuses = set()

    # Derandomized, because a test that fails now and then only is worth little; no time is limited.
    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case[Any]) -> None:
        if isinstance(case.body, dict):
            case.body = {key: BOUNDED.get(key, value) for key, value in case.body.items()}
        response = case.call_and_validate(base_url=small.url, checks=[not_a_server_error], timeout=DEADLINE)
        statuses.add(response.status_code)

    check()
    if mode is GenerationMode.POSITIVE and path in {"/v1/chat/completions", "/v1/completions", "/localqwen/tokenize"}:
        assert 200 in statuses, "hardly anything was tested"
