"""The second turn of a long conversation, and its return from disk, against computing the prompt.

    PYTHONPATH=. python -m benchmarks.conversation [--model GGUF] [--repeat 5] [--tokens 7800]

Time to first token of the same request in three engines: one that has seen nothing, one that has just answered the
turn before, and one that finds the turn before on disk; in turn, each in a new process. Then the largest difference
between logits that follow a restored state and the state that was saved.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import llama_cpp.llama_cpp as llama
import numpy as np
import numpy.typing as npt

from benchmarks.machine import description
from benchmarks.serving import median, text
from localqwen.engine.context import Batch, Context, ContextOptions
from localqwen.engine.model import Model
from localqwen.engine.rope import Rope
from localqwen.engine.shape import kv_bytes
from localqwen.engine.states import SavedStates
from tests.fixtures import demo_gguf

CHILD = """
import json, queue, sys, time
from pathlib import Path
from localqwen.engine.engine import Engine
from localqwen.engine.options import EngineOptions
from localqwen.engine.job import Request
from localqwen.events import Delta, Finished, Ready
from localqwen.params import SamplingParams

path, conversation, warm = Path(sys.argv[1]), json.loads(sys.stdin.read()), sys.argv[2] == "warm"
engine = Engine(path, EngineOptions(context=8192, disk_cache=4 << 30))
engine.start()
while not isinstance(engine.state, Ready):
    time.sleep(0.02)

def ask(messages):
    events = queue.SimpleQueue()
    started = time.perf_counter()
    prompt = engine.chat_prompt(messages)
    engine.submit(Request(prompt, SamplingParams(temperature=0, max_tokens=16)), events.put)
    first = None
    while not isinstance(event := events.get(), Finished):
        if isinstance(event, Delta) and first is None:
            first = time.perf_counter() - started
    return first, event.usage

if warm:
    ask(conversation[:1])
first, usage = ask(conversation)
print(json.dumps([first, usage.prompt_tokens, usage.cached_tokens]))
assert engine.close(60)
"""


def first_token(path: Path, home: Path, messages: list[dict[str, str]], kind: str) -> tuple[float, int, int]:
    """Seconds to the first token, prompt tokens and how many of them were cached."""
    command = [sys.executable, "-c", CHILD, str(path), kind]
    environment = {"LOCALQWEN_HOME": str(home), "PYTHONPATH": ".", "PATH": ""}
    done = subprocess.run(
        command, input=json.dumps(messages).encode(), capture_output=True, check=True, env=environment
    )
    seconds, prompt, cached = json.loads(done.stdout)
    return float(seconds), int(prompt), int(cached)


def logit_difference(path: Path, tokens: int, folder: Path) -> float:
    """The largest difference of any logit between a state and its restored copy."""
    with Model.load(path) as model:
        prompt = model.tokenize(text(60_000))[:tokens]
        options = ContextOptions(8192, 2, Rope(1.0, model.window.native))
        states = SavedStates(folder, 4 << 30, {"model": "benchmark"})
        results = []
        for restoring in (False, True):
            context, batch = Context(model, options), Batch()
            if restoring:
                state, _ = states.best(options.rope, prompt)
                if state is None or not states.restore(context, 0, state):
                    raise SystemExit("The state was not restored.")
            else:
                for start in range(0, len(prompt), 512):
                    batch.clear()
                    batch.add(0, prompt[start : start + 512], start, 1)
                    context.decode(batch)
                states.save(context, 0, prompt, model.layers * kv_bytes(model.kv_width, "f16") * tokens)
            batch.clear()
            batch.add(0, [prompt[7]], len(prompt), 1)
            context.decode(batch)
            results.append(logits(context))
            context.close()
    return float(np.abs(results[0] - results[1]).max())


def logits(context: Context) -> npt.NDArray[np.float32]:
    """The first row of a context's logits."""
    pointer = ctypes.cast(llama.llama_get_logits_ith(context.handle, 0), ctypes.POINTER(ctypes.c_float))
    return np.ctypeslib.as_array(pointer, (context.model.vocabulary_size,)).copy()


def main() -> None:
    """Run it and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=7800)
    arguments = parser.parse_args()
    path = arguments.model or demo_gguf()
    with Model.open(path) as model:
        tokens = model.tokenize(text(60_000))[: arguments.tokens - 100]
        long = b"".join(map(model.piece, tokens)).decode("utf-8", "replace")
    conversation = [
        {"role": "user", "content": f"Summarize this:\n{long}"},
        {"role": "assistant", "content": "It describes how Python works."},
        {"role": "user", "content": "In one word?"},
    ]
    print(f"{description()}, {path.name}\n")
    rows: dict[str, list[tuple[float, int, int]]] = {"full": [], "warm": [], "restored": []}
    for _ in range(arguments.repeat):
        with tempfile.TemporaryDirectory() as home:
            rows["full"].append(first_token(path, Path(home), conversation, "cold"))
        with tempfile.TemporaryDirectory() as home:
            rows["warm"].append(first_token(path, Path(home), conversation, "warm"))
            rows["restored"].append(first_token(path, Path(home), conversation, "cold"))
    full = median([row[0] for row in rows["full"]])
    print("| request | prompt tokens | cached | time to first token | of the full prefill |")
    print("| --- | --- | --- | --- | --- |")
    for name, label in (("full", "nothing cached"), ("warm", "second turn"), ("restored", "restored from disk")):
        seconds = median([row[0] for row in rows[name]])
        _, prompt, cached = rows[name][-1]
        print(f"| {label} | {prompt} | {cached} | {seconds:.3f} s | {seconds / full:.1%} |")
    with tempfile.TemporaryDirectory() as folder:
        print(f"\nLargest logit difference after a restore: {logit_difference(path, arguments.tokens, Path(folder)):g}")


if __name__ == "__main__":
    main()
