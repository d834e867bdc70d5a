"""The text of an answer does not depend on how its bytes come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from localqwen.engine.text import AnswerText, StopMatcher

# Few letters, so that stop strings really occur, overlap and nearly occur.
texts = st.text(alphabet="abä🙂", max_size=30)
stops = st.lists(st.text(alphabet="abä🙂", min_size=1, max_size=4), max_size=3)


def cut(data: bytes, places: Sequence[int]) -> Iterator[bytes]:
    borders = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return (data[start:end] for start, end in pairwise(borders))


def expected(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """Read character by character until a stop string is complete."""
    for end in range(1, len(text) + 1):
        if complete := [stop for stop in stops if text[:end].endswith(stop)]:
            return text[: end - max(map(len, complete))], True
    return text, False


@given(texts, stops, st.lists(st.integers(0, 1000), max_size=12))
@example("abab🙂", ["b🙂"], [1, 2, 3, 4, 5, 6])
def test_any_cut_gives_the_same_text(text: str, stops: list[str], places: list[int]) -> None:
    answer = AnswerText(stops)
    shown, stopped = "", False
    for piece in cut(text.encode(), places):
        part, stopped = answer.feed(piece)
        shown += part
        if stopped:
            break
    if not stopped:
        shown += answer.finish()
    assert (shown, stopped) == expected(text, stops)


@given(texts, stops)
def test_nothing_is_held_back_that_cannot_become_a_stop_string(text: str, stops: list[str]) -> None:
    matcher = StopMatcher(stops)
    shown = ""
    for i, char in enumerate(text):
        part, stopped = matcher.feed(char)
        shown += part
        if stopped:
            return
        held = text[len(shown) : i + 1]
        assert not held or any(stop.startswith(held) for stop in stops)


@given(texts, stops, st.lists(st.integers(0, 1000), max_size=12))
def test_all_is_shown_that_can_be(text: str, stops: list[str], places: list[int]) -> None:
    """After every piece: the whole characters so far, without the longest end that begins a stop string."""
    answer = AnswerText(stops)
    shown, come = "", b""
    for piece in cut(text.encode(), places):
        part, stopped = answer.feed(piece)
        shown += part
        come += piece
        if stopped:
            break
        whole = come.decode(errors="ignore")
        ends = (length for length in range(len(whole), 0, -1) if any(s.startswith(whole[-length:]) for s in stops))
        assert shown == whole[: len(whole) - next(ends, 0)]


@given(st.binary(max_size=40), st.lists(st.integers(0, 1000), max_size=12))
@example(b"\xf0\x9f\x99a\xe2\x82", [1, 2, 3])
def test_any_cut_of_any_bytes_gives_the_same_text(data: bytes, places: list[int]) -> None:
    answer = AnswerText()
    shown = "".join(answer.feed(piece)[0] for piece in cut(data, places)) + answer.finish()
    assert shown == data.decode("utf-8", "replace")


def test_broken_bytes_become_replacement_characters_and_nothing_is_lost() -> None:
    answer = AnswerText()
    parts = [answer.feed(piece)[0] for piece in (b"a\xff", b"b\xe2\x82", b"c\xf0\x9f")]
    assert "".join(parts) + answer.finish() == "a\ufffdb\ufffdc\ufffd"
