"""``--json``: what happens, as one JSON object per line on standard output, for scripts.

Each line has an ``event``: ``progress`` (at most one a second, and the last one), ``note`` (a sentence for a person),
``done`` (the summary, always last). A failure prints no line: its sentence goes to standard error, and the exit code
tells.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from converters.progress import Progress

# Seconds between two progress lines, so that a log stays readable.
EVERY = 1.0


def emit(event: str, **fields: Any) -> None:
    """Print one line. Characters beyond ASCII are escaped, so nothing in it can reach a terminal as a control."""
    click.echo(json.dumps({"event": event, **fields}))


def emit_note(note: str) -> None:
    """A sentence that a person should see."""
    emit("note", text=note)


def progress_lines(clock: Callable[[], float] = time.monotonic) -> Callable[[Progress], None]:
    """What ``convert`` and ``pull`` take as ``on_progress``."""
    last = -EVERY

    def show(step: Progress) -> None:
        nonlocal last
        now = clock()
        if now - last >= EVERY or step.done == step.total:
            last = now
            fields = dataclasses.asdict(step)
            for name in ("rate", "seconds_left"):
                fields[name] = None if fields[name] is None else round(fields[name], 1)
            emit("progress", **fields)

    return show
