"""Four jobs at once against one after the other, and whether batching changes an answer.

    PYTHONPATH=. python -m benchmarks.batching [--model GGUF] [--repeat 5] [--tokens 128] [--jobs 4]

Every job runs alone first, at temperature 0 in a context of its own, and then together with the others. Arithmetic in
a batch adds in another order, so where an answer differs, the gap between the two likeliest tokens of the solo run at
that place is printed.
"""

from __future__ import annotations

import argparse
import queue
import time
from pathlib import Path

from benchmarks.machine import description
from benchmarks.serving import median, text
from localqwen.engine.engine import Engine, EngineOptions
from localqwen.engine.job import Request
from localqwen.events import AnswerEvent, Delta, Finished, Logprobs, Ready
from localqwen.params import SamplingParams
from tests.fixtures import demo_gguf

NEAR_TIE = 1e-2


class Answer:
    """One job and what came of it."""

    def __init__(self, engine: Engine, prompt: list[int], tokens: int, *, logprobs: bool = False) -> None:
        self._events: queue.SimpleQueue[AnswerEvent] = queue.SimpleQueue()
        params = SamplingParams(temperature=0, max_tokens=tokens)
        request = Request(prompt, params, top_logprobs=2 if logprobs else None)
        engine.submit(request, self._events.put)
        self.text = ""
        self.logprobs: list[Logprobs] = []

    def wait(self) -> Finished:
        """Collect the answer."""
        while True:
            event = self._events.get()
            if isinstance(event, Delta):
                self.text += event.text
                self.logprobs += event.logprobs
            elif isinstance(event, Finished):
                return event


def loaded(path: Path) -> Engine:
    """A fresh engine, so that nothing is cached."""
    engine = Engine(path, EngineOptions(context=8192, speculation=False))
    engine.start()
    while not isinstance(engine.state, Ready):
        time.sleep(0.02)
    return engine


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


def main() -> None:
    """Run it and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--jobs", type=int, default=4)
    arguments = parser.parse_args()
    path = arguments.model or demo_gguf()
    engine = loaded(path)
    excerpts = [text(300, 9000 * number) for number in range(arguments.repeat * arguments.jobs)]
    prompts = [engine.chat_prompt([{"role": "user", "content": f"Explain this:\n{part}"}]) for part in excerpts]
    engine.close()
    groups = [prompts[at : at + arguments.jobs] for at in range(0, len(prompts), arguments.jobs)]
    print(f"{description()}, {path.name}\n")
    pairs = []
    for group in groups:
        alone = rate(path, group, arguments.tokens, together=False)
        pairs.append((alone, rate(path, group, arguments.tokens, together=True)))
    one, many = (median([pair[side] for pair in pairs]) for side in (0, 1))
    print(f"| one after the other | {arguments.jobs} at once | ratio |")
    print("| --- | --- | --- |")
    print(f"| {one:.0f} tok/s | {many:.0f} tok/s | {many / one:.2f} |\n")
    gaps: list[float] = []
    for group in groups:
        engine = loaded(path)
        answers = [Answer(engine, prompt, arguments.tokens) for prompt in group]
        for answer in answers:
            answer.wait()
        engine.close()
        found = [gap(path, prompt, arguments.tokens, a.text) for prompt, a in zip(group, answers, strict=True)]
        gaps += [value for value in found if value is not None]
    print("| answers | differ from the solo run | of these at a near tie (< 0.01) | gaps at the others |")
    print("| --- | --- | --- | --- |")
    wide = sorted(value for value in gaps if value >= NEAR_TIE)
    print(
        f"| {len(prompts)} | {len(gaps)} | {len(gaps) - len(wide)} | {', '.join(f'{v:.3f}' for v in wide) or 'none'} |"
    )


if __name__ == "__main__":
    main()
