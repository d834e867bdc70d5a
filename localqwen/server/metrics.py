"""``GET /metrics``: the engine's and the server's counters in Prometheus' text format, named as vLLM names its own."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Counter, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from localqwen.engine.engine import Engine
from localqwen.engine.stats import Stats

PREFIX = "localqwen"
UNKNOWN = "unknown"  # one name for all addresses that do not exist, or anybody could fill the memory with names
COUNTERS = {
    "prompt_tokens": ("prompt_tokens", "Tokens of prompts."),
    "generation_tokens": ("generated_tokens", "Tokens generated."),
    "prefix_cache_queries": ("prompt_tokens", "Tokens of prompts that were looked for in the KV cache."),
    "prefix_cache_hits": ("cached_tokens", "Tokens of prompts that were found in the KV cache."),
    "spec_decode_num_draft_tokens": ("drafted_tokens", "Tokens that were drafted."),
    "spec_decode_num_accepted_tokens": ("accepted_tokens", "Drafted tokens that the model accepted."),
    "decode_calls": ("decodes", "Calls of llama_decode."),
    "prefill_seconds": ("prefill_seconds", "Time spent on prompts."),
    "decode_seconds": ("decode_seconds", "Time spent on generating."),
    "states_saved": ("states_saved", "KV cache states written to disk."),
    "states_restored": ("states_restored", "KV cache states read from disk."),
    "states_turned": ("states_turned", "KV cache states turned to another position scaling."),
}
GAUGES = {
    "num_requests_running": ("running", "Answers in progress."),
    "num_requests_waiting": ("waiting", "Answers in the queue."),
    "kv_cache_tokens": ("cache_tokens", "Cells of the KV cache in use."),
    "kv_cache_size": ("cache_size", "Cells of the KV cache."),
}


class StatsCollector(Collector):
    """The engine's numbers as they are when somebody asks."""

    def __init__(self, stats: Stats, model: str) -> None:
        self._stats = stats
        self._model = model

    def collect(self) -> Iterator[Metric]:
        """Every metric, labelled with the model's name."""
        stats = self._stats
        for name, (field, text) in COUNTERS.items():
            counter = CounterMetricFamily(f"{PREFIX}_{name}", text, labels=["model_name"])
            counter.add_metric([self._model], getattr(stats, field))
            yield counter
        finished = CounterMetricFamily(
            f"{PREFIX}_request_success", "Answers by how they ended.", labels=["model_name", "finished_reason"]
        )
        for reason, count in list(stats.finished.items()):  # in one step: the engine's thread may add to it
            finished.add_metric([self._model, reason], count)
        yield finished
        for name, (field, text) in GAUGES.items():
            yield self._gauge(name, text, getattr(stats, field))
        yield self._gauge(
            "kv_cache_usage_perc", "Used part of the KV cache, 1 is full.", _ratio(stats.cache_tokens, stats.cache_size)
        )
        computed = stats.prompt_tokens - stats.cached_tokens
        yield self._gauge(
            "avg_prompt_throughput_toks_per_s",
            "Prompt tokens per second of prefill since the start.",
            _ratio(computed, stats.prefill_seconds),
        )
        yield self._gauge(
            "avg_generation_throughput_toks_per_s",
            "Tokens per second of generation since the start.",
            _ratio(stats.generated_tokens, stats.decode_seconds),
        )

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        gauge = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=["model_name"])
        gauge.add_metric([self._model], value)
        return gauge


class Metrics:
    """ASGI middleware that counts requests, and the route that tells every number."""

    def __init__(self, app: ASGIApp, engine: Engine, model: str) -> None:
        self._app = app
        self._registry = CollectorRegistry()
        self._registry.register(StatsCollector(engine.stats, model))
        ProcessCollector(namespace=PREFIX, registry=self._registry)
        self._requests = Counter(
            f"{PREFIX}_http_requests",
            "HTTP requests by route and status.",
            ["method", "handler", "status"],
            registry=self._registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 499  # a client that went away before the answer began

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            status = 500
            raise
        finally:
            route = getattr(scope.get("route"), "path", UNKNOWN)
            method = scope["method"] if route != UNKNOWN else UNKNOWN
            self._requests.labels(method, route, str(status)).inc()

    def router(self) -> APIRouter:
        """The route."""
        routes = APIRouter()

        @routes.get("/metrics", tags=["Server"], response_class=Response)
        async def metrics() -> Response:
            """Requests, tokens, queue, speed and cache, for Prometheus."""
            return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

        return routes


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
