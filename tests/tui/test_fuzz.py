"""A sample of benchmarks/tui_fuzz.py, which puts a million strings in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.fuzz import hostile
from benchmarks.fuzz.grammar import Grammar, foreign_in_lines
from benchmarks.fuzz.lines import SOURCES, fuzz_lines
from benchmarks.fuzz.run import fuzz

FEWEST = 4
STRINGS = 100
SCREENS = [("all", 40)]
LINES = list(SOURCES)[1:5:3]


def test_no_hostile_string_reaches_the_terminal_and_without_the_sanitizer_each_source_leaks() -> None:
    with ThreadPoolExecutor() as both:
        guarded = both.submit(fuzz, STRINGS, 1, fewest=FEWEST, screens=SCREENS)
        naked = both.submit(fuzz, STRINGS, 1, how="naked", fewest=FEWEST, screens=SCREENS).result()
        result = guarded.result()
    whole = result.whole
    assert (result.status, whole.foreign, whole.wrong, result.excerpts) == (0, 0, 0, {})
    assert whole.copies > 0
    assert all(step.painted >= step.made / 4 for step in result.steps.values()), result.steps
    assert [what for what, step in naked.steps.items() if step.made and not step.foreign] == []


def test_no_hostile_string_is_written_as_a_line_and_without_the_sanitizer_each_source_leaks() -> None:
    with ThreadPoolExecutor() as both:
        guarded = both.submit(fuzz_lines, 30, 1, sources=LINES)
        naked = both.submit(fuzz_lines, 30, 1, how="naked", sources=LINES).result()
        result = guarded.result()
    assert {what: step.foreign for what, step in result.items()} == dict.fromkeys(result, 0)
    assert all(step.painted >= step.made / 2 for step in result.values()), result
    assert [what for what, step in naked.items() if not step.foreign] == []


PLACED = b"\x1b[1;1H\x1b[0mtext \xe4\xb8\xad"


@pytest.mark.parametrize(
    "good",
    [
        PLACED,
        b"\x1b[1;48;2;1;22;255mblue",
        b"\r\n\x1b[2;1H",
        b"\x1b]52;c;aGVsbG8=\x07",
        b"\x1b]22;pointer\x07",
    ],
)
def test_the_grammar_takes_what_the_chat_makes(good: bytes) -> None:
    for cut in range(len(good)):
        grammar = Grammar(80, 24)
        grammar.run()
        for part in (good[:cut], good[cut:]):
            grammar.feed(part)
        grammar.finish()
        assert not grammar.foreign


@pytest.mark.parametrize(
    "bad",
    [
        b"\x1b[5m",
        b"\x1b[2J",
        b"\x1b[25;1H",
        b"\x1b[1;81H",
        b"\x1b[?1000h",
        b"\x1b[?2026h",
        b"\x1b]0;title\x07",
        b"\x1b]52;c;?\x07",
        b"\x1bPq\x1b\\",
        b"\xc2\x9b31m",
        b"\xe2\x80\xae",
        b"\xed\xa0\x80",
        b"\xff",
        b"\x07",
        b"\r\nx",
        b"\t",
        b"\x1b",
    ],
)
def test_the_grammar_sees_everything_else(bad: bytes) -> None:
    for cut in range(len(bad)):
        grammar = Grammar(80, 24)
        grammar.run()
        for part in (PLACED + bad[:cut], bad[cut:] + PLACED):
            grammar.feed(part)
        grammar.finish()
        assert grammar.foreign_bytes > 0, bad


def test_lines_are_text_and_colours() -> None:
    assert not foreign_in_lines(b"\x1b[1mname\x1b[0m\tvalue\r\n\xe4\xb8\xad\r\n")
    for bad in (b"\x1b[5m", b"\x1b[2J", b"\r", b"\xc2\x9b", b"\xe2\x80\xae", b"\x07"):
        assert foreign_in_lines(b"name\r\n" + bad + b"value\r\n")


def test_marks_are_found_again() -> None:
    marks = {hostile.mark("A1", number) for number in range(0, hostile.MARKS, 9999)}
    assert len(marks) == len(range(0, hostile.MARKS, 9999))
    assert all(hostile.MARK.fullmatch(mark.encode()) for mark in marks)
