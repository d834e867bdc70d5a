"""A selection stays on its text while heights around it are found, and hinders nobody from finding them."""

from __future__ import annotations

import pytest
from textual.geometry import Offset
from textual.pilot import Pilot
from textual.selection import Selection

from tests.tui.transcript.host import WORDS, Host, answer, settled, until
from tui.sanitize import SafeText
from tui.widgets.transcript.answer import AnswerEntry
from tui.widgets.transcript.entry import PersonEntry, QueuedEntry
from tui.widgets.transcript.line_view import LineView


def long_chat() -> Host:
    """One whose estimated heights are wrong."""
    return Host([answer(f"# {n}\n\n" + "- item\n" * (n % 7) + f"{n} " + WORDS * (n % 5)) for n in range(120)])


async def selected(app: Host, pilot: Pilot[None]) -> str:
    """Select a line in view with the keys."""
    await pilot.press("shift+down", "shift+down", "shift+end")
    text = app.view.current_text()
    assert text
    return text


def extent(app: Host) -> int:
    """How many lines there really are."""
    document = app.view._document
    assert document.look is not None
    return sum(len(entry.lines(document.look)) for entry in document.entries)


async def test_what_is_measured_above_a_selection_moves_it_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LineView, "_work_later", lambda _: None)
    app = long_chat()
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.pause()
        text = await selected(app, pilot)
        height = app.view.virtual_size.height
        for _ in range(30):
            app.view.scroll_to(y=app.view.scroll_y - 15, animate=False)
        await until(pilot, lambda: app.view.scroll_y < height - 200)
        assert app.view.virtual_size.height != height
        assert app.view.current_text() == text
        assert " ".join(painted_selected(app)) == text.replace("\n", " ").removeprefix("- ")
        # The keys go on from where the selection is.
        await pilot.press("shift+left")
        await until(pilot, lambda: app.view.current_text() == text[:-1])


def painted_selected(app: Host) -> list[str]:
    """The lines that the selection is painted on."""
    document = app.view._document
    return [
        line.text
        for y in range(document.height)
        if (line := document.line(y)) is not None and app.view._overlays(y).selected is not None
    ]


async def test_selecting_page_by_page_right_after_opening_keeps_where_it_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LineView, "_work_later", lambda _: None)
    app = long_chat()
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.pause()
        await pilot.press("shift+end")
        end = app.view.current_text()
        assert end
        await pilot.press("shift+home", *["shift+pageup"] * 12, "shift+home")
        whole = app.view.current_text()
        await pilot.press("shift+end")
        assert whole is not None
        assert "\n102 The" in whole
        begin = app.view._reach._anchor
        line = app.view._document.line(begin.y)
        assert line is not None
        assert line.lead + line.text == end


async def test_heights_are_found_while_something_is_selected() -> None:
    app = long_chat()
    async with app.run_test(size=(60, 20)) as pilot:
        text = await selected(app, pilot)
        await settled(pilot, app)
        assert app.view.virtual_size.height == extent(app)
        assert app.view.current_text() == text


async def test_a_selection_below_an_answer_that_grows_moves_with_its_text() -> None:
    growing = AnswerEntry(SafeText("demo"))
    growing.set_text("begin")
    app = Host([PersonEntry("question"), growing, QueuedEntry("waits here")])
    async with app.run_test(size=(60, 30)) as pilot:
        await settled(pilot, app)
        y = next(y for y, line in enumerate(app.lines()) if "waits here" in line)
        line = app.view._document.line(y)
        assert line is not None
        app.screen.selections = {
            app.view: Selection(Offset(line.start, y), Offset(line.start + len("waits"), y)),
        }
        growing.set_text("begin\n\n" + "\n\n".join("more" for _ in range(20)))
        app.view.entry_changed(growing)
        await settled(pilot, app)
        assert app.view.current_text() == "waits"


async def test_the_mouse_goes_on_from_where_it_began_when_lines_above_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LineView, "_work_later", lambda _: None)
    app = long_chat()
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.pause()
        y = next(y for y, line in enumerate(app.lines()) if "quick brown" in line)
        x = app.lines()[y].index("quick")
        await pilot.mouse_down(app.view, offset=(x, y))
        await pilot.hover(app.view, offset=(x + 4, y))
        assert app.view.current_text() == "quick"
        height = app.view.virtual_size.height
        app.view.scroll_to(y=height // 2, animate=False)
        app.view.scroll_to(y=height // 3, animate=False)
        await until(pilot, lambda: app.view.virtual_size.height != height)
        assert app.view.current_text() == "quick"
        await pilot.hover(app.view, offset=(4, 5))
        assert (app.view.current_text() or "").endswith("q")
        await pilot.mouse_up(app.view, offset=(4, 5))


async def test_an_entry_that_is_added_out_of_view_is_measured_too() -> None:
    app = long_chat()
    async with app.run_test(size=(60, 20)) as pilot:
        await settled(pilot, app)
        app.view.scroll_to(y=0, animate=False)
        await until(pilot, lambda: not app.view.following)
        app.view.append(QueuedEntry("\n".join("one\n\n" + WORDS for _ in range(9))))
        await settled(pilot, app)
        assert app.view.virtual_size.height == extent(app)
        assert app.view.scroll_y == 0
