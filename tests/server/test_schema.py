"""Nothing that the OpenAPI document allows, or nearly allows, makes the server fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error

from localqwen.server.app import Access
from tests.server.running import Running, running_server

# The engine decides about the time that a prompt takes; what is tested here is what requests may say.
BOUNDED = {"max_tokens": 1, "max_completion_tokens": 1, "n": 1, "model": None}


@pytest.fixture(scope="module")
def small(demo_gguf: Path) -> Any:
    """A server with a small context, so that no prompt takes long."""
    with running_server(demo_gguf, context=256, access=Access()) as running:
        yield running


@pytest.fixture
def api(small: Running) -> Any:
    """The server's own OpenAPI document."""
    return schemathesis.openapi.from_dict(httpx.get(f"{small.url}/openapi.json").json())


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_server_error(case: schemathesis.Case[Any], small: Running) -> None:
    if isinstance(case.body, dict):
        case.body = {**case.body, **{key: value for key, value in BOUNDED.items() if key in case.body}}
    case.call_and_validate(base_url=small.url, checks=[not_a_server_error])
