"""However a text is cut into pieces, it shows what a fresh parse of the whole shows."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it.token import Token

from tests.tui.transcript.host import STYLES, look
from tui.sanitize import SafeText, inert
from tui.widgets.transcript.answer import AnswerEntry
from tui.widgets.transcript.base import Look
from tui.widgets.transcript.stream import Block, MarkdownStream, make_parser

PIECES = (
    "# heading\n", "para\n", "\n", "\n\n", "- item\n", "  - nested\n", "1. one\n", "10) ten\n", "> quote\n",
    "> > deep\n", "```python\n", "```\n", "~~~\n", "    code\n", "| a | b |\n", "|---|---|\n", "| 1 | 2 |\n",
    "---\n", "===\n", "-", "*", "[foo]: /url 'title'\n", "[foo]: /other\n", "[foo]", "[foo]:", "'title\n",
    "more'\n", "**bold", "**", "`code`", "<div>\n", "\t", " ", "\r\n", "\r", "日本語\n", "- [x] done\n", "1",
    ". ", "\\", "&#x202e;", "![img](a.png)\n", "~~gone~~\n", "\x1b[2J", "http://a.b/c ", "see https://", "\\(", "\\) ",
    "\\[x\\\\y", "\\]", "- [x]", "2) [ ] ", "<br>",
)  # fmt: skip
SOURCES = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


def shape(tokens: list[Token]) -> list[tuple[object, ...]]:
    """What decides how tokens look; ``hidden`` does not, and text may be one token or several."""
    shapes: list[tuple[object, ...]] = []
    for t in tokens:
        if t.type == "text" and shapes and shapes[-1][0] == "text":
            shapes[-1] = ("text", str(shapes[-1][1]) + t.content)
        elif t.type == "text":
            shapes.append(("text", t.content))
        else:
            looks = (t.tag, t.nesting, t.level, t.content, t.info, tuple(t.attrs.items()), shape(t.children or []))
            shapes.append((t.type, *looks))
    return shapes


def shapes(blocks: list[Block]) -> list[tuple[object, ...]]:
    return [line for block in blocks for line in shape(block.tokens)]


def fresh(source: str) -> list[tuple[object, ...]]:
    return shape(make_parser().parse(inert(source)))


@settings(max_examples=600, deadline=None)
@given(SOURCES, st.lists(st.integers(0, 400)))
@example("- a\n\n[foo]\n\n[foo]: /url\n", [5, 9, 12])
@example("para\n\n[foo]: /url\n'title\nmore'\n\nend\n\nx\n", [16, 22, 28])
@example("a | b\n-", [6])
@example("para\n| a | b |\n-|---|---|\n", [21, 22])
@example("para\n1. x\n2. y\n\nz\n\n", [6, 7, 8])
def test_a_finished_stream_equals_a_fresh_parse(source: str, cuts: list[int]) -> None:
    stream = MarkdownStream()
    begin = 0
    for cut in sorted({min(cut, len(source)) for cut in cuts}):
        stream.append(source[begin:cut])
        begin = cut
    stream.append(source[begin:])
    stream.finish()
    assert shapes(stream.closed) == fresh(source)


@settings(max_examples=300, deadline=None)
@given(SOURCES.filter(lambda text: "[foo]" not in text and "\r" not in text))
def test_it_equals_a_fresh_parse_after_every_character(source: str) -> None:
    """But for references, which may be defined in what is still open, and a return whose newline may come."""
    stream = MarkdownStream()
    for end, char in enumerate(source, 1):
        stream.append(char)
        assert shapes(stream.closed) + shapes(stream.open) == fresh(source[:end])


@given(SOURCES)
def test_closed_blocks_stay_the_same_objects(source: str) -> None:
    stream = MarkdownStream()
    seen: list[Block] = []
    generation = 0
    for char in source:
        stream.append(char)
        if stream.generation != generation:
            generation, seen = stream.generation, []
        assert stream.closed[: len(seen)] == seen
        seen = list(stream.closed)


def test_the_work_for_long_texts_is_for_the_open_block_only() -> None:
    stream = MarkdownStream()
    for number in range(300):
        stream.append(f"Paragraph number {number} with some words in it.\n\n")
        assert len(stream.open) <= 1
        assert len(stream.closed) >= number - 1


LONG_PIECES = (
    *PIECES, "word and more words ", "**bold** and `code`, ", "- item with words\n", "2. item\n\n", "| cell | x |\n",
    "x = 1\n", "日本語の文章です。", "[a](b) ", "2 * 3 a_b ", "👩‍👩‍👧 ❤️ ", "\n\n- ", "```c\n", "[foo] ",
    "| a | b |\n|--|--|\n", "\\(a * b\\) ", "https://example.org/a_b_c ",
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(LONG_PIECES), st.integers(1, 40)), max_size=12),
    st.lists(st.integers(0, 900), max_size=30),
)
def test_every_frame_equals_a_fresh_one_of_the_same_text(pieces: list[tuple[str, int]], cuts: list[int]) -> None:
    """But for references, which may be defined in what is still open, and a return whose newline may come."""
    source = "".join(piece * times for piece, times in pieces).replace("[foo]", "foo").replace("\r", "")
    growing, size = AnswerEntry(SafeText("demo")), look(30)
    for cut in sorted({min(cut, len(source)) for cut in cuts}):
        growing.set_text(source[:cut])
        whole = AnswerEntry(SafeText("demo"))
        whole.set_text(source[:cut])
        assert frame(growing, size) == frame(whole, size)


def frame(entry: AnswerEntry, size: Look) -> list[tuple[str, list[tuple[str, str]], str, str]]:
    """What is seen and copied, but for the colours of code, which come later."""
    rows = []
    for line in entry.lines(size):
        runs: list[tuple[str, str]] = []
        for text, style in [] if line.colours is not None else line.runs(STYLES):
            if runs and runs[-1][1] == str(style):
                runs[-1] = (runs[-1][0] + text, str(style))
            else:
                runs.append((text, str(style)))
        rows.append((line.text, runs, line.join, line.lead))
    return rows
