"""Times a plan through llama.cpp alone: no sampling, no text, no server."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import llama_cpp.llama_cpp as llama

from localqwen.engine import native
from localqwen.engine.context import Batch, Context, ContextOptions
from localqwen.engine.faults import remembering_death, step_down
from localqwen.engine.model import Model
from localqwen.engine.planner import Planner, Solution
from localqwen.engine.rope import YarnMode, rope_for
from localqwen.errors import InvalidRequestError, OutOfMemoryError
from localqwen.plan import Plan

WARM_UP_TOKENS = 8
COMMON_PROMPT = 512  # tokens, where the ubatch is no longer


@dataclass(frozen=True, slots=True)
class Exercise:
    """``repeat`` times: read ``prompt`` tokens after ``depth`` (``None``: a whole ubatch), and make ``tokens``."""

    prompt: int | None = None
    tokens: int = 64
    depth: int = 0
    repeat: int = 3


@dataclass(frozen=True, slots=True)
class Result:
    """Bytes ``taken`` on each device, and tokens per second, of a ``prompt`` of so many tokens and of the answer."""

    plan: Plan
    taken: dict[str, int]
    prompt: int
    prefill: float
    decode: float


def bench(planner: Planner, path: Path, exercise: Exercise, yarn: YarnMode = "auto", *, pinned: bool = False) -> Result:
    """Load what the planner says, and measure it; with a layer less where memory turns out to be too small.

    Where the layers are ``pinned``, :class:`OutOfMemoryError` is raised instead. Raises :class:`InvalidRequestError`
    for an exercise that is longer than the context.
    """
    while True:
        solution = planner.plan()
        with remembering_death(planner, solution.plan):
            try:
                return _measured(planner, solution, path, exercise, yarn)
            except OutOfMemoryError:
                if pinned or not step_down(planner, solution.plan):
                    raise


def _measured(planner: Planner, solution: Solution, path: Path, exercise: Exercise, yarn: YarnMode) -> Result:
    plan, tokens, depth = solution.plan, exercise.tokens, exercise.depth
    prompt = exercise.prompt or _prompt(plan.ubatch, max(1, plan.context - depth - tokens))
    if depth + prompt + tokens > plan.context:
        raise InvalidRequestError(
            f"{depth} + {prompt} + {tokens} tokens are more than the context of {plan.context}: use a larger --ctx."
        )
    with native.allocations() as reported, Model.load(path, solution.placement) as model:
        rope = rope_for(depth + prompt + tokens, model.window, yarn)
        context = Context(model, ContextOptions(plan.context, plan.threads, rope, plan.kv_type, plan.ubatch))
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
            taken = planner.loaded(plan, reported())
            llama.llama_synchronize(context.handle)
            if depth:
                run(0, depth, plan.ubatch)
            prefills, decodes = [], []
            for _ in range(exercise.repeat):
                prefills.append(run(depth, prompt, plan.ubatch))
                context.truncate(0, depth)
            run(depth, min(WARM_UP_TOKENS, tokens), 1)
            for _ in range(exercise.repeat):
                context.truncate(0, depth)
                decodes.append(run(depth, tokens, 1))
        finally:
            batch.close()
            context.close()
    return Result(plan, taken, prompt, statistics.median(prefills), statistics.median(decodes))


def _prompt(ubatch: int, room: int) -> int:
    """How many tokens to read where the user does not say: whole ubatches if there is room."""
    most = min(max(COMMON_PROMPT, ubatch), room)
    return most // ubatch * ubatch or most
