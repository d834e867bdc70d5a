"""Long conversations whose messages all differ, in a file of chats.

    python -m benchmarks.chats FILE TOKENS ...

Made in a process of their own, so that the heap of the one that opens them has not grown already. Prints the ids.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from localqwen.chats.store import Store
from localqwen.chats.transfer import Transfer
from localqwen.chats.tree import Message
from localqwen.events import Usage
from localqwen.params import SamplingParams

ROOT = Path(__file__).parent.parent
CHARACTERS_PER_TOKEN = 4
WORDS = tuple(
    word
    for line in (
        "the quick brown fox jumps over lazy dogs and runs through quiet forests until evening comes every day while",
        "people in small towns talk about weather prices machines music letters rivers bridges gardens and maps",
    )
    for word in line.split(" ")
)
NAMES = ("alpha", "beta", "gamma", "delta", "count", "total", "index", "value", "result", "offset", "buffer")


def answer(chance: random.Random) -> str:
    """A heading, paragraphs with emphasis and code in them, a list, a code block, and in every fourth a table."""
    parts = [f"## {_words(chance, 4).capitalize()}", *(_paragraph(chance) for _ in range(3))]
    parts.append("\n".join(f"- {_words(chance, 6)}" for _ in range(8)))
    if chance.random() < 0.25:
        rows = "\n".join(f"| {_words(chance, 2)} | {_words(chance, 3)} | {chance.randrange(1000)} |" for _ in range(6))
        parts.append(f"| name | what | n |\n|---|---|--:|\n{rows}")
    code = "\n".join(
        f"{chance.choice(NAMES)}_{chance.randrange(1000)} = compute({', '.join(chance.sample(NAMES, 2))})"
        for _ in range(12)
    )
    return "\n\n".join([*parts, f"```python\n{code}\n```"]) + "\n"


def _words(chance: random.Random, count: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(count))


def _paragraph(chance: random.Random) -> str:
    text = [chance.choice(WORDS) for _ in range(40)]
    text[5], text[20] = f"**{text[5]} {text[6]}**", f"`{chance.choice(NAMES)}`"
    return " ".join(text).capitalize() + "."


def fill(store: Store, tokens: int, seed: int) -> int:
    """A conversation of about so many tokens; returns its id."""
    chance = random.Random(seed)
    now = time.time()
    messages: list[Message] = []
    told = 0
    while told < tokens * CHARACTERS_PER_TOKEN:
        number = len(messages) + 1
        question, text = f"Tell me more about {_words(chance, 4)}.", answer(chance)
        told += len(question) + len(text)
        usage = Usage(told // CHARACTERS_PER_TOKEN, len(text) // CHARACTERS_PER_TOKEN)
        messages += [
            Message(number, 0, number - 1 or None, "user", question, "done", now),
            Message(number + 1, 0, number, "assistant", text, "done", now, "scripted", usage=usage),
        ]
    return store.add(Transfer(f"{tokens} tokens", now, now, "", SamplingParams(), tuple(messages), len(messages))).id


def filled(path: Path, tokens: Sequence[int]) -> list[int]:
    """Fill a new file in a process of its own; returns the conversations' ids."""
    command = [sys.executable, "-m", "benchmarks.chats", str(path), *map(str, tokens)]
    ids: list[int] = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    return ids


def main() -> None:
    """Fill the file."""
    store = Store(Path(sys.argv[1]))
    print(json.dumps([fill(store, tokens, seed) for seed, tokens in enumerate(map(int, sys.argv[2:]))]))
    store.close()


if __name__ == "__main__":
    main()
