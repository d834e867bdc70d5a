"""The bookkeeping of sequences against a model that keeps every cell."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from localqwen.engine.prefix import Slot, Slots, common_prefix

tokens = st.lists(st.integers(0, 2), max_size=40)
long_tokens = st.builds(lambda head, tail, times: head * times + tail, tokens, tokens, st.integers(0, 90))


def naive(first: list[int], second: list[int]) -> int:
    length = 0
    while length < min(len(first), len(second)) and first[length] == second[length]:
        length += 1
    return length


@given(long_tokens, long_tokens)
def test_common_prefix(first: list[int], second: list[int]) -> None:
    assert common_prefix(first, second) == naive(first, second)
    assert common_prefix(first, [*first, *second]) == len(first)


operations = st.lists(
    st.tuples(
        st.sampled_from(["append", "truncate", "share"]), st.integers(0, 3), st.integers(0, 3), st.integers(0, 6)
    ),
    max_size=60,
)


@given(operations)
def test_cells_are_counted_once(steps: list[tuple[str, int, int, int]]) -> None:
    slots, fresh = Slots(4), count()
    cells: list[list[int]] = [[] for _ in range(4)]  # which cell holds each token
    for operation, one, other, number in steps:
        slot = slots.all[one]
        if operation == "append":
            slot.append(list(range(number)))
            cells[one] += [next(fresh) for _ in range(number)]
        elif operation == "truncate":
            slot.truncate(number)
            del cells[one][number:]
        elif one != other:
            slot.truncate(0)
            slot.share(slots.all[other], number)
            cells[one] = cells[other][:number]
        assert slots.cells() == len(set().union(*cells))
        assert [len(slot.tokens) for slot in slots.all] == [len(held) for held in cells]
        slots.all[other].busy = bool(number % 2)
        assert slots.cells(busy_only=True) == len(
            set().union(*(held for held, slot in zip(cells, slots.all, strict=True) if slot.busy))
        )


def filled(*contents: list[int]) -> Slots:
    slots = Slots(len(contents))
    for slot, content in zip(slots.all, contents, strict=True):
        slot.append(content)
        slots.touch(slot)
    return slots


@given(st.lists(tokens, min_size=1, max_size=6), tokens)
def test_the_best_has_the_longest_beginning(contents: list[list[int]], wanted: list[int]) -> None:
    slot, length = filled(*contents).best(wanted)
    assert length == max(naive(content, wanted) for content in contents)
    assert (slot is None) == (length == 0)


def test_of_equals_the_idle_one_that_loses_least_is_best() -> None:
    slots = filled([1, 2, 3, 9, 9], [1, 2, 3], [1, 2, 3, 9])
    assert slots.best([1, 2, 3, 4]) == (slots.all[1], 3)
    slots.all[1].busy = True
    assert slots.best([1, 2, 3, 4]) == (slots.all[2], 3)


def test_the_idle_are_listed_by_their_last_use() -> None:
    slots = filled([1], [], [2], [3])
    slots.all[3].busy = True
    slots.touch(slots.all[0])
    assert slots.idle() == [slots.all[0], slots.all[2]]
    assert slots.unused() is slots.all[1]


def test_an_unused_slot_is_empty_and_idle() -> None:
    slots = Slots(2)
    slots.all[0].busy = True
    slots.all[1].append([1])
    assert slots.unused() is None
    assert Slot(0).tokens == []
