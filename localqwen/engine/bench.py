"""Times a plan through llama.cpp alone: no sampling, no text, no server."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import llama_cpp.llama_cpp as llama

from localqwen.engine.context import Batch, Context, ContextOptions
from localqwen.engine.model import Model
from localqwen.engine.planner import Planner, Solution
from localqwen.engine.rope import Rope
from localqwen.errors import InvalidRequestError

WARM_UP_TOKENS = 8


def bench(  # noqa: PLR0917 - what a benchmark is described by
    planner: Planner, solution: Solution, path: Path, prompt: int, tokens: int, depth: int, repeat: int
) -> tuple[dict[str, int], float, float]:
    """Load the plan; return the bytes taken on each device, and tokens per second of prefill and decode."""
    plan = solution.plan
    if depth + prompt + tokens > plan.context:
        raise InvalidRequestError(
            f"{depth} + {prompt} + {tokens} tokens are more than the context of {plan.context}: use a larger --ctx."
        )
    with Model.load(path, solution.placement) as model:
        options = ContextOptions(plan.context, plan.threads, Rope(1.0, model.window.native), plan.kv_type, plan.ubatch)
        context = Context(model, options)
        batch = Batch(plan.ubatch)
        ids = [1 + i % (model.vocabulary_size - 1) for i in range(depth + prompt + tokens)]

        def run(start: int, count: int, at_once: int) -> float:
            began = time.perf_counter()
            for at in range(start, start + count, at_once):
                batch.clear()
                batch.add(0, ids[at : min(at + at_once, start + count)], at, 1)
                context.decode(batch)
                if at_once == 1:
                    # Whoever chooses the next token waits for this one; otherwise cards would work on several.
                    llama.llama_synchronize(context.handle)
            llama.llama_synchronize(context.handle)  # a GPU is still at it
            return count / (time.perf_counter() - began)

        try:
            context.warm_up()
            taken = planner.loaded(plan)
            llama.llama_synchronize(context.handle)
            if depth:
                run(0, depth, plan.ubatch)
            prefills, decodes = [], []
            for _ in range(repeat):
                prefills.append(run(depth, prompt, plan.ubatch))
                context.truncate(0, depth)
            run(depth, min(WARM_UP_TOKENS, tokens), 1)
            for _ in range(repeat):
                context.truncate(0, depth)
                decodes.append(run(depth, tokens, 1))
        finally:
            batch.close()
            context.close()
    return taken, statistics.median(prefills), statistics.median(decodes)
