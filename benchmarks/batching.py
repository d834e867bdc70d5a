"""Four jobs at once against one after the other, and whether batching changes an answer.

    PYTHONPATH=. python -m benchmarks.batching [--model GGUF ...] [--repeat 5] [--tokens 256] [--jobs 4]

Without a model the demo model is measured in F16 and in Q4_K_M. What a bare loop of llama_decode gains from as many
sequences in a batch is printed beside it: that is the most that any program can gain with that file here.

Every job runs alone first, at temperature 0 in an engine of its own, and then together with the others. Arithmetic in
a batch adds in another order, so where an answer differs, the gap between the log probabilities of the solo run's two
likeliest tokens at that place is printed. In F16 the difference stays what it was; with quantized weights llama.cpp
quantizes the activations too, and there it may tip a value to the next step, of 1/127 of the block's largest.
"""

from __future__ import annotations

import argparse
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from benchmarks.machine import description
from benchmarks.serving import median
from localqwen.engine.context import Batch, Context, ContextOptions
from localqwen.engine.devices import physical_cores
from localqwen.engine.engine import Engine
from localqwen.engine.job import Request
from localqwen.engine.model import Model
from localqwen.engine.options import EngineOptions
from localqwen.engine.rope import Rope
from localqwen.events import AnswerEvent, Delta, Finished, Logprobs, Ready
from localqwen.params import SamplingParams
from tests.fixtures import demo_gguf

NEAR_TIE = 1e-2
TYPES = ("F16", "Q4_K_M")
WHO = ("a lighthouse keeper", "a baker", "an old sailor", "two sisters", "a clockmaker")
WHERE = ("on an island", "in a city in the desert", "in a winter without snow", "at the edge of a forest")
BARE_DEPTH, BARE_STEPS = 128, 24


class Answer:
    """One job and what came of it. Nobody wakes up for a token: on two cores, that would take as long as a batch."""

    def __init__(self, engine: Engine, prompt: list[int], tokens: int, *, logprobs: bool = False) -> None:
        self._events: list[AnswerEvent] = []
        self._done = threading.Event()
        params = SamplingParams(temperature=0, max_tokens=tokens)
        engine.submit(Request(prompt, params, top_logprobs=2 if logprobs else None), self._take)

    def wait(self) -> Finished:
        """The end of the answer."""
        self._done.wait()
        last = self._events[-1]
        assert isinstance(last, Finished)
        return last

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(event.text for event in self._events if isinstance(event, Delta))

    @property
    def logprobs(self) -> list[Logprobs]:
        """Of each token, where they were asked for."""
        return [one for event in self._events if isinstance(event, Delta) for one in event.logprobs]

    def _take(self, event: AnswerEvent) -> None:
        self._events.append(event)
        if isinstance(event, Finished):
            self._done.set()


@dataclass
class Row:
    """What was measured with one file: tokens per second, and the gaps where answers differ."""

    name: str
    bare: tuple[float, float]
    pairs: list[tuple[float, float]] = field(default_factory=list)
    gaps: list[float | None] = field(default_factory=list)

    def __str__(self) -> str:
        alone, together = (median([pair[side] for pair in self.pairs]) for side in (0, 1))
        different = sorted(gap for gap in self.gaps if gap is not None)
        wide = [gap for gap in different if gap >= NEAR_TIE]
        columns = (
            self.name,
            f"{self.bare[0]:.0f} → {self.bare[1]:.0f} tok/s: {self.bare[1] / self.bare[0]:.2f}",
            f"{alone:.0f} → {together:.0f} tok/s: **{together / alone:.2f}**",
            len(self.gaps),
            len(different),
            len(different) - len(wide),
            ", ".join(f"{gap:.3f}" for gap in wide) or "none",
        )
        return f"| {' | '.join(map(str, columns))} |"


def loaded(path: Path) -> Engine:
    """A fresh engine, so that nothing is cached."""
    engine = Engine(path, EngineOptions(context=8192, speculation=False))
    engine.start()
    while not isinstance(engine.state, Ready):
        time.sleep(0.02)
    return engine


def bare(path: Path, jobs: int, repeat: int) -> tuple[float, float]:
    """Tokens per second of llama_decode with one sequence and with ``jobs``, after a short prompt."""
    rates: dict[int, list[float]] = {1: [], jobs: []}
    with Model.load(path) as model:
        context = Context(model, ContextOptions(8192, physical_cores(), Rope(1.0, model.window.native)))
        batch = Batch()
        for _ in range(repeat):
            for count, measured_rates in rates.items():
                for sequence in range(jobs):
                    context.truncate(sequence, 0)
                    batch.clear()
                    batch.add(sequence, range(100, 100 + BARE_DEPTH), 0, 1)
                    context.decode(batch)
                started = time.perf_counter()
                for step in range(BARE_STEPS):
                    batch.clear()
                    for sequence in range(count):
                        batch.add(sequence, [100 + step], BARE_DEPTH + step, 1)
                    context.decode(batch)
                measured_rates.append(count * BARE_STEPS / (time.perf_counter() - started))
        batch.close()
        context.close()
    return median(rates[1]), median(rates[jobs])


def rate(path: Path, prompts: list[list[int]], tokens: int, *, together: bool) -> float:
    """Generated tokens per second from the first question to the last answer."""
    engine = loaded(path)
    started = time.perf_counter()
    count = 0
    if together:
        count = sum(a.wait().usage.completion_tokens for a in [Answer(engine, p, tokens) for p in prompts])
    else:
        count = sum(Answer(engine, prompt, tokens).wait().usage.completion_tokens for prompt in prompts)
    seconds = time.perf_counter() - started
    engine.close()
    return count / seconds


def gaps(path: Path, prompts: list[list[int]], tokens: int) -> list[float | None]:
    """For each prompt, answered together with the others: see :func:`gap`."""
    engine = loaded(path)
    answers = [Answer(engine, prompt, tokens) for prompt in prompts]
    for answer in answers:
        answer.wait()
    engine.close()
    return [gap(path, prompt, tokens, answer.text) for prompt, answer in zip(prompts, answers, strict=True)]


def gap(path: Path, prompt: list[int], tokens: int, batched: str) -> float | None:
    """The gap between the two likeliest tokens where a batched answer leaves the solo one; ``None`` if it does not."""
    engine = loaded(path)
    solo = Answer(engine, prompt, tokens, logprobs=True)
    solo.wait()
    engine.close()
    if solo.text == batched:
        return None
    said = b""
    for entry in solo.logprobs:
        said += entry.chosen.data
        if not batched.encode().startswith(said):
            return entry.top[0].logprob - entry.top[1].logprob
    return 0.0  # one ends where the other goes on


def measured(path: Path, repeat: int, jobs: int, tokens: int) -> Row:
    """Everything about one file."""
    engine = loaded(path)
    stories = [f"Write a very long story about {who} {where}." for who in WHO for where in WHERE]
    prompts = [engine.chat_prompt([{"role": "user", "content": story}]) for story in stories]
    engine.close()
    groups = [[prompts[(group * jobs + job) % len(prompts)] for job in range(jobs)] for group in range(repeat)]
    # In a process of its own: OpenMP counts every thread's team, and with more threads than cores its barriers sleep,
    # which halves the speed of an engine that comes later.
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:
        row = Row(path.name, apart.submit(bare, path, jobs, repeat).result())
    for group in groups:
        alone = rate(path, group, tokens, together=False)
        row.pairs.append((alone, rate(path, group, tokens, together=True)))
    for group in groups:
        row.gaps += gaps(path, group, tokens)
    return row


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, action="append")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--jobs", type=int, default=4)
    arguments = parser.parse_args()
    print(f"{description()}, {arguments.tokens} tokens\n")
    print(
        f"| file | bare llama_decode, 1 → {arguments.jobs} sequences | one job after the other → {arguments.jobs} at"
        " once | answers | differ from the solo run | of these at a near tie (< 0.01) | gaps at the others |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for path in arguments.model or map(demo_gguf, TYPES):
        print(measured(path, arguments.repeat, arguments.jobs, arguments.tokens), flush=True)


if __name__ == "__main__":
    main()
