"""Many requests at once, of which many are given up, leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import random
from pathlib import Path
from typing import Any

import httpx

from localqwen.engine.job import Job
from localqwen.server.answer import Answers
from tests.server.running import DEADLINE, Running, running_server, wait_until

REQUESTS = 200


async def ask(client: httpx.AsyncClient, chance: random.Random, number: int) -> str:
    """One request, read to its end or given up at a place that chance decides."""
    stream = chance.random() < 0.7
    body: dict[str, Any] = {"max_tokens": chance.randint(1, 6), "stream": stream, "n": chance.choice([1, 1, 1, 2])}
    path = "/v1/completions"
    if chance.random() < 0.5:
        path = "/v1/chat/completions"
        body["messages"] = [{"role": "user", "content": f"Tell me about the number {number}."}]
    else:
        body["prompt"] = f"The number {number} is"
    patience = chance.choice([0, 1, 2, None])
    if not stream:
        try:
            # Given up while it waits, in prefill or in generation, as it comes.
            timeout = httpx.Timeout(DEADLINE, read=DEADLINE if patience is None else 0.01 + patience)
            response = await client.post(path, json=body, timeout=timeout)
        except httpx.ReadTimeout:
            return "given up"
        assert response.status_code == 200
        return "read"
    async with client.stream("POST", path, json=body) as response:
        assert response.status_code == 200
        count = 0
        async for line in response.aiter_lines():
            assert "error" not in line
            if patience is not None and line and count >= patience:
                return "given up"
            count += bool(line)
    return "read"


async def ask_many(server: Running) -> list[str]:
    chance = random.Random(1)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=server.url, timeout=DEADLINE, limits=limits) as client:
        asked = [asyncio.ensure_future(ask(client, chance, number)) for number in range(REQUESTS)]
        return await asyncio.gather(*asked)


def alive() -> int:
    """How many jobs and answers exist."""
    gc.collect()
    return sum(isinstance(thing, Job | Answers) for thing in gc.get_objects())


def test_nothing_is_left_behind(demo_gguf: Path) -> None:
    with running_server(demo_gguf, context=512) as server:
        before = alive()
        ends = asyncio.run(ask_many(server))
        assert ends.count("read") > 20
        assert ends.count("given up") > 50
        wait_until(lambda: not server.engine.open_jobs, "the engine is idle")
        wait_until(lambda: not server.server.server_state.tasks, "no request is open")
        assert len(server.jobs) >= ends.count("read")
        server.jobs.clear()
        # The loop may still be letting go of the last job.
        wait_until(lambda: alive() <= before, "no job is kept")
        assert server.engine.stats.running == server.engine.stats.waiting == 0
        answer = server.ask(messages=[{"role": "user", "content": "What is the capital of Japan?"}], temperature=0)
        assert "Tokyo" in answer.json()["choices"][0]["message"]["content"]
