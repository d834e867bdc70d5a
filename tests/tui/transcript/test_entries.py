from __future__ import annotations

from time import perf_counter

import pytest

from tests.tui.transcript.host import STYLES, WORDS, Host, answer, copied_whole, look, settled, until
from tui.sanitize import SafeText
from tui.widgets.transcript.answer import AnswerEntry
from tui.widgets.transcript.base import Entry
from tui.widgets.transcript.code import Code
from tui.widgets.transcript.copying import joined
from tui.widgets.transcript.entry import PersonEntry, QueuedEntry
from tui.widgets.transcript.line import Line
from tui.widgets.transcript.pacing import SLOWEST_FRAME_SECONDS, Pacer


def shown(entry: Entry, width: int = 60) -> list[str]:
    return [line.strip(STYLES).text.rstrip() for line in entry.lines(look(width))]


def test_attachments_are_chips_under_the_text() -> None:
    files = [(SafeText("notes.txt"), 812), (SafeText("a" * 80 + ".py"), 34_000)]
    lines = shown(PersonEntry("read these", files))
    assert any("notes.txt · 812 B" in line for line in lines)
    assert any("…" in line and "33.2 KiB" in line for line in lines)


def test_a_queued_message_says_so() -> None:
    assert any("queued" in line for line in shown(QueuedEntry("later")))
    assert not QueuedEntry("later").is_message


def test_a_list_shows_blank_lines_where_its_author_left_them() -> None:
    assert shown(answer("- a\n- b\n\n- c\n\n  d"))[2:-1] == ["  • a", "  • b", "", "  • c", "", "    d"]


def test_tasks_have_boxes_with_numbers_and_without_words() -> None:
    source = "1. [ ] todo that goes on\n2. [x] done\n\n---\n\n- [x]\n- [ ] `code`\n- `[x] a`\n- [x](u)\n- [y] b\n- [x]c"
    lines = shown(answer(source), 18)
    assert lines[2:-1] == [
        "  1. ☐ todo that",
        "       goes on",
        "  2. ☑ done",
        "",
        "  ──────────────",
        "",
        "  ☑",
        "  ☐ code",
        "  • [x] a",
        "  • x (u)",
        "  • [y] b",
        "  • [x]c",
    ]
    assert copied_whole(answer(source), 18) == source + "\n"
    assert shown(answer("- [x] a\n\n[x]: /url"))[2] == "  • x (/url) a"
    assert shown(answer("3) a\n3) b"))[2:4] == ["  3) a", "  4) b"]


def test_only_prose_is_kept_narrow_in_a_wide_terminal() -> None:
    code, row = "x" * 150, f"| {'a' * 70} | {'b' * 70} |"
    source = f"{'p' * 150}\n\n```\n{code}\n```\n\n- ```\n  {code}\n  ```\n\n{row}\n|---|---|\n{row}"
    lines = shown(answer(source), 250)
    assert max(len(line) for line in lines if "p" in line) == 102
    assert sum(code in line for line in lines) == 2
    assert sum("a" * 70 in line and "b" * 70 in line for line in lines) == 2
    growing = AnswerEntry(SafeText("demo"))
    for end in range(0, len(source) + 1, 7):
        growing.set_text(source[:end])
        growing.lines(look(250))
    growing.set_text(source)
    growing.finish()
    assert shown(growing, 250) == lines
    assert any(len(line) > 102 for line in lines)


COLUMNS = 20
WIDE_TABLE = "\n".join(
    [
        "|" + "|".join(f" name {n} " for n in range(COLUMNS)) + "|",
        "|---" * COLUMNS + "|",
        "|" + "|".join(f" first **{n}** and some words " for n in range(COLUMNS)) + "|",
        "|" + "|".join(f" second {n} " for n in range(COLUMNS)) + "|",
    ]
)


@pytest.mark.parametrize("width", [24, 80, 120])
def test_a_table_with_too_many_columns_is_shown_as_records(width: int) -> None:
    entry = answer(WIDE_TABLE)
    lines = shown(entry, width)
    text = " ".join(" ".join(lines).split())
    for n in range(COLUMNS):
        assert f"name {n}" in text or width == 24
        assert f"second {n}" in text
    assert all(line.strip(STYLES).cell_length <= width for line in entry.lines(look(width)))
    growing = AnswerEntry(SafeText("demo"))
    for end in range(len(WIDE_TABLE)):
        growing.set_text(WIDE_TABLE[:end])
        whole = AnswerEntry(SafeText("demo"))
        whole.set_text(WIDE_TABLE[:end])
        assert shown(growing, width) == shown(whole, width)
    growing.set_text(WIDE_TABLE)
    growing.finish()
    assert shown(growing, width) == lines
    if width == 80:
        assert "  name 3:  first 3 and some words" in lines
        assert copied_whole(entry, width) == WIDE_TABLE + "\n"


def test_records_are_copied_as_rows_and_cells() -> None:
    lines = [line for line in answer(WIDE_TABLE).lines(look(60)) if line.table is not None]
    header = [line for line in lines if line.table is lines[0].table]
    first = next(line for line in lines if line.text.startswith("first"))
    rows = WIDE_TABLE.split("\n")
    row = [line for line in lines if line.table is first.table]
    assert joined((line, 0, None) for line in header) == rows[0]
    assert joined((line, 0, None) for line in row) == rows[2]
    assert joined([(row[0], 0, None), (row[1], 0, row[1].start + 5)]) == "first 0 and some words | first"
    assert joined([(header[0], header[0].start + 2, header[0].start + 12)]) == "me 0 | nam"
    assert joined((line, 0, None) for line in lines) == WIDE_TABLE


def test_a_break_in_a_cell_breaks_its_line() -> None:
    source = "| a | b |\n|---|---|\n| one<br>two<BR/>three | `<br>` |\n\nx<br>y"
    assert [line for line in shown(answer(source)) if line][3:] == [
        "  one   │ <br>",
        "  two   │",
        "  three │",
        "  x<br>y",
    ]
    assert copied_whole(answer(source)) == source + "\n"


def test_wide_characters_and_clusters_fill_their_cells() -> None:
    for line in answer("日本語 👩‍👩‍👧‍👦 ❤️ **❤**️ e\u0301\n\n| 日 | 👍🏽 |\n|--|--|\n| ❤️ | x |").lines(look(24)):
        strip = line.strip(STYLES, 24)
        assert strip.cell_length == 24
        assert sum(segment.cell_length for segment in strip) == 24


def test_a_long_answer_is_rendered_in_slices() -> None:
    source = "".join(f"## {n}\n\n{WORDS * 3}\n\n- a\n- b\n\n" for n in range(300))
    sliced, size = answer(source), look()
    slices = 1
    while not sliced.prepare(size, perf_counter()):
        slices += 1
    assert slices > 10
    assert shown(sliced) == shown(answer(source))


def test_code_gets_its_colours_later_and_keeps_its_height() -> None:
    entry = answer("```python\n" + "x = 'text'\n" * 500 + "```")
    lines = list(entry.lines(look()))
    code = next(line.colours for line in lines if line.colours is not None)
    assert isinstance(code, Code)
    before = [line.strip(STYLES) for line in lines]
    slices = 1
    while not code.work(perf_counter() + 0.0005):
        slices += 1
    assert slices > 1
    after = [line.strip(STYLES) for line in lines]
    assert [strip.text for strip in before] == [strip.text for strip in after]
    assert before[5] != after[5]


def test_an_open_fence_is_coloured_row_by_row() -> None:
    entry = AnswerEntry(SafeText("demo"))
    entry.set_text("```python\ndef f():\n    return 1\nx =")
    code = next(line.colours for line in entry.lines(look()) if isinstance(line.colours, Code))
    assert code.wants_colours
    code.work(perf_counter() + 1)
    assert len(code.runs(0, 0, 8, STYLES)) > 1
    assert len(code.runs(2, 0, 3, STYLES)) == 1


@pytest.mark.parametrize(
    ("block", "more"),
    [
        ("".join(f"- item {n} with some words\n" for n in range(500)), "- item and some more words in it\n" * 6),
        ("| a | b |\n|---|---|\n" + "".join(f"| row {n} | words |\n" for n in range(300)), "| row | words |\n" * 8),
        ("```c\n" + "int x = f(1, 2); /* note */\n" * 2000, "int y;\n" * 30),
        (WORDS * 620, "and **so** on, with `code` and words " * 6),
    ],
    ids=["list", "table", "fence", "line"],
)
def test_a_long_block_costs_a_frame_no_more_than_a_short_one(block: str, more: str) -> None:
    def laid_out(begin: str) -> int:
        """How many lines are made for what comes after a beginning, where each frame brings five characters."""
        entry, size = AnswerEntry(SafeText("demo")), look(100)
        for end in range(0, len(begin), 700):
            entry.set_text(begin[:end])
            entry.lines(size)
        made, before = 0, set(map(id, entry.lines(size)))
        kept: list[list[Line]] = []  # so that no id is used again
        for end in range(5, len(more), 5):
            entry.set_text(begin + more[:end])
            kept.append(list(entry.lines(size)))
            made += sum(id(line) not in before for line in kept[-1])
            before = set(map(id, kept[-1]))
        return made

    # Without settled parts it is a hundredfold.
    assert laid_out(block) <= 2 * laid_out(block[: len(block) // 20]) + 50


async def test_the_theme_changes_colours_and_nothing_else() -> None:
    app = Host([answer(f"{WORDS}\n\n```c\nint x;\n```") for _ in range(30)])
    async with app.run_test(size=(60, 20)) as pilot:
        await settled(pilot, app)
        before, height = app.lines(), app.view.virtual_size.height
        strip = app.view.render_line(2)
        app.theme = "localqwen-light"
        await until(pilot, lambda: app.view.render_line(2) != strip)
        assert app.lines() == before
        assert app.view.virtual_size.height == height
        assert app.view.is_exact


async def test_the_extent_is_exact_and_the_place_is_kept_when_it_becomes_so() -> None:
    app = Host([answer(f"# {n}\n\n" + "- item\n" * (n % 7) + WORDS * (n % 5)) for n in range(120)])
    async with app.run_test(size=(60, 20)) as pilot:
        app.view.scroll_to(y=app.view.max_scroll_y // 2, animate=False)
        await pilot.pause()
        top = [line for line in app.lines() if line]
        await settled(pilot, app)
        assert [line for line in app.lines() if line] == top
        width = app.view.scrollable_content_region.width
        assert app.view.virtual_size.height == sum(len(entry.lines(look(width))) for entry in app.entries)


async def test_a_growing_answer_is_followed_unless_the_reader_left() -> None:
    entry = AnswerEntry(SafeText("demo"))
    app = Host([entry])
    async with app.run_test(size=(60, 20)) as pilot:
        entry.set_text("\n\n".join(f"paragraph {n}" for n in range(40)))
        app.view.entry_changed(entry)
        await until(pilot, lambda: any("paragraph 39" in line for line in app.lines()))
        await pilot.press("pageup")
        await until(pilot, lambda: not app.view.following)
        place = app.lines()
        entry.set_text(entry.text + "\n\nunseen")
        app.view.entry_changed(entry)
        await until(pilot, lambda: app.view.is_settled)
        assert app.lines() == place
        await pilot.press("end")
        await until(pilot, lambda: any("unseen" in line for line in app.lines()))


def test_dear_frames_come_seldom_and_much_text_hurries_them() -> None:
    pacer = Pacer()
    assert pacer.wait(10.0, 0) == 0
    pacer.begin(10.0)
    pacer.end(0.003)
    calm, busy = pacer.wait(10.0, 5), pacer.wait(10.0, 500)
    assert busy < calm < 0.13
    pacer.end(9.0)
    assert pacer.wait(10.0, 0) == SLOWEST_FRAME_SECONDS
    assert pacer.wait(11.0, 0) == 0
