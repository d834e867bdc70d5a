"""What the planner promises against what a machine with GPUs does: bytes, speed, and every neighbour of its plan.

    PYTHONPATH=. python -m benchmarks.planner make FILE.gguf [--unpadded] [--layers N]
    PYTHONPATH=. python -m benchmarks.planner plans FILE.gguf [--free GIB ...] [--ctx N ...]
    PYTHONPATH=. python -m benchmarks.planner sweep FILE.gguf [--free GIB] [--ctx N] [--reach 3] [--rounds 3]

`plans` plans, loads and measures with so much memory left free on every card (0: all of it; the rest is held by another
process, which needs PyTorch). `sweep` loads the planned and every neighbouring layout and the one of llama.cpp's own
fit, and compares decode; with several rounds in turns, for where layers lie in RAM, the same layout varies by 5 % from
load to load. Each load is a process of its own, so that nothing of another one is left on the cards.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.machine import description
from tests.fixtures.hollow import PADDED_72B, QWEN2_72B

MIB, GIB = 1 << 20, 1 << 30
UBATCHES = (128, 256, 512, 1024, 2048)
FIT = "llama.cpp's fit"
PROMPT, TOKENS, FEW_TOKENS, REPEAT = 1024, 64, 16, 3
HOG = """
import sys, time, torch
held = []
for number in range(torch.cuda.device_count()):
    with torch.cuda.device(number):
        left = torch.cuda.mem_get_info(number)[0] - int(float(sys.argv[1]) * 2**30)
        while left > 2**26:
            size = min(left, 2**33)
            held.append(torch.empty(size, dtype=torch.uint8, device=f"cuda:{number}"))
            left -= size
print("ready", flush=True)
time.sleep(100000)
"""


@contextmanager
def only(free: float) -> Iterator[None]:
    """Leave so many GiB free on every card; 0 for all."""
    if not free:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", HOG, str(free)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().strip() == b"ready"
            yield
        finally:
            process.kill()


def child(arguments: argparse.Namespace) -> None:
    """Plan, load and measure once; print JSON."""
    from localqwen.engine.bench import Exercise, bench
    from localqwen.engine.candidate import Wishes
    from localqwen.engine.notebook import Notebook
    from localqwen.engine.planner import Planner, PlanOptions
    from localqwen.errors import OutOfMemoryError

    wishes = Wishes(
        arguments.ctx[0],
        arguments.kv_type,
        arguments.ubatch,
        arguments.gpu_layers,
        arguments.tensor_split,
        arguments.split_mode,
    )
    if arguments.fit:
        from benchmarks.llama_fit import fitted

        print("RESULT" + json.dumps(fitted(arguments.file, arguments.ctx[0], arguments.kv_type)), flush=True)
        return
    planner = Planner(arguments.file, PlanOptions(wishes), Notebook(arguments.notebook))
    _ = planner.inventory  # measuring the devices is done once, and not part of planning
    started = time.perf_counter()
    result: dict[str, Any] = {}
    try:
        solution = planner.plan()
        result["seconds"] = time.perf_counter() - started
        started = time.perf_counter()
        planner.plan()
        result["again"] = time.perf_counter() - started
        result["plan"] = solution.plan.as_json()
        if not arguments.dry:
            full = solution.plan.gpu_layers > solution.plan.layers
            tokens = TOKENS if full else FEW_TOKENS  # a layer in RAM takes its time
            exercise = Exercise(arguments.prompt, tokens, 0, REPEAT)
            real = bench(planner, arguments.file, exercise, pinned=True)  # running out of memory is to be seen
            result |= {"taken": real.taken, "prefill": real.prefill, "decode": real.decode}
    except OutOfMemoryError as error:
        result["error"] = str(error)
    print("RESULT" + json.dumps(result), flush=True)


def measured(file: Path, notebook: Path, **options: object) -> dict[str, Any]:
    """What a process of its own found."""
    command = [sys.executable, "-m", "benchmarks.planner", "child", str(file), "--notebook", str(notebook)]
    for name, value in options.items():
        if value is not None:
            command += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT"):
            result: dict[str, Any] = json.loads(line.removeprefix("RESULT"))
            return result
    return {"error": f"died ({done.returncode}): {done.stderr.strip()[-300:]}"}


def plans(arguments: argparse.Namespace) -> None:
    """The table of plans."""
    print(f"{description()}, {arguments.file.name}\n")
    print(
        "| free | context | plan | on GPUs | predicted MiB | really taken | error | prefill: expected, real |"
        " decode: expected, real | time to plan, again |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for free in arguments.free:
        for context in arguments.ctx:
            with only(free), tempfile.TemporaryDirectory() as folder:
                notebook = arguments.notebook or Path(folder) / "planner.json"
                print(plan_row(free, measured(arguments.file, notebook, ctx=context), context), flush=True)


def plan_row(free: float, result: dict[str, Any], context: int) -> str:
    """One load."""
    if "error" in result:
        return f"| {free or 'all'} | {context} | {result['error']} | | | | | | | |"
    plan = result["plan"]
    cards = plan["shares"][:-1]
    layers = sum(share["layers"] + share["output"] for share in cards)
    said = [share["weights"] + share["kv"] + share["compute"] + share["rest"] for share in cards]
    real = [result["taken"][share["device"]] for share in cards]
    error = max((abs(one - other) / other for one, other in zip(said, real, strict=True)), default=0.0)
    columns = (
        free or "all",
        plan["context"],
        f"{plan['kv_type']}, ubatch {plan['ubatch']}, {plan['split_mode']}",
        f"{layers} of {plan['layers'] + 1}",
        ", ".join(f"{size / MIB:.0f}" for size in said),
        ", ".join(f"{size / MIB:.0f}" for size in real),
        f"{error:.2%}",
        f"{plan['prefill']:.0f}, {result['prefill']:.0f} tok/s",
        f"{plan['decode']:.1f}, {result['decode']:.1f} tok/s",
        f"{result['seconds']:.2f} s, {result['again'] * 1000:.0f} ms",
    )
    return f"| {' | '.join(map(str, columns))} |"


@dataclass(frozen=True)
class Layout:
    """One to load: what is pinned beside the context."""

    name: str
    pins: dict[str, Any]


def neighbours(plan: dict[str, Any], reach: int, longest: int) -> list[Layout]:
    """Whatever is near the chosen plan: another KV type, ubatch, split, and layers moved from each place to others."""
    cards = [share["layers"] + share["output"] for share in plan["shares"][:-1]]
    layers, total = sum(cards), plan["layers"] + 1
    other_kv = "q8_0" if plan["kv_type"] == "f16" else "f16"
    base: dict[str, Any] = {"kv_type": plan["kv_type"], "ubatch": plan["ubatch"], "split_mode": plan["split_mode"]}
    found = []
    if plan["split_mode"] == "layer":
        base["gpu_layers"] = layers
        steps = [step for step in sorted(range(-reach, reach + 1), key=abs) if step and 0 <= layers + step <= total]
        found += [Layout(f"{layers + step} layers", {**base, "gpu_layers": layers + step}) for step in steps]
        for at, count in enumerate(cards[1:]):
            for step in (-2, -1, 1, 2):
                if cards[at] > step > -count:
                    moved = [*cards[:at], cards[at] - step, count + step, *cards[at + 2 :]]
                    pins = {**base, "tensor_split": ",".join(map(str, moved))}
                    found.append(Layout(f"{' + '.join(map(str, moved))} layers", pins))
        found.append(Layout(f"KV {other_kv}", {**base, "gpu_layers": None, "kv_type": other_kv}))
    if len(cards) > 1:
        other = "tensor" if plan["split_mode"] == "layer" else "layer"
        found.append(Layout(f"split {other}", {"split_mode": other}))
    if plan["split_mode"] == "tensor":
        found.append(Layout("split layer, KV q8_0", {"split_mode": "layer", "kv_type": "q8_0"}))
    found += [Layout(f"ubatch {size}", {**base, "ubatch": size}) for size in UBATCHES if size != plan["ubatch"]]
    if plan["split_mode"] == "layer" and layers < total:
        found.append(Layout(f"{layers + 1} layers, ubatch 128", {**base, "gpu_layers": layers + 1, "ubatch": 128}))
    return found[:longest]


def sweep(arguments: argparse.Namespace) -> None:
    """Every neighbour of the chosen plan, and what llama.cpp's own fit makes of the same; in turns, if several."""
    context, free = arguments.ctx[0], arguments.free[0]
    print(f"{description()}, {arguments.file.name}, {free or 'all'} GiB free, {context} tokens\n")
    with only(free), tempfile.TemporaryDirectory() as folder:
        notebook = Path(folder) / "planner.json"

        def load(layout: Layout) -> dict[str, Any]:
            result = measured(arguments.file, notebook, ctx=context, prompt=arguments.prompt, **layout.pins)
            said = f"{result['decode']:.2f} tok/s" if "decode" in result else result["error"]
            print(f"{layout.name}: {said}", file=sys.stderr, flush=True)
            return result

        chosen = load(Layout("chosen", {}))
        if "decode" not in chosen:
            print(chosen["error"])
            return
        layouts = neighbours(chosen["plan"], arguments.reach, arguments.most)
        fit = measured(arguments.file, notebook, ctx=context, kv_type=chosen["plan"]["kv_type"], fit=True)
        if "gpu_layers" in fit:
            pins = {"kv_type": chosen["plan"]["kv_type"], "ubatch": 512, "gpu_layers": fit["gpu_layers"]}
            if len(fit["split"]) > 1:
                pins["tensor_split"] = ",".join(map(str, fit["split"]))
            layouts.append(Layout(FIT, pins))
        else:
            print(f"{FIT}: {fit.get('error')}\n")
        layouts = [layout for layout in layouts if not arguments.named or layout.name in arguments.named]
        results = {"chosen": [chosen]} | {layout.name: [load(layout)] for layout in layouts}
        loaded = [layout for layout in layouts if "decode" in results[layout.name][0]]
        for _ in range(arguments.rounds - 1):
            for layout in (Layout("chosen", {}), *loaded):
                results[layout.name].append(load(layout))
    print_sweep(results)


def print_sweep(results: dict[str, list[dict[str, Any]]]) -> None:
    """The table, and the chosen plan against the best and against llama.cpp's fit."""
    print("| layout | layers on cards | KV | ubatch | split | decode, each load | median | prefill |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    medians: dict[str, float] = {}
    for name, runs in results.items():
        good = [run for run in runs if "decode" in run]
        if not good:
            print(f"| {name}: {runs[0]['error']} | | | | | | | |")
            continue
        plan = good[0]["plan"]
        decodes = [run["decode"] for run in good]
        medians[name] = statistics.median(decodes)
        columns = (
            name,
            " + ".join(str(share["layers"] + share["output"]) for share in plan["shares"][:-1]),
            plan["kv_type"],
            plan["ubatch"],
            plan["split_mode"],
            ", ".join(f"{decode:.2f}" for decode in decodes),
            f"{medians[name]:.2f}",
            f"{statistics.median(run['prefill'] for run in good):.0f}",
        )
        print(f"| {' | '.join(map(str, columns))} |")
    best = max(medians, key=lambda name: medians[name])
    print(f"\nThe chosen plan decodes at {medians['chosen'] / medians[best]:.1%} of the best of these ({best}).")
    if FIT in medians:
        print(f"{FIT} decodes at {medians[FIT] / medians['chosen']:.1%} of the chosen plan.")


def main() -> None:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "plans", "sweep", "child"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--unpadded", action="store_true")
    parser.add_argument("--layers", type=int, default=80)
    parser.add_argument("--free", type=float, nargs="+", default=[0.0])
    parser.add_argument("--ctx", type=int, nargs="+", default=[32768])
    parser.add_argument("--reach", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=PROMPT)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--notebook", type=Path)
    parser.add_argument("--most", type=int, default=99, help="neighbours")
    parser.add_argument("--named", nargs="+", default=[], metavar="NAME", help="these neighbours alone")
    parser.add_argument("--gpu-layers", type=int)
    parser.add_argument("--tensor-split", type=lambda text: tuple(map(float, text.split(","))))
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--kv-type")
    parser.add_argument("--ubatch", type=int)
    parser.add_argument("--split-mode")
    parser.add_argument("--dry", action="store_true")
    arguments = parser.parse_args()
    if arguments.what == "make":
        from benchmarks.synthetic import write_synthetic

        size = replace(QWEN2_72B if arguments.unpadded else PADDED_72B, layers=arguments.layers)
        print(f"{arguments.file}: written in {write_synthetic(arguments.file, size):.0f} s")
    else:
        {"plans": plans, "sweep": sweep, "child": child}[arguments.what](arguments)


if __name__ == "__main__":
    main()
