"""Taking a picture of the app, for the tests and for the documentation alike: one theme, and nothing that moves."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from textual.widgets import Input, TextArea

from localqwen.settings import Settings
from tests.tui.person import Person

DARK = "localqwen-dark"
BLINKING = ((Input, "_toggle_cursor"), (TextArea, "_toggle_cursor_blink_visible"))


def posed(theme: str = DARK) -> Settings:
    """Settings for a picture."""
    return Settings(theme=theme, animations=False)


@contextmanager
def unmoved() -> Iterator[None]:
    """While this lasts, no cursor blinks and the time zone is one that everybody has."""
    with ExitStack() as stack:
        for widget, toggle in BLINKING:
            stack.enter_context(patch.object(widget, toggle, lambda _: None))
        stack.enter_context(patch.dict(os.environ, TZ="UTC"))
        time.tzset()
        try:
            yield
        finally:
            stack.close()
            time.tzset()


async def still(person: Person) -> str:
    """What the person sees as an SVG, once it stays as it is."""
    await person.until(lambda: person.transcript.is_settled)
    picture, before = person.app.export_screenshot(title="localqwen"), ""
    while picture != before:
        await person.pilot.pause()
        picture, before = person.app.export_screenshot(title="localqwen"), picture
    return picture
