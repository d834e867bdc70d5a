"""No foreign text reaches Textual's own widgets, as far as the source tells."""

from __future__ import annotations

from pathlib import Path

import pytest

import tui
from tests.tui.sinks import handed_count, sources, unsafe

FOUND_AT_LEAST = 100

GOOD = """
from tui.sanitize import SafeText, safe_line
WORDS = ("one", "two")
class Dialog(Screen):
    keys: SafeText
    def __init__(self, title: SafeText, hit: Callable[[str], SafeText]) -> None:
        self._title = title
        self._hit = hit
    def name(self, text: str) -> SafeText:
        return safe_line(text)
    async def compose(self, error: Exception, rows: Sequence[SafeText], count: int):
        yield Static("literal", markup=False)
        yield Static(self._title)
        yield Label(f"{self.keys} closes, {count} found" if count else self.name(str(error)))
        yield Static(self._hit("x"))
        for row in rows:
            yield Option(Content(row))
        for word in WORDS:
            yield Button(word)
        hint = "a"
        hint += f" {safe_line(str(error))}"
        self.border_title = hint
        yield Static(", ".join(rows))
        yield Static(Content.assemble((rows[0], "bold"), " " * count))
        self.query_one(Static).update(safe_line(await error.text()))
        self.notify(safe_line(str(error)), severity="error")
"""


def test_text_that_is_known_to_be_safe_is_taken() -> None:
    assert unsafe({"good.py": GOOD}) == []


@pytest.mark.parametrize(
    "line",
    [
        "self.notify(str(error))",
        "self.notify(f'no: {error}')",
        "self.app.notify(message=text)",
        "yield Static(text)",
        "yield Static('a' if count else text)",
        "yield Label('a ' + text)",
        "yield Option(chat.title)",
        "yield Input(placeholder=text)",
        "yield Static('x', tooltip=text)",
        "yield Content.assemble('x', (text, 'bold'))",
        "yield Static(made(text))",
        "yield Static(', '.join(names))",
        "self.query_one(Static).update(self._kept)",
        "self.border_subtitle = text",
        "word = 'x'; word += text; self.border_title = word",
        "[Option(Content(one)) for one in names]",
        "yield Static(unknown)",
    ],
)
def test_text_that_is_not_is_found(line: str) -> None:
    source = f"""
def made(text: str) -> str:
    return text
class Dialog(Screen):
    def __init__(self, text: str) -> None:
        self._kept = text
    def show(self, text: str, error: Exception, names: list[str], chat: Chat, count: int):
        {line}
"""
    assert len(unsafe({"bad.py": source})) == 1


def test_the_chat_hands_textual_nothing_else() -> None:
    files = sources(Path(tui.__file__).parent)
    assert unsafe(files) == []
    assert handed_count(files) >= FOUND_AT_LEAST  # or else this looks in the wrong places
