from __future__ import annotations

from time import perf_counter

from hypothesis import given
from hypothesis import strategies as st

from tests.tui.transcript.host import WORDS, Host, answer, look, settled, until
from tui.widgets.transcript.document import Document
from tui.widgets.transcript.entry import PersonEntry
from tui.widgets.transcript.find import Search, hits_in, pattern_of

SOURCES = [
    "one **two** three",
    "a&amp;b `code`",
    "- one two\n- Three",
    "```\none two\n```",
    "| one | two |\n|--|--|",
    "x",
]


def search(texts: list[str], words: str) -> Search:
    document = Document()
    document.replace([answer(text) for text in texts])
    document.set_look(look(20))
    made = Search(document, words, 0)
    while not made.work(perf_counter() + 1):
        pass
    return made


def test_words_are_found_across_markup_soft_wraps_and_entities() -> None:
    assert search(["one **two** three"], "one two").found.count == 1
    assert search(["and then one two three"], "then one two").found.count == 1
    assert search(["a&amp;b"], "a&b").found.count == 1
    assert search(["write `&nbsp;` or `&copy;` for a&b"], "nbsp").found.count == 1
    assert search(["    a&amp;b\n\na&copy;b"], "amp").found.count == 1
    assert search([WORDS * 3], "fox jumps").found.count == 3


def test_letters_are_found_whose_other_case_depends_on_what_is_beside_them() -> None:
    for words in ("ΟΔΟΣ", "οδος", "ΜΕΓΑΛΗ"):
        assert search(["Η ΟΔΟΣ ΜΕΓΑΛΗ"], words).found.count == 1
    assert search(["Istanbul güzel"], "istanbul").found.count == 1


def test_upper_case_letters_respect_case() -> None:
    assert search(["Fox fox FOX"], "fox").found.count == 3
    assert search(["Fox fox FOX"], "Fox").found.count == 1


def test_names_statistics_and_marks_are_no_text() -> None:
    assert search(["text"], "demo").found.count == 0


@given(st.lists(st.sampled_from(SOURCES), min_size=1, max_size=5), st.sampled_from(["one", "two three", "a", "e", "|"]))
def test_leaving_entries_out_loses_no_hit(texts: list[str], words: str) -> None:
    pattern = pattern_of(words)
    counts = [hits_in(answer(text).lines(look(20)), pattern) for text in texts]
    assert search(texts, words).found.count == sum(hits[-1].number + 1 for hits in counts if hits)


def test_stepping_goes_round() -> None:
    made = search(["fox fox", "none", "fox"], "fox")
    assert made.found.current == 1
    places = []
    for _ in range(4):
        made.step(1)
        places.append(made.found.current)
    assert places == [2, 3, 1, 2]
    made.step(-1)
    made.step(-1)
    assert made.found.current == 3


async def test_hits_are_shown_in_a_long_chat() -> None:
    entries = [e for n in range(80) for e in (PersonEntry(f"question {n}"), answer(f"{WORDS * 4}\n\nneedle{n}x"))]
    app = Host(entries)
    async with app.run_test(size=(60, 20)) as pilot:
        app.view.find("needle7x")
        await until(pilot, lambda: app.view.found.is_complete)
        assert (app.view.found.count, app.view.found.current) == (1, 1)
        await until(pilot, lambda: any("needle7x" in line for line in app.lines()))
        app.view.find("needle")
        await until(pilot, lambda: app.view.found.count == 80 and app.view.found.is_complete)
        await pilot.press("n")
        first = app.view.found.current
        await pilot.press("N")
        assert app.view.found.current != first
        await settled(pilot, app)
        await pilot.press("escape")
        assert app.view.found.count == 0


async def test_text_that_arrives_is_found_too() -> None:
    entry = answer("start")
    app = Host([entry])
    async with app.run_test(size=(60, 20)) as pilot:
        app.view.find("fox")
        await until(pilot, lambda: app.view.found.is_complete)
        app.view.append(PersonEntry("a fox"))
        await until(pilot, lambda: app.view.found.count == 1)


async def test_a_search_begins_at_the_marked_message() -> None:
    entries = [answer(f"fox {n}\n\n{WORDS * 8}", key=n) for n in range(30)]
    app = Host(entries)
    async with app.run_test(size=(60, 20)) as pilot:
        await settled(pilot, app)
        assert app.view.go_to(7)
        assert app.view.rarest(["jumps", "the fox 7", "fox 7", "7", "fox 8"]) == "fox 7"
        assert app.view.rarest(["fox 8"]) == ""
        app.view.find("jumps")
        await until(pilot, lambda: app.view.found.is_complete)
        assert app.view.found.current == 7 * 8 + 1
