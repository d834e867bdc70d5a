"""Esc stops an answer where the next message is written; from everywhere else it leads there."""

from __future__ import annotations

import pytest
from textual.command import CommandPalette

from localqwen.chats.store import Store
from tests.tui.commands.ways import by_palette
from tests.tui.stage import staged
from tui.commands import BY_ID


@pytest.mark.parametrize("elsewhere", ["transcript", "mark", "list"])
async def test_from_elsewhere_it_leads_to_the_composer_and_stops_nothing(store: Store, elsewhere: str) -> None:
    async with staged(store) as stage:
        await stage.begin("Tell me a story", "Once upon")
        if elsewhere == "list":
            await stage.press("ctrl+l")
        else:
            stage.transcript.focus()
        await stage.until(lambda: not stage.composer.has_focus_within)
        if elsewhere == "mark":
            await stage.press("alt+up")
            await stage.until(lambda: stage.transcript.current)
            await stage.press("escape")
            assert stage.transcript.current is None
        await stage.press("escape")
        await stage.until(lambda: stage.composer.has_focus_within)
        assert stage.open.is_answering
        assert stage.client.closed == 0
        await stage.press("escape")
        await stage.sees("■ stopped")


async def test_the_palette_stops_an_answer_wherever_the_keys_are(store: Store) -> None:
    async with staged(store) as stage:
        await stage.begin("Tell me a story", "Once upon")
        stage.transcript.focus()
        await stage.until(lambda: stage.transcript.has_focus)
        await by_palette(stage, BY_ID["answer.stop"], "")
        await stage.until(lambda: not isinstance(stage.app.screen, CommandPalette))
        await stage.sees("■ stopped")
