"""``localqwen plan``: where a model's layers would go on this machine."""

from __future__ import annotations

import json

import click

from localqwen.cli import printable
from localqwen.cli.model_options import model_options
from localqwen.serve_options import ServeOptions


@click.command("plan")
@click.argument("model")
@model_options
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(model: str, options: ServeOptions, *, as_json: bool) -> None:
    """Show where the layers of MODEL go on this machine, what they take, and how fast that will be.

    Nothing is loaded: llama.cpp is asked what the plan would take. A pinned option is kept, and the rest is planned.
    """
    from localqwen import library, paths
    from localqwen.cli.engine_options import engine_options
    from localqwen.engine.notebook import Notebook
    from localqwen.engine.planner import Planner
    from localqwen.plan_picture import last_load, picture

    path = library.resolve(model)
    planner = Planner(path, engine_options(options, path).for_planner, Notebook(paths.planner_path()))
    plan, load = planner.plan().plan, planner.last_load()
    if as_json:
        click.echo(json.dumps(plan.as_json() | {"last_load": load.as_json() if load is not None else None}, indent=2))
        return
    for line in (*picture(plan), *(last_load(load) if load is not None else ())):
        click.echo(printable(line))
