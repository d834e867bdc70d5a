"""What each command does, for a person and in the store: one deed for each command of the table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from tests.tui.commands.ways import Do
from tests.tui.stage import Stage

Deed: TypeAlias = Callable[[Stage, Do], Awaitable[None]]

DEEDS: dict[str, Deed] = {}


def deed(command_id: str) -> Callable[[Deed], Deed]:
    """Makes a coroutine function the deed of a command."""

    def note(function: Deed) -> Deed:
        assert command_id not in DEEDS, f"{command_id} has two deeds"
        DEEDS[command_id] = function
        return function

    return note
