from __future__ import annotations

from time import perf_counter

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.tui.test_sanitize import HOSTILE, is_harmless
from tests.tui.test_stream import SOURCES
from tui.sanitize import SafeText
from tui.theme import DARK
from tui.widgets.transcript.answer import AnswerEntry
from tui.widgets.transcript.base import Look
from tui.widgets.transcript.code import Code
from tui.widgets.transcript.entry import Entry, NoteEntry, PersonEntry
from tui.widgets.transcript.styles import Styles
from tui.widgets.transcript.table import MIN_COLUMN, fit

STYLES = Styles.from_theme(DARK.to_color_system().generate())


def answer(text: str) -> AnswerEntry:
    entry = AnswerEntry(SafeText("demo"))
    entry.set_text(text)
    entry.finish()
    return entry


def shown(entry: Entry, width: int = 60) -> list[str]:
    return [line.strip(STYLES).text.rstrip() for line in entry.lines(Look(width, STYLES))]


def painted(entry: Entry, look: Look) -> list[tuple[list[tuple[str, str]], str, str, bool]]:
    """All that is seen and copied of an entry, with its final colours."""
    rows = []
    for line in entry.lines(look):
        if isinstance(line.colours, Code):
            while not line.colours.is_exact and line.colours.wants_colours:
                line.colours.work(perf_counter() + 1)
        runs: list[tuple[str, str]] = []
        for text, style in line.runs(look.styles):
            if runs and runs[-1][1] == str(style):
                runs[-1] = (runs[-1][0] + text, str(style))
            else:
                runs.append((text, str(style)))
        rows.append((runs, line.join, line.lead, line.is_ornament))
    return rows


def test_markdown_shows_as_a_person_expects() -> None:
    source = """\
# Title
A line with **bold**, `code`, <tag> and a [link](https://example.org).
Second line.

1. one
   - nested
   - [x] done
2. two

> quoted

```python
def f():
    return 1
```

| name | n |
|------|--:|
| a    | 1 |
"""
    assert shown(answer(source)) == [
        "  demo",
        "",
        "  Title",
        "  ─────",
        "",
        "  A line with bold, code, <tag> and a link",
        "  (https://example.org).",
        "  Second line.",
        "",
        "  1. one",
        "     • nested",
        "     ☑ done",
        "  2. two",
        "",
        "  ▎ quoted",
        "",
        "   python",
        "   def f():",
        "       return 1",
        "",
        "",
        "  name │ n",
        "  ─────┼──",
        "  a    │ 1",
        "",
    ]


@settings(max_examples=200, deadline=None)
@given(st.one_of(SOURCES, HOSTILE), st.integers(12, 90))
def test_any_text_fits_any_width_and_holds_no_control(text: str, width: int) -> None:
    look = Look(width, STYLES)
    for entry in (answer(text), PersonEntry(text)):
        for line in entry.lines(look):
            strip = line.strip(STYLES)
            assert is_harmless(strip.text)
            assert strip.cell_length == cell_len(strip.text)
            # Deeply nested lists keep a few cells of text, and so may be wider than a very narrow view.
            assert strip.cell_length <= max(width, 30)


def test_controls_that_markdown_makes_are_caught() -> None:
    lines = shown(answer("&#x202e;evil <http://a/%1b%9b> &#155;"))
    assert all(is_harmless(line) for line in lines)


def test_growing_answers_show_what_whole_ones_show() -> None:
    source = "Intro\n\n- a\n- b\n\n```c\nint x;\n```\n\n[foo] end\n\n[foo]: /url\n"
    growing = AnswerEntry(SafeText("demo"))
    look = Look(60, STYLES)
    for end in range(len(source)):
        growing.set_text(source[:end])
        growing.lines(look)
    growing.set_text(source)
    growing.finish()
    assert painted(growing, look) == painted(answer(source), look)


def test_a_rendered_entry_is_not_rendered_again() -> None:
    look, entry = Look(60, STYLES), answer("text")
    first = list(entry.lines(look))
    assert all(line is same for line, same in zip(entry.lines(look), first, strict=True))
    assert entry.lines(Look(40, STYLES))[0] is not first[0]


def test_markup_is_text() -> None:
    assert any("[bold]x[/bold]" in line for line in shown(PersonEntry("[bold]x[/bold]")))
    assert any("[/]" in line for line in shown(NoteEntry([(SafeText("[/]"), "muted")])))


@given(st.lists(st.integers(0, 200), min_size=1, max_size=8), st.integers(8, 120))
def test_columns_share_the_room(natural: list[int], room: int) -> None:
    widths = fit(natural, room)
    assert all(width <= max(1, want) for width, want in zip(widths, natural, strict=True))
    assert sum(widths) <= room or max(widths) <= MIN_COLUMN


def styled(text: str, word: str) -> list[str]:
    """The pieces of an answer that are painted like a link, as far as they hold a word."""
    lines = answer(text).lines(Look(80, STYLES))
    return [piece for line in lines for piece, style in line.content if style.underline and word in piece]


def test_addresses_are_links_that_are_said_once() -> None:
    text = "See https://a.org/b_c_d?e=f. (http://a.org/(x)) *ftp://a.org* `http://no` [l](http://no) xhttp://no a.org"
    assert styled(text, "a.org") == ["https://a.org/b_c_d?e=f", "http://a.org/(x)", "ftp://a.org"]
    assert styled(text, "no") == []
    # A line may be broken anywhere, but nothing is said twice.
    assert "".join(shown(answer("https://a.org/ä%20ö"), 80)).count("a.org") == 1
    assert len(styled("[https://a.org](https://b.org)", "a.org")) == 1
    assert shown(answer("[https://a.org](https://b.org)"), 80)[2] == "  https://a.org (https://b.org)"


def test_latex_is_shown_and_copied_as_it_is_written() -> None:
    source = "\\(e^{i\\pi}\\) is **not** \\[ a \\\\\n  b_1 * c * d \\{x\\} \\] but \\*text\\* \\(open \\] `\\(`"
    assert shown(answer(source), 80)[2:4] == [
        "  \\(e^{i\\pi}\\) is not \\[ a \\\\",
        "    b_1 * c * d \\{x\\} \\] but *text* \\(open \\] \\(",
    ]
