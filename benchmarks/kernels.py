"""K-quant kernels, ours against ggml's, on one core.

python -m benchmarks.kernels              # speed: million weights per second, both sides and their ratio
python -m benchmarks.kernels --fuzz 1e9   # differing super-blocks among that many weights
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from benchmarks.machine import description
from converters import lanes
from converters.ggml import GGMLType
from converters.lanes import KINDS, LEVELS, LaneKernels
from converters.quantize import Kernels, library_path
from tests.converters.test_lanes import DISTRIBUTIONS, Array, distribution, importances, quantized

ROWS, COLUMNS = 512, 4096


def main() -> None:
    """Print the table that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fuzz", type=float, metavar="WEIGHTS", help="compare bytes instead of speed")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    extension = lanes.extension_path()
    if extension is None:
        raise SystemExit("The fast kernels were not compiled: install the project where there is a C compiler.")
    ggml = Kernels(library_path())
    best = LaneKernels(library_path(), extension)
    levels = [LaneKernels(library_path(), extension, level) for level in range(LEVELS.index(best.name) + 1)]
    print(f"Machine: {description()}\n")
    if arguments.fuzz:
        fuzz(ggml, levels, int(arguments.fuzz), arguments.seed)
    else:
        speed(ggml, levels)


def speed(ggml: Kernels, levels: list[LaneKernels]) -> None:
    """Median of five runs on normally distributed weights."""
    values = distribution("normal", np.random.default_rng(0), ROWS, COLUMNS)
    print("| type | ggml, M weights/s | " + " | ".join(f"{one.name} | ratio" for one in levels) + " |")
    print("| --- |" + " ---: |" * (1 + 2 * len(levels)))
    for kind in KINDS:
        for weights in ("none", "random"):
            importance = importances(weights, np.random.default_rng(1), COLUMNS)
            theirs = rate(ggml, kind, values, importance)
            cells = []
            for one in levels:
                ours = rate(one, kind, values, importance)
                cells.append(f"{ours:.1f} | {ours / theirs:.1f}×")
            name = kind.name + (" with importances" if importance is not None else "")
            print(f"| {name} | {theirs:.1f} | " + " | ".join(cells) + " |")


def rate(kernels: Kernels, kind: GGMLType, values: Array, importance: Array | None) -> float:
    """Million weights per second."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        quantized(kernels, kind, values, importance)
        times.append(time.perf_counter() - start)
    return values.size / statistics.median(times) / 1e6


def fuzz(ggml: Kernels, levels: list[LaneKernels], wanted: int, seed: int) -> None:
    """Compare until ``wanted`` weights have gone through each instruction set."""
    random = np.random.default_rng(seed)
    differing = dict.fromkeys((one.name for one in levels), 0)
    done = 0
    while done < wanted:
        for name in DISTRIBUTIONS:
            values = distribution(name, random, 64, 1792)
            for kind in KINDS:
                for weights in ("none", "random", "partly zero", "tiny"):
                    importance = importances(weights, random, values.shape[1])
                    theirs = quantized(ggml, kind, values, importance)
                    for one in levels:
                        ours = quantized(one, kind, values, importance)
                        differing[one.name] += int((ours != theirs).any(axis=1).sum())
                    done += values.size
    print(f"{done:,} weights ({done // 256:,} super-blocks), seed {seed}: {', '.join(DISTRIBUTIONS)};")
    print(f"{', '.join(kind.name for kind in KINDS)}; without, with, with partly zero and with tiny importances.\n")
    print("| instruction set | differing super-blocks |\n| --- | ---: |")
    for name, count in differing.items():
        print(f"| {name} | {count} |")


if __name__ == "__main__":
    main()
