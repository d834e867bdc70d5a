"""``localqwen doctor``: whether the installation can use what the machine has."""

from __future__ import annotations

import click

from localqwen.cli import printable


@click.command("doctor")
def command() -> int:
    """Check the installation, and say what to do about what is wrong. Exit code 1 if anything is."""
    from localqwen.engine.doctor import findings

    bad = 0
    for finding in findings():
        click.echo(printable(f"{'ok  ' if finding.good else 'BAD '} {finding.text}"))
        bad += not finding.good
    return 1 if bad else 0
