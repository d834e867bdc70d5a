"""From a cancellation to an idle engine, in generation and in prefill.

    PYTHONPATH=. python -m benchmarks.cancel [--model GGUF] [--repeat 20]

Prefill is cancelled at a random moment; the time that one ubatch takes there stands beside it.
"""

from __future__ import annotations

import argparse
import queue
import random
import time
from pathlib import Path

from benchmarks.batching import loaded
from benchmarks.machine import description
from benchmarks.serving import median, text
from localqwen.engine.engine import Engine
from localqwen.engine.job import Request
from localqwen.events import AnswerEvent, Delta, Finished, Prefill
from localqwen.params import SamplingParams
from tests.fixtures import demo_gguf


def cancelled(engine: Engine, prompt: list[int], until: type, pause: float) -> tuple[float, list[float]]:
    """Seconds from the cancellation to the end; and between the events of the prefill before it."""
    events: queue.SimpleQueue[AnswerEvent] = queue.SimpleQueue()
    job = engine.submit(Request(prompt, SamplingParams(temperature=0)), events.put)
    slices = []
    last = time.perf_counter()
    while True:
        event = events.get()
        if isinstance(event, Prefill):
            slices.append(time.perf_counter() - last)
            last = time.perf_counter()
        if isinstance(event, until) and (not isinstance(event, Prefill) or event.done >= 1024):
            break
    time.sleep(pause)
    started = time.perf_counter()
    engine.cancel(job)
    while not isinstance(events.get(), Finished):
        pass
    while engine.open_jobs:
        time.sleep(0)
    return time.perf_counter() - started, slices[2:]


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--repeat", type=int, default=20)
    arguments = parser.parse_args()
    path = arguments.model or demo_gguf()
    engine = loaded(path)
    chooser = random.Random(0)
    story = engine.chat_prompt([{"role": "user", "content": "Write a very long story about a lighthouse keeper."}])
    generation = [cancelled(engine, story, Delta, chooser.uniform(0, 0.05))[0] for _ in range(arguments.repeat)]
    prefill, ubatches = [], []
    for number in range(arguments.repeat):
        prompt = engine.chat_prompt([{"role": "user", "content": f"{number} {text(24_000, 1000 * number)}"}])
        seconds, slices = cancelled(engine, prompt, Prefill, chooser.uniform(0, 0.5))
        prefill.append(seconds)
        ubatches += slices
    engine.close()
    print(f"{description()}, {path.name}\n")
    print("| cancelled | median | longest |")
    print("| --- | --- | --- |")
    print(f"| in generation | {median(generation) * 1e3:.1f} ms | {max(generation) * 1e3:.1f} ms |")
    print(f"| in prefill | {median(prefill) * 1e3:.1f} ms | {max(prefill) * 1e3:.1f} ms |")
    print(f"| (one ubatch) | {median(ubatches) * 1e3:.0f} ms | {max(ubatches) * 1e3:.0f} ms |")


if __name__ == "__main__":
    main()
