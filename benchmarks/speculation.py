"""Guessing tokens from the conversation against plain decoding, on prompts where that helps and where it cannot.

    PYTHONPATH=. python -m benchmarks.speculation [--model GGUF] [--draft GGUF] [--repeat 5] [--tokens 256]

Each prompt is answered with and without, in turn, each time by an engine that has just been loaded. At temperature 0
the two texts are the same, unless arithmetic in a batch, which adds in another order, decides between two tokens.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from benchmarks.batching import Answer
from benchmarks.machine import description
from benchmarks.serving import median, text
from localqwen.engine.engine import Engine
from localqwen.engine.options import EngineOptions
from localqwen.events import Ready
from tests.fixtures import demo_gguf
from tests.server.running import wait_until


@dataclass(frozen=True)
class Measured:
    """An answer: tokens per second of generation, tokens per llama_decode, and its text."""

    rate: float
    yielded: float
    text: str


def prompts(engine: Engine) -> dict[str, list[int]]:
    """Prompts to measure, as tokens."""
    passage = text(1500)
    story = engine.chat_prompt([{"role": "user", "content": "Write a very long story about a lighthouse keeper."}])
    explain = engine.chat_prompt([{"role": "user", "content": f"Explain this:\n{text(3000, 40_000)}"}])
    return {
        "copy of a text": engine.text_prompt(f"{passage}\n\nOnce more, word by word:\n\n{passage[:100]}"),
        "list that goes on": engine.text_prompt("\n".join(f"item {n}: value = {n};" for n in range(60)) + "\n"),
        "explanation of a text": explain,
        "story": story,
    }


def measure(path: Path, options: EngineOptions, name: str, tokens: int) -> Measured:
    """One answer of a fresh engine."""
    engine = Engine(path, options)
    engine.start()
    wait_until(lambda: isinstance(engine.state, Ready), "the model is loaded")
    answer = Answer(engine, prompts(engine)[name], tokens)
    usage = answer.wait().usage
    engine.close()
    decodes = usage.completion_tokens - engine.stats.accepted_tokens
    return Measured(usage.completion_tokens / usage.decode_seconds, usage.completion_tokens / decodes, answer.text)


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--draft", type=Path, default=None)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=256)
    arguments = parser.parse_args()
    path = arguments.model or demo_gguf()
    plainly = EngineOptions(context=4096, speculation=False)
    guessing = EngineOptions(context=4096, draft=arguments.draft)
    print(f"{description()}, {path.name}, {arguments.tokens} tokens, guesses of {arguments.draft or 'n-grams'}\n")
    print("| prompt | plain | guessing | ratio (lowest to highest) | tokens per llama_decode | same text |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in ("copy of a text", "list that goes on", "explanation of a text", "story"):
        pairs = []
        for _ in range(arguments.repeat):
            before = measure(path, plainly, name, arguments.tokens)
            pairs.append((before, measure(path, guessing, name, arguments.tokens)))
        plain, guessed = (median([pair[side].rate for pair in pairs]) for side in (0, 1))
        ratios = sorted(pair[1].rate / pair[0].rate for pair in pairs)
        yielded = median([pair[1].yielded for pair in pairs])
        same = sum(one.text == other.text for one, other in pairs)
        print(
            f"| {name} | {plain:.0f} tok/s | {guessed:.0f} tok/s | {median(ratios):.2f} ({ratios[0]:.2f} to "
            f"{ratios[-1]:.2f}) | {yielded:.2f} | {same} of {len(pairs)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
