from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui.widgets.transcript.extent import Extent

HEIGHTS = st.lists(st.integers(1, 9), max_size=40)


@given(HEIGHTS, st.lists(st.tuples(st.integers(0, 39), st.integers(1, 9))), HEIGHTS)
def test_it_says_what_sums_say(heights: list[int], changes: list[tuple[int, int]], more: list[int]) -> None:
    extent = Extent(heights)
    heights = list(heights)
    for index, height in changes:
        if index < len(heights):
            assert extent.set(index, height) == height - heights[index]
            heights[index] = height
    for height in more:
        extent.append(height)
        heights.append(height)
    assert extent.total == sum(heights)
    assert [extent.top(index) for index in range(len(heights) + 1)] == [
        sum(heights[:i]) for i in range(len(heights) + 1)
    ]
    owners = [index for index, height in enumerate(heights) for _ in range(height)]
    assert [extent.at(line) for line in range(len(owners))] == owners
    assert extent.at(-1) == 0
    assert extent.at(10_000) == max(0, len(heights) - 1)
