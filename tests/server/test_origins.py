"""Web pages may ask only when their origin is allowed."""

from __future__ import annotations

from pathlib import Path

import httpx

from localqwen.server.app import Access
from tests.server.running import Running, running_server

PAGE = "http://localhost:3000"


def preflight(server: Running, origin: str) -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return httpx.options(f"{server.url}/v1/chat/completions", headers=headers)


def test_no_page_by_default(server: Running) -> None:
    assert preflight(server, PAGE).is_error
    answer = httpx.get(f"{server.url}/v1/models", headers={"Origin": PAGE})
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_allowed_pages(demo_gguf: Path) -> None:
    access = Access(api_key="secret", origins=(PAGE,))
    with running_server(demo_gguf, context=256, access=access, ready=False) as server:
        allowed = preflight(server, PAGE)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == PAGE
        assert preflight(server, "http://evil.example").is_error
        # The refusal of a wrong key can be read by the page too.
        answer = httpx.get(f"{server.url}/v1/models", headers={"Origin": PAGE})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == PAGE
        # A name that means this machine only now (DNS rebinding) stays shut out.
        other = httpx.get(f"{server.url}/v1/models", headers={"Origin": PAGE, "Host": "evil.example"})
        assert other.status_code == 403
