from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui.history import History


def test_older_and_newer_walk_to_the_first_and_back_to_the_draft() -> None:
    history = History(lambda: ["one", "two"])
    assert history.older("draft") == "two"
    assert history.is_walking
    assert history.draft == "draft"
    assert history.older("two") == "one"
    assert history.older("one") is None
    assert history.newer("one") == "two"
    assert history.newer("two") == "draft"
    assert not history.is_walking
    assert history.newer("draft") is None


def test_without_entries_nothing_happens() -> None:
    history = History()
    assert history.older("draft") is None
    assert not history.is_walking
    assert history.draft is None


def test_repeats_and_blank_entries_are_left_out() -> None:
    history = History(lambda: ["a", "b", " ", "a"])
    assert [history.older(""), history.older("a"), history.older("b")] == ["a", "b", None]


def test_what_is_sent_comes_first_in_the_next_walk() -> None:
    history = History(lambda: ["a"])
    history.older("")
    history.add("b")
    assert not history.is_walking
    assert history.older("") == "b"


def test_a_changed_entry_keeps_its_change_during_the_walk_only() -> None:
    history = History(lambda: ["a", "b"])
    history.older("")
    assert history.is_as_sent("b")
    assert not history.is_as_sent("b!")
    assert history.older("b!") == "a"
    assert history.newer("a") == "b!"
    assert history.newer("b!!") == ""
    assert history.older("") == "b"


def test_what_is_typed_after_coming_back_is_the_draft_of_the_next_walk() -> None:
    history = History(lambda: ["a"])
    history.older("x")
    assert history.newer("a") == "x"
    history.older("xy")
    assert history.newer("a") == "xy"


@given(st.lists(st.text(max_size=3), max_size=6), st.text(max_size=5), st.lists(st.booleans(), max_size=30))
def test_the_draft_is_never_lost_whatever_the_steps(entries: list[str], draft: str, steps: list[bool]) -> None:
    history, shown = History(lambda: entries), draft
    for is_older in steps:
        found = history.older(shown) if is_older else history.newer(shown)
        shown = shown if found is None else found
        assert (history.draft if history.is_walking else shown) == draft
