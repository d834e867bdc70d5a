"""Controls from a model, a server or a file."""

from __future__ import annotations

from localqwen.chats.store import Store
from localqwen.events import Finished, Ready
from tests.tui.fakes import FakeConnection, shows, until
from tests.tui.test_sanitize import is_harmless
from tui.app import ChatApp
from tui.widgets.composer import Composer
from tui.widgets.sidebar import Sidebar

HOSTILE = "A\x1b]52;c;ZXZpbA==\x07B\x1b[2JC\x9b31mD\x1b]0;t\x07\u202e[b]E[/b][/]&#x202e; <http://a/%1b>"


async def test_no_control_reaches_the_screen_from_anywhere(store: Store) -> None:
    connection = FakeConnection(ready=False, address=HOSTILE)
    connection.name = HOSTILE
    app = ChatApp(store, connection)
    async with app.run_test(size=(160, 40)) as pilot:
        composer = app.chat.query_one(Composer)
        composer.insert(HOSTILE)
        await pilot.press("enter")
        connection.load(Ready(HOSTILE, 1))
        connection.client.say(HOSTILE, f"\n\n```{HOSTILE}\n{HOSTILE}\n```\n\n| a | b |\n|---|---|\n| {HOSTILE} | |\n")
        connection.client.events.put_nowait(Finished("error", error=HOSTILE))
        await until(pilot, shows(pilot, "✗"))
        connection.die(HOSTILE)
        composer.fill(HOSTILE)
        await pilot.press("ctrl+n")
        composer.insert(HOSTILE)
        await until(pilot, shows(pilot, "New conversation", "␛]52", "[b]E[/b]"))
        # The list is filled in the background: its last row is the first conversation, once both are there.
        await until(pilot, lambda: app.chat.query_one(Sidebar).options.option_count == 2)
        await pilot.press("ctrl+l", "end", "enter")
        await until(pilot, shows(pilot, "✗"))
        lines = app.screen._compositor.render_strips()
        assert all(is_harmless(segment.text) for line in lines for segment in line)
