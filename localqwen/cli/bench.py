"""``localqwen bench``: how fast a plan really is, against what was expected."""

from __future__ import annotations

import json

import click

from localqwen.cli import printable
from localqwen.cli.model_options import model_options
from localqwen.serve_options import ServeOptions


@click.command("bench")
@click.argument("model")
@model_options
@click.option("--prompt", "prompt", default=512, show_default=True, type=click.IntRange(1, 1 << 20), metavar="N")
@click.option("--tokens", default=64, show_default=True, type=click.IntRange(1, 1 << 16), metavar="N")
@click.option("--depth", default=0, show_default=True, type=click.IntRange(0, 1 << 20), metavar="N")
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(1, 100), metavar="N")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(
    model: str,
    options: ServeOptions,
    prompt: int,
    tokens: int,
    depth: int,
    repeat: int,
    *,
    as_json: bool,
) -> None:
    """Load MODEL as planned and measure prefill of --prompt tokens and decode of --tokens after --depth.

    The figures are the medians of --repeat runs through llama.cpp alone; later plans for these devices expect them.
    """
    from localqwen import library, paths
    from localqwen.cli.engine_options import engine_options
    from localqwen.engine.bench import bench
    from localqwen.engine.notebook import Notebook
    from localqwen.engine.planner import Planner
    from localqwen.plan_picture import mib

    path = library.resolve(model)
    planner = Planner(path, engine_options(options).for_planner, Notebook(paths.planner_path()))
    planned = planner.plan()
    plan = planned.plan
    taken, prefill, decode = bench(planner, planned, path, prompt, tokens, depth, repeat)
    if depth == 0:
        planner.measured(plan, prefill, decode)
    if as_json:
        result = {"plan": plan.as_json(), "prefill": prefill, "decode": decode, "bytes": taken}
        click.echo(json.dumps(result, indent=2))
        return
    click.echo(printable(f"{plan.model}, {plan.gpu_layers} of {plan.layers + 1} layers on GPUs"))
    for share in plan.devices:
        click.echo(printable(f"{share.device}: planned {mib(share.used)}, took {mib(taken[share.device])}"))
    for name, expected, real in (("prefill", plan.prefill, prefill), ("decode", plan.decode, decode)):
        told = f"after {depth} tokens" if depth else f"{real / expected:.0%} of the {expected:,.1f} that were expected"
        click.echo(f"{name}: {real:,.1f} tok/s, {told}")
