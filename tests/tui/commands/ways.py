"""The ways to a command: its key, its name after a slash, its title in the palette."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from textual.command import CommandPalette
from textual.widgets import Input, OptionList

from tests.tui.stage import Stage
from tui.commands import Command

Way: TypeAlias = Callable[[Stage, Command, str], Awaitable[bool]]


async def by_key(stage: Stage, command: Command, _: str) -> bool:
    """Press the first of its keys."""
    await stage.press(command.keys.split(",")[0])
    return False


async def by_slash(stage: Stage, command: Command, argument: str) -> bool:
    """Type its name in the composer, and what may follow it."""
    given = argument if command.argument else ""
    await stage.slash(f"{command.name} {given}".strip())
    return bool(given)


async def by_palette(stage: Stage, command: Command, _: str) -> bool:
    """Open the palette, type the title, and choose it."""
    await stage.press("ctrl+p")
    await stage.opens(CommandPalette)
    await stage.write(command.title)
    field, options = stage.app.screen.query_one(Input), stage.app.screen.query_one(OptionList)
    # What was found for less than the whole title is still listed while the rest is looked for.
    await stage.until(lambda: field.value == command.title)
    await stage.pilot.pause(0)
    await stage.until(lambda: not any(worker.name == "_gather_commands" for worker in stage.app.workers))
    await stage.until(lambda: command.title in _titles(options))
    await stage.press(*["down"] * _titles(options).index(command.title), "enter")
    await stage.until(lambda: not isinstance(stage.app.screen, CommandPalette))
    return False


def ways(command: Command) -> list[Way]:
    """The ways that lead to a command."""
    found: list[Way] = [by_key] if command.keys else []
    return [*found, by_slash, by_palette] if command.in_palette else found


def _titles(options: OptionList) -> list[str]:
    prompts = [str(options.get_option_at_index(index).prompt) for index in range(options.option_count)]
    return [prompt.splitlines()[0] for prompt in prompts]


class Do:
    """One command by one way, as a test does it."""

    def __init__(self, stage: Stage, command: Command, way: Way) -> None:
        self._stage = stage
        self._command = command
        self._way = way

    async def __call__(self, argument: str = "") -> bool:
        """Do it; tells whether ``argument`` went with it, or is still to be asked for."""
        return await self._way(self._stage, self._command, argument)
