from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from localqwen.chats.tree import TITLE_LENGTH, Message, Tree, history, title_from


def message(message_id: int, parent_id: int | None, text: str = "text") -> Message:
    return Message(message_id, 1, parent_id, "user", text, "done", 0.0)


@st.composite
def trees(draw: st.DrawFn) -> list[Message]:
    count = draw(st.integers(1, 30))
    parents = [None] + [draw(st.one_of(st.none(), st.integers(1, i))) for i in range(1, count)]
    return [message(i + 1, parent) for i, parent in enumerate(parents)]


@given(trees())
def test_a_path_runs_from_a_root_to_its_tip(messages: list[Message]) -> None:
    tree = Tree(messages)
    for tip in messages:
        path = tree.path(tip.id)
        assert path[0].parent_id is None
        assert path[-1] == tip
        assert all(child.parent_id == parent.id for parent, child in pairwise(path))


@given(trees())
def test_every_message_is_among_its_siblings_and_above_its_newest_leaf(messages: list[Message]) -> None:
    tree = Tree(messages)
    for one in messages:
        assert one in tree.siblings(one.id)
        assert {sibling.parent_id for sibling in tree.siblings(one.id)} == {one.parent_id}
        assert one in tree.path(tree.newest_leaf(one.id))


def test_a_cycle_or_a_missing_parent_ends_the_path() -> None:
    assert [m.id for m in Tree([message(1, 2), message(2, 1)]).path(1)] == [2, 1]
    assert [m.id for m in Tree([message(5, 4)]).path(5)] == [5]
    assert Tree().path(None) == []


def test_history_leaves_out_answers_that_never_began() -> None:
    assert history([message(1, None, "a"), message(2, 1, ""), message(3, 2, "b")]) == [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
    ]


@given(st.text())
def test_a_title_is_one_short_line(text: str) -> None:
    title = title_from(text)
    assert len(title) <= TITLE_LENGTH
    assert len(title.splitlines()) <= 1
    assert bool(title) == bool(text.split())


def test_a_title_is_cut_at_a_word() -> None:
    assert title_from("word " * 30).endswith("word…")
    assert title_from("x" * 200) == "x" * (TITLE_LENGTH - 1) + "…"
