"""What is selected is copied as it was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.tui.transcript.host import STYLES, WORDS, Host, answer, copied_whole, look, settled, until
from tui.sanitize import SafeText, safe, safe_line, without_controls
from tui.widgets.transcript.answer import AnswerEntry
from tui.widgets.transcript.copying import joined
from tui.widgets.transcript.entry import PersonEntry

CODE = "def f():\n\treturn 1\n\n\n    x = '" + "long " * 30 + "'"


@pytest.mark.parametrize("width", [20, 60, 120])
def test_prose_is_copied_without_the_newlines_of_soft_wraps(width: int) -> None:
    assert (
        copied_whole(answer(f"{WORDS.strip()}\nsecond line\n\nnext"), width)
        == f"{WORDS.strip()}\nsecond line\n\nnext\n"
    )


@pytest.mark.parametrize("width", [20, 60, 120])
def test_code_keeps_tabs_blank_lines_and_long_lines(width: int) -> None:
    assert copied_whole(answer(f"```python\n{CODE}\n```"), width) == CODE + "\n"


@pytest.mark.parametrize(
    "source",
    [
        "# H\n\ntext with **b**, *i*, `c`, ~~s~~ and [l](u)",
        "Title\n===\ntext at once\n***\n- a\n\n\n\n- b",
        "* a\n* b",
        "+ a\n+ b",
        "1) a\n2) b",
        "1. a\n1. b\n1. c",
        "- a\n  continued\n\n      code\n\n- [x] done",
        "> q\nlazy\n>\n> > deep",
        "a [ref] and\n\n[ref]: /url\n\nb",
        "a\n\n```python title\nx = 1\n```\nb\n~~~\ny\n~~~",
        "| a | b |\n|---|--:|\n| 1 | **2** |\n\nafter",
        "a\n\n---\n\n![i](s.png) &amp; \\*",
        "1. one\n   - nested\n   - [x] done\n2. two\n\n> quoted",
    ],
)
@pytest.mark.parametrize("width", [16, 60])
def test_whole_blocks_are_copied_as_they_were_written(source: str, width: int) -> None:
    assert copied_whole(answer(source), width) == source + "\n"
    growing = AnswerEntry(SafeText("demo"))
    for end in range(len(source) + 1):
        growing.set_text(source[:end])
        growing.lines(look(width))
    # What still grows is no other text.
    assert copied_whole(growing, width).removesuffix("\n").rstrip() == source
    growing.finish()
    assert copied_whole(growing, width) == source + "\n"


def part(source: str, first: int, last: int, width: int = 60) -> str:
    """What is copied of lines of an answer, ornaments not counted, as long as they are not the whole block."""
    lines = [line for line in answer(source).lines(look(width)) if not line.is_ornament]
    return joined((line, 0, None) for line in lines[first : last % len(lines) + 1])


def test_parts_of_blocks_are_copied_as_they_are_shown_with_marks_as_they_were_written() -> None:
    assert part("* a\n* **b**\n* c", 1, 2) == "* b\n* c"
    assert part("+ a\n+ b", 1, 1) == "+ b"
    assert part("1) a\n2) b\n   1. c\n   1. d", 1, 3) == "2) b\n   1. c\n   1. d"
    assert part("9. a\n9. b\n   - c\n9. d", 1, 2) == "9. b\n   - c"
    assert part("> q **r**\n>\n> s", 0, 0) == "q r"
    assert part("- a\n- [x] [l](u)\n- [ ]\n- b", 1, 2) == "- [x] l (u)\n- [ ]"


def test_code_is_copied_without_its_fence_or_its_lists_indent_when_it_is_selected_alone() -> None:
    source = "- do\n  ```sh\n  ls\n  cd ..\n  ```\n"
    assert part(source, 1, 2) == "ls\ncd .."
    assert copied_whole(answer("```sh\nls\n```")) == "ls\n"
    assert copied_whole(answer("```sh\nls\n```\n\n---")) == "```sh\nls\n```\n\n---\n"


async def test_a_selection_is_markdown_where_it_holds_whole_blocks() -> None:
    app = Host([PersonEntry("a *question*"), answer("**first** line\n\n* a\n* *b*\n\n## last **line** here")])
    async with app.run_test(size=(60, 30)) as pilot:
        await settled(pilot, app)

        async def dragged(begin: str, end: str) -> str | None:
            lines = app.lines()
            top = next(y for y, line in enumerate(lines) if begin in line)
            bottom = next(y for y, line in enumerate(lines) if end in line)
            await pilot.mouse_down(app.view, offset=(lines[top].index(begin), top))
            await pilot.hover(app.view, offset=(lines[bottom].index(end) + len(end) - 1, bottom))
            await pilot.mouse_up(app.view, offset=(lines[bottom].index(end) + len(end) - 1, bottom))
            return app.view.current_text()

        assert await dragged("rst", "last") == "rst line\n\n* a\n* *b*\n\nlast"
        assert await dragged("first", "last line here") == "**first** line\n\n* a\n* *b*\n\n## last **line** here"
        assert await dragged("*question*", "first line") == "*question*\n\n**first** line"
        assert await dragged("• b", "b") == "* b"
        # Keys begin with a list's mark as well.
        await pilot.press("escape", "{", "j", "j", "shift+down", "shift+end", "c")
        await until(pilot, lambda: app.copied == "* a\n* *b*")


async def test_a_block_that_still_grows_can_be_copied() -> None:
    growing = AnswerEntry(SafeText("demo"))
    growing.set_text("first\n\n**sec**ond")
    app = Host([growing])
    async with app.run_test(size=(60, 30)) as pilot:
        await settled(pilot, app)
        await pilot.press("k", "c")
        await until(pilot, lambda: app.copied == "**sec**ond")


@given(st.text(alphabet="ab \t\n日", max_size=80), st.sampled_from([12, 40]))
def test_what_a_person_typed_is_copied_as_it_was_typed(text: str, width: int) -> None:
    assert copied_whole(PersonEntry(text), width) == safe(text) + "\n"


def test_a_part_of_a_line_with_tabs_is_what_was_written_there() -> None:
    entry = answer("```\na\tb\tc\n```")
    line = next(line for line in entry.lines(look()) if line.text.startswith("a"))
    start = line.start
    assert line.text == "a   b   c"
    assert line.copied(start, start + 1) == "a"
    assert line.copied(start + 1, start + 5) == "\tb"


def test_the_originals_of_blocks_are_byte_for_byte() -> None:
    source = f"# Title\n\n- a\n- b\n\n~~~ python title\n{CODE}\n~~~\n\n| a | b |\n|--|--|\n| 1 |\t2 |\n\n> end"
    passages = answer(source).passages(look())
    assert [passage.kind for passage in passages] == ["heading", "list", "code", "table", "quote"]
    assert passages[1].text == "- a\n- b"
    assert (passages[2].text, passages[2].language) == (CODE + "\n", "python")
    assert passages[3].text == "| a | b |\n|--|--|\n| 1 |\t2 |"


def test_code_is_found_where_it_is_nested() -> None:
    entry = answer("- a\n  ```c\n  int x;\n  ```\n\n> ```\n> y\n> ```\n\n    z\n")
    codes = entry.codes(look())
    assert [(code.language, code.text) for code in codes] == [("c", "int x;\n"), ("", "y\n"), ("", "z\n")]


async def test_keys_select_and_copy() -> None:
    app = Host([PersonEntry("question"), answer("first line\n\nsecond\n\n```\na\n\tb\n```")])
    async with app.run_test(size=(60, 30)) as pilot:
        await settled(pilot, app)
        await pilot.press("shift+right", "shift+right", "shift+right", "c")
        await until(pilot, lambda: app.copied == "que")
        await pilot.press("shift+end", "ctrl+c")
        await until(pilot, lambda: app.copied == "question")
        await pilot.press("escape")
        assert app.screen.selections == {}
        await pilot.press("right_square_bracket", "shift+down", "shift+end", "c")
        await until(pilot, lambda: app.copied == "a\n\tb")
        await pilot.press("shift+up", "c")
        await until(pilot, lambda: app.copied == "a")
        count = len(app.heard)
        await pilot.press("shift+home", "c", "ctrl+c")
        assert len(app.heard) == count


async def test_selecting_beyond_the_view_scrolls() -> None:
    app = Host([answer("\n\n".join(f"paragraph {n}" for n in range(80)))])
    async with app.run_test(size=(60, 20)) as pilot:
        await settled(pilot, app)
        app.view.scroll_to(y=0, animate=False)
        await pilot.press(*["shift+pagedown"] * 4, "shift+end", "c")
        await until(pilot, lambda: app.copied)
        assert app.copied is not None
        assert app.copied.startswith("paragraph 0\n\nparagraph 1\n\n")
        assert app.view.scroll_y > 0


async def test_copying_without_a_selection_copies_what_is_current() -> None:
    app = Host([PersonEntry("question", key=1), answer("# A\n\n```c\nint x;\n```", key=2)])
    async with app.run_test(size=(60, 30)) as pilot:
        await settled(pilot, app)
        await pilot.press("c")
        assert app.heard == []
        await pilot.press("right_square_bracket", "c")
        await until(pilot, lambda: app.copied == "int x;\n")
        await pilot.press("left_curly_bracket", "c")
        await until(pilot, lambda: app.copied == "# A\n\n```c\nint x;\n```")


def test_controls_never_reach_the_clipboard() -> None:
    assert copied_whole(PersonEntry("a\x1b[2Jb")) == "a[2Jb\n"
    assert answer("a\x1bb").text == "ab"


HOSTILE = st.text(alphabet="ab \x1b\x07\x7f\x9b\u202e\u2066\u2028\ufffd␛\t日", min_size=1, max_size=60)


@given(HOSTILE, st.sampled_from([12, 40]))
def test_what_is_shown_safely_is_copied_as_the_original_less_its_controls(text: str, width: int) -> None:
    for entry in (PersonEntry(text), answer(f"```\n{text}\n```")):
        assert copied_whole(entry, width) == without_controls(text) + "\n"
        for line in entry.lines(look(width)):
            shown = line.strip(STYLES, width).text
            assert safe_line(shown).split() == shown.split()


@pytest.mark.parametrize("written", ["\x1b[31mred\x1b[0m", "user\u202etxt.exe", "a\tb", "it is ␛ here", "x\u2028y"])
def test_prose_and_its_blocks_are_copied_as_the_original_less_their_controls(written: str) -> None:
    entry = answer(f"{written}\n\n- {written}\n\n> {written}\n\n`{written}`")
    original = without_controls(written)
    assert copied_whole(entry) == f"{original}\n\n- {original}\n\n> {original}\n\n`{original}`\n"
    blocks = [passage.text for passage in entry.passages(look())]
    assert blocks == [original, f"- {original}", f"> {original}", f"`{original}`"]


TABLE = "| name | what **it** is |\n|:--|--:|\n| a\x1b[1m | one\ttwo |\n|b|" + "long words " * 12 + "|"


@pytest.mark.parametrize("width", [30, 60, 200])
def test_rows_of_tables_are_copied_as_they_were_written(width: int) -> None:
    written = without_controls(TABLE)
    assert copied_whole(answer(TABLE), width) == written + "\n"
    assert part(TABLE, 0, -2, width) == written
    assert part("> " + TABLE.replace("\n", "\n> "), 0, -2, width) == written
    item = "- item\n\n  {}"
    assert part(item.format(TABLE.replace("\n", "\n  ")), 0, -2, width) == item.format(written.replace("\n", "\n  "))


@pytest.mark.parametrize(
    ("written", "copied"),
    [
        ("- | a | b |\n  |---|---|\n  | 1 | 2 |", "- | a | b |\n  |---|---|\n  | 1 | 2 |"),
        ("1. x\n\n   | a | b |\n   |---|---|\n   | 1 | 2 |", "1. x\n\n   | a | b |\n   |---|---|\n   | 1 | 2 |"),
        ("- x\n  - y | z\n    -|-\n    1 | 2", "- x\n  - y | z\n  -|-\n  1 | 2"),
        ("> | a | b |\n> |---|---|\n> | 1 |", "| a | b |\n|---|---|\n| 1 |"),
        ("> - | + |\n> --|--|", "- | + |\n--|--|"),
    ],
)
def test_a_table_in_a_list_or_a_quote_is_one_again_when_it_is_copied(written: str, copied: str) -> None:
    assert copied_whole(answer(written)) == f"{written}\n"
    assert part(written, 0, -2) == copied
    assert any(token.type == "table_open" for token in MarkdownIt("gfm-like", {"linkify": False}).parse(copied))


def test_a_table_that_grew_is_copied_as_it_was_written() -> None:
    entry = AnswerEntry(SafeText("demo"))
    for end in range(len(TABLE)):
        entry.set_text(TABLE[:end])
        entry.lines(look())
    entry.set_text(TABLE)
    entry.finish()
    assert copied_whole(entry) == without_controls(TABLE) + "\n"


def test_parts_of_rows_are_copied_as_cells_without_padding_and_rules() -> None:
    lines = [line for line in answer(TABLE).lines(look(40)) if line.table is not None]
    header, rule, first, *long = lines
    begin = first.start + first.cells[1][0]
    assert joined([(first, begin, None)]) == "one\ttwo"
    assert joined([(first, first.start, begin - 2)]) == "a[1m"
    assert joined([(header, header.start + 2, None), (rule, 0, None), (first, 0, begin + 3)]) == (
        "me | what it is\na[1m | one"
    )
    last = long[-1]
    words = joined([(line, line.start + line.cells[1][0], None) for line in long])
    assert words == ("long words " * 12).strip()
    assert joined([(line, 0, None) for line in long[:-1]] + [(last, 0, last.start + last.cells[1][0] + 1)]).startswith(
        "b | long words long"
    )


async def test_two_clicks_select_a_word_and_three_a_block() -> None:
    app = Host(
        [PersonEntry("question"), answer("first (word's) line\n\nsecond\n\n- a\n- b\n\n```\n" + "x" * 90 + " y\n```")]
    )
    async with app.run_test(size=(60, 30)) as pilot:
        await settled(pilot, app)

        async def clicked(text: str, times: int) -> str | None:
            y = next(y for y, line in enumerate(app.lines()) if text in line)
            await pilot.click(app.view, offset=(app.lines()[y].index(text) + 1, y), times=times)
            await pilot.pause()
            return app.view.current_text()

        assert await clicked("word", 2) == "word"
        assert await clicked("second", 2) == "second"
        assert await clicked("xxx", 2) == "x" * 90
        assert await clicked("word", 3) == "first (word's) line"
        assert await clicked("• b", 3) == "- a\n- b"
        assert await clicked("xxx", 3) == "x" * 90 + " y"
        assert await clicked("question", 3) == "question"
        assert await clicked("(word", 1) is None
