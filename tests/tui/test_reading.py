"""Reading in the app: selecting, scrolling, resizing, and text that arrives meanwhile."""

from __future__ import annotations

import re

from localqwen.events import Delta, Finished
from tests.tui.fakes import SIZE, FakeConnection, press, screen_text, shows, type_text, until
from tui.app import ChatApp
from tui.widgets.sidebar import Sidebar
from tui.widgets.transcript.view import Transcript


async def test_a_conversation_is_chosen_with_the_mouse(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await type_text(pilot, "one")
        await press(pilot, "enter")
        connection.client.answer("first answer")
        await until(pilot, shows(pilot, "first answer"))
        await press(pilot, "ctrl+n")
        await until(pilot, lambda: "first answer" not in screen_text(app))
        await pilot.click(app.chat.query_one(Sidebar).options, offset=(4, 0))
        await until(pilot, shows(pilot, "first answer"))


async def test_text_is_selected_with_the_mouse_and_copied(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "a", "enter")
        connection.client.answer("first line\n\nsecond line")
        await until(pilot, shows(pilot, "second line", "Enter sends"))
        lines = screen_text(app).splitlines()
        top = next(y for y, line in enumerate(lines) if "first line" in line)
        left = lines[top].index("first line")
        await pilot.mouse_down(offset=(left, top))
        await pilot.hover(offset=(left + 5, top + 2))
        await pilot.mouse_up(offset=(left + 5, top + 2))
        await press(pilot, "ctrl+c")
        await until(pilot, lambda: app.clipboard == "first line\n\nsecond")


async def test_reading_further_up_is_not_disturbed_by_new_text(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        view = app.chat.query_one(Transcript)
        await press(pilot, "a", "enter")
        connection.client.say("\n\n".join(f"paragraph {n}" for n in range(60)))
        await until(pilot, shows(pilot, "paragraph 59"))
        assert view.following
        await press(pilot, "pageup", "pageup")
        await until(pilot, lambda: "paragraph 59" not in screen_text(app))
        place, end = view.scroll_y, view.max_scroll_y
        connection.client.say("\n\nunseen")
        await until(pilot, lambda: view.max_scroll_y > end)
        await until(pilot, lambda: view.is_settled)
        assert view.scroll_y == place
        assert not view.following
        await press(pilot, "ctrl+end")
        await until(pilot, shows(pilot, "unseen"))
        connection.client.say("\n\nseen")
        await until(pilot, shows(pilot, "unseen", "seen"))
        connection.client.events.put_nowait(Finished("stop"))


async def test_resizing_and_themes_keep_the_readers_place(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        view = app.chat.query_one(Transcript)
        for number in range(4):
            await press(pilot, "a", "enter")
            await until(pilot, lambda: not connection.client.events.qsize())
            connection.client.answer("\n\n".join(f"answer {number} paragraph {n} " + "word " * 20 for n in range(30)))
            await until(pilot, shows(pilot, f"answer {number} paragraph 29", "Enter sends"))
        view.scroll_to(y=view.max_scroll_y // 2, animate=False)
        await until(pilot, lambda: not view.following)
        await until(pilot, lambda: view.is_settled and view.is_exact)
        seen = re.search(r"answer \d paragraph \d+ ", screen_text(app))
        assert seen is not None
        await pilot.resize_terminal(80, 30)
        await press(pilot, "ctrl+t")
        await until(pilot, lambda: app.theme == "localqwen-light")
        await until(pilot, lambda: view.is_settled and view.is_exact)
        near = re.findall(r"(answer \d) paragraph (\d+) ", screen_text(app))
        asked, at = seen[0].split(" paragraph ")
        # Narrower lines are more lines, so that it may be a little way off.
        assert any(one == asked and abs(int(n) - int(at)) <= 3 for one, n in near), (seen[0], near)
        await press(pilot, "ctrl+end")
        await until(pilot, shows(pilot, "answer 3 paragraph 29"))


async def test_delta_bursts_are_painted_once_a_frame(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "a", "enter")
        connection.client.say("begin ")
        await until(pilot, shows(pilot, "begin"))
        view = app.chat.query_one(Transcript)
        frames = -view._document.entries[-1].revision
        pieces = 500
        connection.client.say(*["x"] * pieces)
        connection.client.events.put_nowait(Delta(" end"))
        await until(pilot, shows(pilot, "xxx end"))
        frames += view._document.entries[-1].revision
        # However slow the machine is, frames come at most thirty times a second, and pieces all at once.
        assert 0 < frames < pieces / 2
