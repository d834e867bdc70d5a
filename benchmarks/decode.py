"""Decode through HTTP streaming against a bare llama_decode loop.

    PYTHONPATH=. python -m benchmarks.decode [--model GGUF] [--repeat 5] [--tokens 256] [--threads N]

The bare loop is what llama-bench times: one llama_decode per token through the same library with the same parameters
and threads, without sampling, text or HTTP. It is run before and after each answer, in a process that is idle
meanwhile.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import llama_cpp.llama_cpp as llama

from benchmarks.machine import description
from benchmarks.serving import Server, median, server, text, usage
from localqwen.engine.context import Batch, Context, ContextOptions
from localqwen.engine.devices import physical_cores
from localqwen.engine.model import Model
from localqwen.engine.rope import Rope
from tests.fixtures import demo_gguf

DEPTHS = (0, 2048, 7900)  # the demo model's window is 8192
UBATCH = 512


class Bare:
    """A context filled to a depth, and the loop."""

    def __init__(self, path: Path, threads: int) -> None:
        self.model = Model.load(path)
        self.context = Context(self.model, ContextOptions(8192, threads, Rope(1.0, self.model.window.native)))
        self.prompt = self.model.tokenize(text(60_000))
        self._batch = Batch()

    def rate(self, depth: int, tokens: int) -> float:
        """Tokens per second after ``depth`` tokens."""
        self.context.truncate(0, depth)
        for start in range(self.context.length(0), depth, UBATCH):
            self._batch.clear()
            self._batch.add(0, self.prompt[start : min(start + UBATCH, depth)], start, 1)
            self.context.decode(self._batch)
        self._batch.clear()
        self._batch.add(0, [1], 0, 1)
        batch = self._batch.handle
        batch.n_tokens = 1
        started = time.perf_counter()
        for position in range(depth, depth + tokens):
            batch.token[0] = self.prompt[position]
            batch.pos[0] = position
            llama.llama_decode(self.context.handle, batch)
        return tokens / (time.perf_counter() - started)


def streamed(running: Server, prompt: list[int], tokens: int) -> float:
    """Tokens per second that a client of the server sees, from the first one to the last."""
    times, received = running.stream(prompt=prompt or [1], max_tokens=tokens, temperature=0)
    generated = usage(received)["completion_tokens"]
    if generated < tokens // 2:
        raise SystemExit(f"The answer ended after {generated} tokens: use another text.")
    # The first read brought the first token, the last one the end.
    return float((generated - 1) / (times[-1] - times[0]))


def compare(bare: Bare, path: Path, options: list[str], depth: int, tokens: int) -> tuple[float, float]:
    """Tokens per second of the bare loop, as the mean of before and after, and of a server that has just started.

    A server that has answered before keeps those conversations, and llama.cpp's attention looks at their cells too.
    """
    before = bare.rate(depth, tokens)
    with server(path, *options) as running:
        streamed(running, bare.prompt[8000:8001], 16)  # the first request of a process is not the ordinary one
        fast = streamed(running, bare.prompt[:depth], tokens)
    return (before + bare.rate(depth, tokens)) / 2, fast


def main() -> None:
    """Run it and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=physical_cores())
    arguments = parser.parse_args()
    path = arguments.model or demo_gguf()
    print(f"{description()}, {arguments.threads} threads, {path.name}, {arguments.tokens} tokens\n")
    print("| depth | bare llama_decode loop | HTTP streaming | ratio (lowest to highest) |")
    print("| --- | --- | --- | --- |")
    bare = Bare(path, arguments.threads)
    options = ["--ctx", "8192", "--threads", str(arguments.threads), "--no-speculation"]
    for depth in DEPTHS:
        rows = [compare(bare, path, options, depth, arguments.tokens) for _ in range(arguments.repeat)]
        slow, fast = (median([row[side] for row in rows]) for side in (0, 1))
        ratios = sorted(row[1] / row[0] for row in rows)
        spread = f"{median(ratios):.1%} ({ratios[0]:.1%} to {ratios[-1]:.1%})"
        print(f"| {depth} | {slow:.1f} tok/s | {fast:.1f} tok/s | {spread} |", flush=True)


if __name__ == "__main__":
    main()
