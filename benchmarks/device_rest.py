"""What a card gives besides what llama.cpp counts: cuBLAS, graphs, pools; after each kind of work.

    PYTHONPATH=. python -m benchmarks.device_rest FILE.gguf [--ctx N] [--gpu-layers N] [--ubatch N] [--kv-type T]

The planner leaves `localqwen.engine.inventory.CUDA_REST` for it. Nothing else may use the card meanwhile.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from localqwen.engine.candidate import Wishes
from localqwen.engine.context import Batch, Context, ContextOptions
from localqwen.engine.model import Model
from localqwen.engine.notebook import Notebook
from localqwen.engine.planner import Planner, PlanOptions
from localqwen.engine.registry import handles
from localqwen.engine.rope import Rope

MIB = 1 << 20


def main() -> None:
    """Load one plan and work with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--ctx", type=int, default=32768)
    parser.add_argument("--gpu-layers", type=int)
    parser.add_argument("--ubatch", type=int)
    parser.add_argument("--kv-type")
    parser.add_argument("--prompt", type=int, default=3000)
    arguments = parser.parse_args()
    wishes = Wishes(arguments.ctx, arguments.kv_type, arguments.ubatch, arguments.gpu_layers, None, None)
    with tempfile.TemporaryDirectory() as folder:
        planner = Planner(arguments.file, PlanOptions(wishes), Notebook(Path(folder) / "planner.json"))
        solution = planner.plan()
    plan = solution.plan
    counted = {share.device: share.weights + share.kv + share.compute for share in plan.shares[:-1]}
    before = _free(counted)

    def show(what: str) -> None:
        now = _free(counted)
        print(f"{what:<28}", {name: f"{(before[name] - now[name] - counted[name]) / MIB:.1f} MiB" for name in counted})

    print(f"{plan.gpu_layers} of {plan.layers + 1} layers, {plan.kv_type}, ubatch {plan.ubatch}")
    with Model.load(arguments.file, solution.placement) as model:
        rope = Rope(1.0, model.window.native)
        context = Context(model, ContextOptions(plan.context, plan.threads, rope, plan.kv_type, plan.ubatch))
        batch = Batch(plan.ubatch)

        def run(start: int, count: int, at_once: int) -> None:
            for at in range(start, start + count, at_once):
                batch.clear()
                batch.add(0, [1 + i % 1000 for i in range(at, min(at + at_once, start + count))], at, 1)
                context.decode(batch)

        show("loaded")
        context.warm_up()
        show("warmed up")
        for number in range(1, 4):
            run(0, plan.ubatch, plan.ubatch)
            context.truncate(0, 0)
            show(f"a whole ubatch, {number}")
        for number in range(1, 3):
            run(0, arguments.prompt, plan.ubatch)
            show(f"{arguments.prompt} tokens, {number}")
            run(arguments.prompt, 4, 1)
            show("4 single tokens")
            context.truncate(0, 0)
        run(0, 100, 100)
        show("100 tokens")
        batch.close()
        context.close()


def _free(names: dict[str, int]) -> dict[str, int]:
    return {handle.name: handle.memory()[0] for handle in handles() if handle.name in names}


if __name__ == "__main__":
    main()
