"""What the screen asks the transcript for: some lines of the view, and some columns of them."""

from __future__ import annotations

from time import perf_counter

import pytest
from textual.geometry import Region, Size
from textual.strip import Strip

from tests.tui.transcript.host import STYLES, WORDS, Host, until
from tui.painting import SparingScreen
from tui.sanitize import SafeText
from tui.theme import LIGHT
from tui.widgets.transcript.answer import AnswerEntry
from tui.widgets.transcript.code import Code, code_lines
from tui.widgets.transcript.entry import PersonEntry
from tui.widgets.transcript.paint import Highlighter


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


async def test_what_is_painted_before_the_view_hears_of_its_size_is_not_blank() -> None:
    app = Host([PersonEntry(WORDS)])
    async with app.run_test(size=(40, 12)) as pilot:
        await pilot.pause()
        before = [line for line in app.lines() if line]
        app.screen._refresh_layout(Size(70, 12))
        strips = app.view.render_lines(Region(0, 0, *app.view.size))
        assert [strip.text.rstrip() for strip in strips if strip.text.strip()] == before
        assert {strip.cell_length for strip in strips} == {app.view.scrollable_content_region.width}


async def test_no_strip_is_garbage_in_a_circle() -> None:
    class Chat(Host):
        def get_default_screen(self) -> SparingScreen:
            return SparingScreen()

    app = Chat([PersonEntry(WORDS)])
    async with app.run_test(size=(40, 12)) as pilot:
        await pilot.pause()
        app.screen._compositor.render_strips(app.size)
        for strip in app.view.render_lines(Region(0, 0, *app.view.size)):
            assert all(strip is not piece for pieces in strip._divide_cache._cache.values() for piece in pieces)


async def test_a_theme_that_came_while_there_was_no_room_counts_afterwards() -> None:
    app = Host([PersonEntry(WORDS)])
    async with app.run_test(size=(40, 12)) as pilot:
        await pilot.pause()
        before = app.view.render_line(1)
        app.view.styles.width = 0
        await pilot.pause()
        app.theme = LIGHT.name
        await pilot.pause()
        app.view.styles.width = "1fr"
        await until(pilot, lambda: app.view.render_line(1) != before)
        assert app.view.render_line(1).text == before.text


def test_guessed_colours_are_put_right_on_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.widgets.transcript.paint.PAINT_SECONDS", 20.0)
    text = 'def f():\n    """\n    import this\n    """\n'
    grown, opened = Code("python"), Code("python")
    for code in (grown, opened):
        code.grow(text[:20])
        assert not code.has_guessed_colours
    grown.work(perf_counter() + 20)  # as it grows, and so that the language is there
    assert grown.has_guessed_colours
    for code, is_painted_again in ((grown, True), (opened, False)):
        code.grow(text)
        code.close()
        highlighter = Highlighter()
        (line, *_) = code_lines(code, range(len(code.rows)), 40, STYLES)
        assert highlighter.wants(line) == is_painted_again
        assert code.is_exact
        assert highlighter.is_busy == is_painted_again
        assert highlighter.work(perf_counter()) == is_painted_again
        assert not highlighter.is_busy
        assert not highlighter.wants(line)
