"""The sparing screen paints what Textual's would, and asks for less."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

import pytest
from rich.console import RenderableType
from textual._compositor import ChopsUpdate, Compositor
from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static

from tui.painting import SparingCompositor, SparingScreen

SIZE = (60, 16)


class Scene(SparingScreen):
    """Borders, margins, a list that scrolls, something in front of it, and wide characters."""

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield OptionList(*(f"row {n} 漢字" for n in range(40)), id="left")
            with Vertical(id="right"):
                yield Static("words and 漢字 and 👩‍👩‍👧 " * 20)
                yield Input("typed")
        yield Static("in front of it", id="front")


class Host(App[None]):
    CSS = """
    #left { width: 20; border: round white; }
    #right { padding: 1 2; }
    #front { layer: front; offset: 25 5; width: 17; height: 4; border: solid white; }
    Scene { layers: default front; }
    """

    def get_default_screen(self) -> Scene:
        return Scene()


def painted(update: ChopsUpdate) -> Mapping[tuple[int, int], object]:
    """What an update paints of its spans, piece by piece."""
    found = {}
    for y, begin, end in update.spans:
        ends = update.chop_ends[y]
        for (x, strip), until in zip(update.chops[y].items(), ends, strict=False):
            if x < end and until > begin:
                assert strip is not None, "a piece that is to be painted is missing"
                found[y, x] = [(segment.text, segment.style) for segment in strip]
    return found


async def test_every_region_is_painted_as_textual_does_it() -> None:
    app, chance = Host(), random.Random(1)
    async with app.run_test(size=SIZE):
        ours = app.screen._compositor
        assert isinstance(ours, SparingCompositor)
        width, height = SIZE
        for _ in range(300):
            regions = {
                Region(chance.randrange(width), chance.randrange(height), chance.randint(1, 30), chance.randint(1, 6))
                for _ in range(chance.randint(1, 3))
            }
            regions = {region.intersection(Region(0, 0, width, height)) for region in regions}
            ours._dirty_regions = set(regions)
            update = ours.render_partial_update()
            ours._dirty_regions = set(regions)
            theirs = Compositor.render_partial_update.__get__(Plain(ours))()
            assert update is not None
            assert theirs is not None
            assert painted(update) == painted(theirs)
        strips = ours.render_strips(app.size)
        assert strips == Compositor.render_strips.__get__(Plain(ours))(app.size)


class Plain(Compositor):
    """Textual's own compositor, with what another one knows."""

    def __init__(self, other: Compositor) -> None:
        self.__dict__ = other.__dict__


async def test_only_what_is_painted_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    app, asked = Host(), Counter[str]()

    def counted(name: str, render: Callable[[Region], list[Strip]], crop: Region) -> list[Strip]:
        asked[name] += crop.height
        return render(crop)

    async with app.run_test(size=SIZE):
        for widget in app.screen.walk_children(Widget, with_self=True):
            monkeypatch.setattr(widget, "render_lines", partial(counted, str(widget.id), widget.render_lines))
        compositor = app.screen._compositor
        front, left = (app.screen.query_one(f"#{name}").region for name in ("front", "left"))
        assert front.overlaps(app.screen.query_one("#right").region)
        compositor._dirty_regions = {Region(front.x + 1, front.y + 1, 3, 2)}
        assert compositor.render_partial_update() is not None
        assert asked == {"front": 2}
        asked.clear()
        compositor._dirty_regions = {Region(left.x + 2, left.y + 3, 3, 1)}
        assert compositor.render_partial_update() is not None
        assert asked == {"left": 1}


async def test_nothing_dirty_paints_nothing() -> None:
    app = Host()
    async with app.run_test(size=SIZE):
        compositor = app.screen._compositor
        compositor._dirty_regions = set()
        assert compositor.render_partial_update() is None
        compositor._dirty_regions = {Region(0, 40, 3, 2)}  # below the screen, which was higher a moment ago
        assert compositor.render_partial_update() is None


async def test_another_size_is_painted_whole_and_when_the_widgets_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    app, updates = Host(), []
    async with app.run_test(size=SIZE) as pilot:
        display = app._display

        def seen(screen: SparingScreen, update: RenderableType | None) -> None:
            updates.append(screen.size)
            display(screen, update)

        monkeypatch.setattr(app, "_display", seen)
        app.screen._screen_resized(Size(50, 14))
        assert not updates, "painted before the widgets have heard of their sizes"
        await pilot.resize_terminal(40, 12)
        await pilot.pause()
        assert (40, 12) in updates
        fresh = Host()
        async with fresh.run_test(size=(40, 12)):
            here = [strip.text for strip in app.screen._compositor.render_strips(app.size)]
            assert here == [strip.text for strip in fresh.screen._compositor.render_strips(fresh.size)]
