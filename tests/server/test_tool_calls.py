"""Calls in Hermes form, however they are cut."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from localqwen.server.tool_calls import CallArguments, CallBegun, ToolCallParser
from localqwen.server.tools import CLOSE, OPEN, assistant_text, call_text

WEATHER = call_text("weather", '{"city": "Paris", "days": [1, {"x": "}"}]}')
NEWS = call_text("news", "{}")


def parsed(pieces: list[str]) -> tuple[str, list[tuple[str, str]]]:
    """The content and the calls that come out."""
    parser = ToolCallParser()
    parts = [part for piece in pieces for part in parser.feed(piece)] + parser.finish()
    content = ""
    calls: list[tuple[str, str]] = []
    for part in parts:
        match part:
            case str():
                assert part
                content += part
            case CallBegun(index, name):
                assert index == len(calls)
                calls.append((name, ""))
            case CallArguments(index, text):
                assert index == len(calls) - 1
                calls[index] = (calls[index][0], calls[index][1] + text)
    assert parser.calls == len(calls)
    return content, calls


def cut(text: str, places: list[int]) -> list[str]:
    borders = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[start:end] for start, end in pairwise(borders)]


PARIS = ("weather", '{"city": "Paris", "days": [1, {"x": "}"}]}')


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        ("Hello", "Hello", []),
        (WEATHER, "", [PARIS]),
        (f"{WEATHER}\n{NEWS}", "", [PARIS, ("news", "{}")]),
        (f"{WEATHER}{NEWS}\n\n", "", [PARIS, ("news", "{}")]),
        (f"I look.\n\n{WEATHER}", "I look.\n", [PARIS]),
        (f"I look.{WEATHER} Done.", "I look. Done.", [PARIS]),
        # A stop string or a forgetful model left the end out.
        (WEATHER.removesuffix(CLOSE), "", [PARIS]),
        (WEATHER.removesuffix("}\n" + CLOSE), "", [PARIS]),
        (WEATHER.removesuffix(CLOSE) + NEWS, "", [PARIS, ("news", "{}")]),
        (WEATHER.replace("}\n" + CLOSE, "") + "\nSo?", "So?", [PARIS]),
        # Other orders and forms of the keys.
        (f'{OPEN}{{"arguments": {{"a": 1}}, "name": "f"}}{CLOSE}', "", [("f", '{"a": 1}')]),
        (f'{OPEN}\n{{"name": "f"}}\n{CLOSE}', "", [("f", "{}")]),
        (f'{OPEN}{{"name":"f\\u0041","arguments":{{"a":"{CLOSE}"}}}}{CLOSE}', "", [("fA", f'{{"a":"{CLOSE}"}}')]),
        # No calls: nothing is lost.
        (f"a\n{OPEN}\nnonsense\n{CLOSE}\nb", f"a\n{OPEN}\nnonsense\n{CLOSE}\nb", []),
        (f"{OPEN}\n[1]{CLOSE}", f"{OPEN}\n[1]{CLOSE}", []),
        (f'{OPEN}{{"name": "f", "arguments": "x"}}{CLOSE}', f'{OPEN}{{"name": "f", "arguments": "x"}}{CLOSE}', []),
        (f'{OPEN}\n{{"name": "f", ', f'{OPEN}\n{{"name": "f", ', []),
        (f"{WEATHER}\n{OPEN}x{CLOSE}", f"\n{OPEN}x{CLOSE}", [PARIS]),
        ("1 < 2\n<tool", "1 < 2\n<tool", []),
        # Cut off by the limit of tokens.
        (WEATHER[:50], "", [("weather", WEATHER[WEATHER.index('{"city"') : 50])]),
    ],
)
def test_calls(text: str, content: str, calls: list[tuple[str, str]]) -> None:
    assert parsed([text]) == (content, calls)
    assert parsed(list(text)) == (content, calls)


FRAGMENTS = [
    OPEN,
    CLOSE,
    "\n",
    " ",
    "{",
    "}",
    '"',
    "\\",
    '{"name": "',
    '", "arguments": {',
    "<tool",
    "ab",
    WEATHER,
    NEWS,
]


@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=12), st.lists(st.integers(0, 500)))
@example([WEATHER, "}", "\n", "<", "x"], list(range(200)))
def test_cuts_do_not_matter(fragments: list[str], places: list[int]) -> None:
    text = "".join(fragments)
    assert parsed(cut(text, places)) == parsed([text])
    assert parsed(list(text)) == parsed([text])


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.from_regex(r"[a-zA-Z0-9_.-]{1,64}", fullmatch=True)
ARGUMENTS = st.dictionaries(st.text(), JSON_VALUES, max_size=3)


@given(
    st.text().filter(lambda text: OPEN not in text),
    st.lists(st.tuples(NAMES, ARGUMENTS), min_size=1, max_size=3),
    st.lists(st.integers(0, 500)),
)
def test_what_is_said_comes_back(content: str, calls: list[tuple[str, dict[str, Any]]], places: list[int]) -> None:
    said = [(name, json.dumps(arguments, ensure_ascii=False)) for name, arguments in calls]
    text = assistant_text(content, said)
    assert parsed(cut(text, places)) == (content, said)


@given(st.text(), st.lists(st.integers(0, 100)))
def test_text_without_calls_stays(text: str, places: list[int]) -> None:
    if OPEN not in text:
        assert parsed(cut(text, places)) == (text, [])


def test_nothing_is_held_back_without_need() -> None:
    parser = ToolCallParser()
    assert parser.feed("Hello\nworld <b") == ["Hello\nworld <b"]
    assert parser.feed(" <") == [" "]
    assert parser.feed("b") == ["<b"]
    assert parser.feed(OPEN + '{"name": "f", "arguments": {"a') == [CallBegun(0, "f"), CallArguments(0, '{"a')]
    assert parser.feed('": 1') == [CallArguments(0, '": 1')]
