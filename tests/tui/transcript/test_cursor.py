from __future__ import annotations

from tests.tui.transcript.host import WORDS, Host, answer, look, settled, until
from tui.sanitize import SafeText
from tui.widgets.transcript.answer import AnswerEntry
from tui.widgets.transcript.cursor import Cursor
from tui.widgets.transcript.document import Document
from tui.widgets.transcript.entry import NoteEntry, PersonEntry
from tui.widgets.transcript.view import Transcript


def document() -> Document:
    made = Document()
    made.replace(
        [
            PersonEntry("one", key=1),
            answer("# A\n\n```c\nint x;\n```\n\ntext", key=2),
            NoteEntry([(SafeText("note"), "muted")]),
            PersonEntry("two", key=3),
            answer("no code here", key=4),
            answer("- a\n  ```py\n  y\n  ```", key=5),
        ]
    )
    made.set_look(look())
    return made


def test_it_moves_over_messages_blocks_and_code() -> None:
    cursor = Cursor(document())
    assert cursor.current is None
    seen: list[int | None] = []
    while cursor.move(1, "message", 0, 30):
        assert cursor.current is not None
        seen.append(cursor.current.key)
    assert seen == [1, 2, 3, 4, 5]
    assert cursor.move(-1, "code", 0, 30)
    assert cursor.current is not None
    assert (cursor.current.key, cursor.current.text, cursor.current.language) == (2, "int x;\n", "c")
    assert cursor.move(1, "block", 0, 30)
    assert cursor.current is not None
    assert (cursor.current.block, cursor.current.text) == ("text", "text")
    assert cursor.move(1, "code", 0, 30)
    assert cursor.current is not None
    assert (cursor.current.key, cursor.current.text) == (5, "y\n")
    assert not cursor.move(1, "code", 0, 30)
    assert cursor.current.key == 5


def test_the_last_code_is_there_without_a_place() -> None:
    last = Cursor(document()).last_code()
    assert last is not None
    assert (last.key, last.text) == (5, "y\n")
    assert Cursor(Document()).last_code() is None


def test_it_keeps_its_place_while_an_answer_grows() -> None:
    growing = AnswerEntry(SafeText("demo"), key=7)
    growing.set_text("```c\nint x;\n```\n\nmore")
    made = Document()
    made.replace([growing])
    made.set_look(look())
    cursor = Cursor(made)
    assert cursor.move(1, "code", 0, 30)
    growing.set_text("```c\nint x;\n```\n\nmore text\n\n- and\n- more")
    assert cursor.current is not None
    assert cursor.current.text == "int x;\n"


async def test_the_current_block_is_marked_and_in_view() -> None:
    app = Host([answer("\n\n".join(f"{n}. {WORDS}" for n in range(60)) + "\n\n```c\nint x;\n```\n\nend", key=1)])
    async with app.run_test(size=(60, 20)) as pilot:
        await settled(pilot, app)
        app.view.scroll_to(y=0, animate=False)
        await pilot.pause()
        assert app.view.move(1, "code")
        await pilot.pause()
        marked = [line for line in app.lines() if line.startswith("▌")]
        assert any("int x;" in line for line in marked)
        assert len(marked) == 3
        current = app.view.current_code()
        assert current is not None
        assert current.text == "int x;\n"
        await pilot.press("escape")
        assert app.view.current is None
        assert not any(line.startswith("▌") for line in app.lines())


async def test_variants_are_shown_and_switched_with_the_mouse() -> None:
    entry = answer("text", key=9)
    entry.set_branch(2, 3)
    app = Host([entry])
    async with app.run_test(size=(60, 20)) as pilot:
        await settled(pilot, app)
        title = app.lines()[0]
        assert title == "  demo  ‹ 2/3 ›"
        await pilot.click(offset=(title.index("›"), 0))
        await until(pilot, lambda: app.heard)
        message = app.heard[-1]
        assert isinstance(message, Transcript.Switch)
        assert (message.key, message.direction) == (9, 1)
        await pilot.click(offset=(title.index("‹"), 0))
        await until(pilot, lambda: len(app.heard) == 2)
        entry.set_branch(3, 3)
        app.view.entry_changed(entry)
        await until(pilot, lambda: "3/3" in app.lines()[0])
        entry.set_branch(1, 1)
        app.view.entry_changed(entry)
        await until(pilot, lambda: app.lines()[0] == "  demo")
