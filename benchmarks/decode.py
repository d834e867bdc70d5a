"""Decode through HTTP streaming against a bare llama_decode loop, and what a token costs in our Python.

    PYTHONPATH=. python -m benchmarks.decode [--model GGUF] [--repeat 5] [--tokens 256] [--threads N]

The bare loop is what llama-bench times: one llama_decode per token through the same library with the same parameters
and threads, without sampling, text or HTTP. Both sides are run in turn, each in a process that is idle meanwhile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
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
        self.model = Model.load(path, 0, lambda progress: True)
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
    # The first read is the response's head with the first token, the last one the end.
    return float((generated - 1) / (times[-1] - times[0]))


def main() -> None:
    """Run it and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=physical_cores())
    arguments = parser.parse_args()
    path = arguments.model or demo_gguf()
    print(f"{description()}, {arguments.threads} threads, {path.name}\n")
    print("| depth | bare llama_decode loop | HTTP streaming | ratio |")
    print("| --- | --- | --- | --- |")
    bare = Bare(path, arguments.threads)
    with server(path, "--ctx", "8192", "--threads", str(arguments.threads), "--no-speculation") as running:
        for depth in DEPTHS:
            pairs = []
            for _ in range(arguments.repeat + 1):
                one = bare.rate(depth, arguments.tokens)
                pairs.append((one, streamed(running, bare.prompt[:depth], arguments.tokens)))
            slow, fast = (median([pair[side] for pair in pairs[1:]]) for side in (0, 1))  # the first one warms up
            print(f"| {depth} | {slow:.1f} tok/s | {fast:.1f} tok/s | {fast / slow:.1%} |", flush=True)
    print()
    subprocess.run([sys.executable, "-m", "benchmarks.token_cost"], check=True)


if __name__ == "__main__":
    main()
