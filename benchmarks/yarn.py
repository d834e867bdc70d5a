"""What YaRN's factor costs, and whether a cache may be turned from one factor to another.

    PYTHONPATH=. python -m benchmarks.yarn short                             # 2048 tokens: auto, none, the file's 4
    PYTHONPATH=. python -m benchmarks.yarn length 16384 --factors 2 2.25 2.5   # static factors, and which auto takes
    PYTHONPATH=. python -m benchmarks.yarn rerope 8000 --old 1 --new 1.25 2    # turned, recomputed and stale caches

The model is the demo's, SmolLM2-135M as Qwen2 in Q4_K_M, trained on 8192 positions; the text is Python's language
reference from token ``--start``. A window of 16384 tokens takes five minutes of a core, one of 32768 seventeen.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.long_text import Cache, Floats, log_probabilities, text
from benchmarks.machine import description
from converters.convert import convert
from localqwen.engine.caches import key_shape
from localqwen.engine.model import Model
from localqwen.engine.placement import Placement
from localqwen.engine.rerope import rerope
from localqwen.engine.rope import Rope, rope_for
from tests.fixtures import demo_gguf, smollm2_checkpoint
from tests.fixtures.build import converter_sources
from tests.fixtures.cache import cached

SHORT = 2048
FOLLOWING = 1000  # tokens that are computed after a cache was turned


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--gpu-layers", type=int, default=0)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("short")
    length = commands.add_parser("length")
    length.add_argument("length", type=int)
    length.add_argument("--factors", type=float, nargs="+", required=True)
    turned = commands.add_parser("rerope")
    turned.add_argument("length", type=int)
    turned.add_argument("--old", type=float, default=1.0)
    turned.add_argument("--new", type=float, nargs="+", required=True)
    arguments = parser.parse_args()
    print(description() + "\n")
    with _load(yarn_gguf(), arguments.gpu_layers) as model:
        tokens = model.tokenize(text())[arguments.start :]
        if arguments.command == "short":
            _short(model, tokens[:SHORT], arguments.threads, arguments.gpu_layers)
        elif arguments.command == "length":
            _length(model, tokens[: arguments.length], arguments.factors, arguments.threads)
        else:
            _rerope(model, tokens[: arguments.length + FOLLOWING], arguments.old, arguments.new, arguments.threads)


def yarn_gguf() -> Path:
    """The demo's file with the keys of a factor 4, as a long Qwen2 has them."""

    def build(target: Path) -> None:
        convert(smollm2_checkpoint(), target, yarn=4.0, yarn_context=True)

    return cached("demo-yarn4.gguf", [*converter_sources(), str(smollm2_checkpoint())], build)


def _load(path: Path, gpu_layers: int) -> Model:
    return Model.load(path, Placement(gpu_layers))


def _short(model: Model, tokens: Sequence[int], threads: int, gpu_layers: int) -> None:
    with _load(demo_gguf(), gpu_layers) as plain, Cache(plain, len(tokens), None, threads) as cache:
        without = cache.nll(tokens)
    print(f"| {len(tokens)} tokens | perplexity | equal bits |\n| --- | ---: | --- |")
    print(f"| file without YaRN keys | {_perplexity(without):.4f} | |")
    rope = rope_for(len(tokens), model.window)
    for name, scaling in ((f"4x file, auto (factor {rope.factor:g})", rope), ("4x file, as it says", None)):
        with Cache(model, len(tokens), scaling, threads) as cache:
            found = cache.nll(tokens)
        equal = "yes" if np.array_equal(found, without) else "no"
        print(f"| {name} | {_perplexity(found):.4f} | {equal} |", flush=True)


def _length(model: Model, tokens: Sequence[int], factors: Sequence[float], threads: int) -> None:
    auto = rope_for(len(tokens), model.window)
    print("| factor | perplexity of all positions | of the second half | seconds |\n| ---: | ---: | ---: | ---: |")
    for factor in sorted({*factors, auto.factor}):
        start = time.perf_counter()
        with Cache(model, len(tokens), Rope(factor, auto.original), threads) as cache:
            found = cache.nll(tokens)
        name = f"**{factor:g}** (auto)" if factor == auto.factor else f"{factor:g}"
        half = _perplexity(found[len(found) // 2 :])
        seconds = time.perf_counter() - start
        print(f"| {name} | {_perplexity(found):.3f} | {half:.3f} | {seconds:.0f} |", flush=True)


def _rerope(model: Model, tokens: Sequence[int], old: float, new: Sequence[float], threads: int) -> None:
    native = model.window.native
    before, after = tokens[:-FOLLOWING], tokens[-FOLLOWING:]
    shape = key_shape(model)
    assert shape is not None
    with Cache(model, len(tokens), Rope(old, native), threads) as cache:
        cache.prefill(before)
        state = cache.state()
    print("| factors | cache | nll | against recomputed | top-1 agreement | KL | seconds |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for factor in new:
        with Cache(model, len(tokens), Rope(factor, native), threads) as cache:
            seconds = cache.prefill(before)
            truth = _following(cache, after)
        wanted = _nll(truth, after)
        print(f"| {old:g} to {factor:g} | recomputed | {wanted:.4f} | | | | {seconds:.1f} |", flush=True)
        turned = bytearray(state)
        start = time.perf_counter()
        rerope(turned, shape, Rope(old, native), Rope(factor, native))
        seconds = time.perf_counter() - start
        for name, held, took in (("re-roped", turned, f"{seconds:.2f}"), ("stale", state, "")):
            with Cache(model, len(tokens), Rope(factor, native), threads) as cache:
                cache.restore(held, len(before))
                found = _following(cache, after)
            agreement = float((found.argmax(-1) == truth.argmax(-1)).mean())
            nll = _nll(found, after)
            print(
                f"| | {name} | {nll:.4f} | {nll / wanted - 1:+.2%} | {agreement:.3f} | {_kl(truth, found):.4f} "
                f"| {took} |",
                flush=True,
            )


def _following(cache: Cache, tokens: Sequence[int]) -> Floats:
    return np.concatenate([log_probabilities(rows) for rows in cache.logits(tokens)])


def _nll(found: Floats, tokens: Sequence[int]) -> float:
    return float(-found[np.arange(len(tokens) - 1), np.asarray(tokens[1:])].mean())


def _kl(truth: Floats, found: Floats) -> float:
    """The mean Kullback-Leibler divergence in nats, row by row because a copy in float64 would take 400 MB."""
    rows = zip(truth, found, strict=True)
    return float(np.mean([float((np.exp(p, dtype=np.float64) * (p - q)).sum()) for p, q in rows]))


def _perplexity(nll: Floats) -> float:
    return float(np.exp(nll.mean(dtype=np.float64)))


if __name__ == "__main__":
    main()
