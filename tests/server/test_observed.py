"""What the server tells about itself: metrics and documentation."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from localqwen.engine.stats import Stats
from localqwen.server.app import Access
from localqwen.server.metrics import StatsCollector
from tests.server.running import Running, running_server

HELLO = [{"role": "user", "content": "Hello"}]


def samples(server: Running) -> dict[tuple[str, ...], float]:
    """Every metric's value by its name and labels."""
    response = httpx.get(f"{server.url}/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(response.text)
    return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


def test_requests_are_counted_by_route_and_status(server: Running) -> None:
    before = samples(server)
    assert server.ask(messages=HELLO, max_tokens=1).status_code == 200
    assert server.ask(messages=[]).status_code == 400
    for name in ("a", "b"):
        httpx.get(f"{server.url}/{name}")
        httpx.get(f"{server.url}/v1/models/{name}")
    after = samples(server)

    def more(*labels: str) -> float:
        key = ("localqwen_http_requests_total", *sorted(labels))
        return after[key] - before.get(key, 0)

    assert more("POST", "/v1/chat/completions", "200") == 1
    assert more("POST", "/v1/chat/completions", "400") == 1
    assert more("GET", "/v1/models/{name:path}", "404") == 2
    assert more("unknown", "unknown", "404") == 2


def test_the_engines_numbers() -> None:
    stats = Stats(
        finished={"stop": 2, "length": 1},
        prompt_tokens=100,
        cached_tokens=40,
        generated_tokens=50,
        prefill_seconds=2.0,
        decode_seconds=5.0,
        running=1,
        waiting=3,
        cache_tokens=25,
        cache_size=100,
    )
    values = {
        (sample.name.removeprefix("localqwen_"), *sample.labels.values()): sample.value
        for metric in StatsCollector(stats, "m").collect()
        for sample in metric.samples
    }
    assert values["request_success_total", "m", "stop"] == 2
    assert values["prefix_cache_queries_total", "m"] == 100
    assert values["prefix_cache_hits_total", "m"] == 40
    assert values["generation_tokens_total", "m"] == 50
    assert values["num_requests_waiting", "m"] == 3
    assert values["kv_cache_usage_perc", "m"] == 0.25
    assert values["avg_prompt_throughput_toks_per_s", "m"] == 30
    assert values["avg_generation_throughput_toks_per_s", "m"] == 10
    assert all(sample.value == 0 for metric in StatsCollector(Stats(), "m").collect() for sample in metric.samples)


def test_the_documentation_needs_no_internet_and_no_key(demo_gguf: Path) -> None:
    with running_server(
        demo_gguf, context=256, access=Access(api_key="secret", check_host=False), ready=False
    ) as server:
        for page in ("/docs", "/redoc"):
            text = httpx.get(server.url + page).text
            links = re.findall(r'(?:src|href)="([^"]+)"', text)
            assert links
            for link in links:
                assert link.startswith("/"), "a page of another server"
                assert httpx.get(server.url + link).status_code == 200
        document = httpx.get(f"{server.url}/openapi.json").json()
        assert document["paths"]["/v1/completions"]["post"]["security"] == [{"HTTPBearer": []}]
        assert httpx.get(f"{server.url}/metrics").status_code == 401
        assert httpx.get(f"{server.url}/docs/../v1/models").status_code == 401
        assert httpx.get(f"{server.url}/static-offline-docs/%2e%2e/core.py").status_code in {401, 404}


def test_every_route_is_documented(server: Running) -> None:
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    assert set(paths) == {
        "/health",
        "/metrics",
        "/localqwen/tokenize",
        "/v1/models",
        "/v1/models/{name}",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
    }
