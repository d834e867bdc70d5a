"""``localqwen bench``: how fast a plan really is, against what was expected."""

from __future__ import annotations

import json

import click

from localqwen.cli import printable
from localqwen.cli.model_options import model_options
from localqwen.serve_options import ServeOptions

CONCERN_ANSWERS = ("draft", "speculation", "disk_cache")  # and not what is measured here


@click.command("bench")
@click.argument("model")
@model_options
@click.option("--prompt", "prompt", type=click.IntRange(1, 1 << 20), metavar="N", help="[default: a whole ubatch]")
@click.option("--tokens", default=64, show_default=True, type=click.IntRange(1, 1 << 16), metavar="N")
@click.option("--depth", default=0, show_default=True, type=click.IntRange(0, 1 << 20), metavar="N")
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(1, 100), metavar="N")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(
    model: str,
    options: ServeOptions,
    prompt: int | None,
    tokens: int,
    depth: int,
    repeat: int,
    *,
    as_json: bool,
) -> None:
    """Load MODEL as planned and measure prefill of --prompt tokens and decode of --tokens after --depth.

    The figures are the medians of --repeat runs through llama.cpp alone, without a draft model and without guesses;
    later plans for this file on these devices expect them.
    """
    for name in CONCERN_ANSWERS:
        if getattr(options, name) not in {None, False}:
            raise click.UsageError(f"bench measures the model alone: leave out --{name.replace('_', '-')}.")
    from localqwen import library, paths
    from localqwen.cli.engine_options import engine_options
    from localqwen.engine.bench import Exercise, bench
    from localqwen.engine.notebook import Notebook
    from localqwen.engine.planner import Planner
    from localqwen.plan_picture import mib

    path = library.resolve(model)
    wanted = engine_options(options, path)
    planner = Planner(path, wanted.for_planner, Notebook(paths.planner_path()))
    exercise = Exercise(prompt, tokens, depth, repeat)
    result = bench(planner, path, exercise, wanted.yarn, pinned=wanted.gpu_layers is not None)
    plan = result.plan
    expected = planner.expected(plan, result.prompt)
    if depth == 0:
        planner.measured(plan, result.prompt, result.prefill, result.decode)
    if as_json:
        said = {"plan": plan.as_json(), "prompt": result.prompt, "prefill": result.prefill, "decode": result.decode}
        said |= {"expected": dict(zip(("prefill", "decode"), expected, strict=True)), "bytes": result.taken}
        click.echo(json.dumps(said, indent=2))
        return
    click.echo(printable(f"{plan.model}, {plan.gpu_layers} of {plan.layers + 1} layers on GPUs"))
    for share in plan.devices:
        click.echo(printable(f"{share.device}: planned {mib(share.used)}, took {mib(result.taken[share.device])}"))
    for name, before, real in zip(("prefill", "decode"), expected, (result.prefill, result.decode), strict=True):
        told = f"after {depth} tokens" if depth else f"{real / before:.0%} of the {before:,.1f} that were expected"
        click.echo(f"{name}: {real:,.1f} tok/s, {told}")
