"""What the screen asks the transcript for: some lines of the view, and some columns of them."""

from __future__ import annotations

from textual.geometry import Region
from textual.strip import Strip

from tests.tui.transcript.host import WORDS, Host
from tui.sanitize import SafeText
from tui.widgets.transcript.answer import AnswerEntry
from tui.widgets.transcript.entry import PersonEntry


async def test_a_part_is_a_part_of_the_whole() -> None:
    answer = AnswerEntry(SafeText("model"))
    answer.set_text("# 漢字\n\n```python\nx = 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    app = Host([PersonEntry(WORDS), answer])
    async with app.run_test(size=(50, 20)) as pilot:
        await pilot.pause()
        width, height = app.view.size
        whole = app.view.render_lines(Region(0, 0, width, height))
        assert [strip.text.rstrip() for strip in whole] == app.lines()
        for x, y, w, h in ((0, 3, width, 2), (3, 0, 10, height), (20, 7, 11, 1)):
            assert app.view.render_lines(Region(x, y, w, h)) == [strip.crop(x, x + w) for strip in whole[y : y + h]]


async def test_lines_that_only_move_are_not_made_anew() -> None:
    answer = AnswerEntry(SafeText("model"))
    answer.set_text("\n\n".join(f"paragraph {number}" for number in range(30)))
    app = Host([answer])
    async with app.run_test(size=(50, 20)) as pilot:
        while not app.view.is_settled:
            await pilot.pause()

        def painted() -> list[Strip]:
            return app.view.render_lines(Region(0, 0, *app.view.size))

        before, top = painted(), app.view.scroll_y
        answer.set_text(answer.text + "\n\nthe last one")
        app.view.entry_changed(answer)
        while not app.view.is_settled:
            await pilot.pause()
        moved = round(app.view.scroll_y - top)
        assert moved > 0
        kept = [one is two for one, two in zip(painted(), before[moved:], strict=False) if one.text.strip()]
        assert all(kept[:-2])
        assert len(kept) > 4
