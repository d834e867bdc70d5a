"""What the planner promises against what a machine with GPUs does: bytes, speed, and every neighbour of its plan.

    PYTHONPATH=. python -m benchmarks.planner make FILE.gguf [--unpadded] [--layers N]
    PYTHONPATH=. python -m benchmarks.planner plans FILE.gguf [--free GIB ...] [--ctx N ...]
    PYTHONPATH=. python -m benchmarks.planner sweep FILE.gguf [--free GIB] [--ctx N] [--reach 3]
    PYTHONPATH=. python -m benchmarks.planner duel FILE.gguf --gpu-layers N [--free GIB] [--rounds 3]

`plans` plans, loads and measures with so much memory left free on every card (0: all of it; the rest is held by another
process, which needs PyTorch). `sweep` loads the planned and every neighbouring layout, and compares decode. `duel`
loads the planned and a pinned one in turns, for where layers lie in RAM, the same layout varies by 5 % from load to
load. Each load is a process of its own, so that nothing of another one is left on the cards.
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
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import description
from tests.fixtures.hollow import PADDED_72B, QWEN2_72B

MIB, GIB = 1 << 20, 1 << 30
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
    from localqwen.engine.bench import bench
    from localqwen.engine.candidate import Wishes
    from localqwen.engine.notebook import Notebook
    from localqwen.engine.planner import Planner, PlanOptions
    from localqwen.errors import OutOfMemoryError

    wishes = Wishes(
        arguments.ctx[0], arguments.kv_type, arguments.ubatch, arguments.gpu_layers, None, arguments.split_mode
    )
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
            taken, prefill, decode = bench(planner, solution, arguments.file, arguments.prompt, tokens, 0, REPEAT)
            result |= {"taken": taken, "prefill": prefill, "decode": decode}
    except OutOfMemoryError as error:
        result["error"] = str(error)
    print("RESULT" + json.dumps(result), flush=True)


def measured(file: Path, notebook: Path, **options: object) -> dict[str, Any]:
    """What a process of its own found."""
    command = [sys.executable, "-m", "benchmarks.planner", "child", str(file), "--notebook", str(notebook)]
    for name, value in options.items():
        if value is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
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


def sweep(arguments: argparse.Namespace) -> None:
    """Every neighbour of the chosen plan."""
    print(f"{description()}, {arguments.file.name}, {arguments.free[0] or 'all'} GiB free, {arguments.ctx[0]} tokens\n")
    print("| layers on GPUs | KV | ubatch | split | decode | prefill |")
    print("| --- | --- | --- | --- | --- | --- |")
    with only(arguments.free[0]), tempfile.TemporaryDirectory() as folder:
        notebook = Path(folder) / "planner.json"
        chosen = measured(arguments.file, notebook, ctx=arguments.ctx[0])
        print(sweep_row("chosen", chosen), flush=True)
        if "plan" not in chosen:
            return
        plan, best = chosen["plan"], chosen["decode"]
        layers = sum(share["layers"] + share["output"] for share in plan["shares"][:-1])
        other_kv = "q8_0" if plan["kv_type"] == "f16" else "f16"
        base = {"gpu_layers": layers, "kv_type": plan["kv_type"], "ubatch": plan["ubatch"], "split_mode": "layer"}
        changes: list[dict[str, Any]] = [
            {"kv_type": other_kv, "gpu_layers": None},
            *({"ubatch": size} for size in (128, 512, 2048) if size != plan["ubatch"]),
            *({"gpu_layers": layers + step} for step in range(-arguments.reach, arguments.reach + 1) if step),
            {"ubatch": 128, "gpu_layers": layers + 1},
            {"kv_type": other_kv},
        ]
        for change in changes:
            options = {**base, **change}
            asked = options["gpu_layers"]
            if asked is not None and not 0 <= asked <= plan["layers"] + 1:
                continue
            result = measured(arguments.file, notebook, ctx=arguments.ctx[0], **options)
            print(sweep_row(", ".join(f"{key} {value}" for key, value in change.items()), result), flush=True)
            best = max(best, result.get("decode", 0.0))
    print(f"\nThe chosen plan decodes at {chosen['decode'] / best:.1%} of the best of these.")


def sweep_row(name: str, result: dict[str, Any]) -> str:
    """One load."""
    if "decode" not in result:
        return f"| {name}: {result['error']} | | | | | |"
    plan = result["plan"]
    layers = sum(share["layers"] + share["output"] for share in plan["shares"][:-1])
    return (
        f"| {layers} ({name}) | {plan['kv_type']} | {plan['ubatch']} | {plan['split_mode']} | {result['decode']:.2f} |"
        f" {result['prefill']:.0f} |"
    )


def duel(arguments: argparse.Namespace) -> None:
    """The planned layout and a pinned one, in turns."""
    pinned = {"gpu_layers": arguments.gpu_layers, "ubatch": arguments.ubatch, "kv_type": arguments.kv_type}
    speeds: dict[str, list[float]] = {"planned": [], "pinned": []}
    print(f"{description()}, {arguments.file.name}, {arguments.free[0] or 'all'} GiB free, {arguments.ctx[0]} tokens\n")
    print("| layers on GPUs | KV | ubatch | split | decode | prefill |")
    print("| --- | --- | --- | --- | --- | --- |")
    with only(arguments.free[0]), tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            for name, options in (("planned", {}), ("pinned", pinned)):
                result = measured(
                    arguments.file,
                    Path(folder) / "planner.json",
                    ctx=arguments.ctx[0],
                    prompt=arguments.prompt,
                    **options,
                )
                print(sweep_row(name, result), flush=True)
                if "decode" not in result:
                    print(f"\nNothing to compare: the {name} layout was not loaded.")
                    return
                speeds[name].append(result["decode"])
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    print(f"\nMedians of decode: {medians}; planned / pinned {medians['planned'] / medians['pinned']:.1%}.")


def main() -> None:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "plans", "sweep", "duel", "child"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--unpadded", action="store_true")
    parser.add_argument("--layers", type=int, default=80)
    parser.add_argument("--free", type=float, nargs="+", default=[0.0])
    parser.add_argument("--ctx", type=int, nargs="+", default=[32768])
    parser.add_argument("--reach", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=PROMPT)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--notebook", type=Path)
    parser.add_argument("--gpu-layers", type=int)
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
        {"plans": plans, "sweep": sweep, "duel": duel, "child": child}[arguments.what](arguments)


if __name__ == "__main__":
    main()
