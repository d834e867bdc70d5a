from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style

from tui.widgets.transcript.flow import breaks, flow
from tui.widgets.transcript.line import expand

PIECES = st.sampled_from(["a", "word", " ", "  ", "日", "本。", "「", "」", "👩‍👩‍👧", "❤️", "e\u0301", "x" * 30, "."])
TEXTS = st.lists(PIECES, max_size=60).map("".join)
WIDTHS = st.integers(2, 40)


@given(TEXTS, WIDTHS)
@example("   日", 2)
def test_lines_fit_and_nothing_is_lost_but_white_space_between_them(text: str, width: int) -> None:
    after = 0
    for begin, end, following in breaks(text, width):
        assert begin == after
        assert not text[end:following].strip(" ")
        assert cell_len(text[begin:end]) <= width or end - begin == 1 or not text[begin:end].isascii()
        after = following
    assert after == len(text)


@given(TEXTS, TEXTS, WIDTHS)
@example("aaa ", "b", 3)
def test_what_grows_changes_only_its_last_line(text: str, more: str, width: int) -> None:
    # A cluster that goes on, or punctuation that belongs to it, is the last line's business too.
    *settled, last = breaks(text, width)
    grown = list(breaks(text + more, width))
    assert grown[: len(settled)] == settled or last[1] - last[0] <= 1


@given(st.lists(TEXTS, min_size=1, max_size=4).map("\n".join), WIDTHS)
def test_lines_joined_again_are_the_text(text: str, width: int) -> None:
    lines = flow([(text, Style.null())], width)
    assert "".join(line.text + line.join for line in lines) == text + "\n"
    assert all("".join(piece for piece, _ in line.content) == line.text for line in lines)


def test_words_stay_whole_and_long_ones_are_folded() -> None:
    lines = [line.text for line in flow([("the quick brown abcdefghijklmnop fox", Style.null())], 10)]
    assert lines == ["the quick", "brown", "abcdefghij", "klmnop fox"]


def test_no_line_begins_with_closing_punctuation() -> None:
    lines = [line.text for line in flow([("日本語です。次の文", Style.null())], 10)]
    assert lines == ["日本語で", "す。次の文"]


def test_wide_characters_are_never_cut_in_two() -> None:
    assert [line.text for line in flow([("a日本語", Style.null())], 4)] == ["a日", "本語"]


@given(st.text(alphabet="a\t ", max_size=30), st.integers(0, 40), st.integers(0, 40))
def test_tabs_are_found_again_behind_their_spaces(text: str, begin: int, length: int) -> None:
    shown, tabs = expand(text)
    assert "\t" not in shown
    if tabs is not None:
        assert tabs.between(0, len(shown)) == text
        end = begin + length
        assert tabs.between(0, begin) + tabs.between(begin, end) + tabs.between(end, len(shown) + 99) == text
