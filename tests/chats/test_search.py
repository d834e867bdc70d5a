from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localqwen.chats.attachment import Attachment
from localqwen.chats.query import LEAD_LENGTH, SNIPPET_LENGTH, occurrences, parse, snippet
from localqwen.chats.store import Store
from localqwen.params import SamplingParams
from tests.chats.test_migrations import check_index


@pytest.fixture(scope="module")
def shared() -> Iterator[Store]:
    store = Store.temporary()
    chat = store.create_chat()
    store.ask(chat.id, None, "AND OR NOT NEAR * ^ : \" ' ( ) { } + - 東京 日本の首都は東京です → ok")
    yield store
    store.close()


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store.temporary()
    yield store
    check_index(store)
    store.close()


def found(store: Store, query: str) -> list[tuple[int | None, list[str]]]:
    return [(hit.message_id, [text for text, is_found in hit.pieces if is_found]) for hit in store.search(query)]


def test_words_are_found_from_their_beginnings_in_titles_and_messages_newest_first(store: Store) -> None:
    chat = store.create_chat()
    one = store.ask(chat.id, None, "The Café by the sea, a foo-bar")
    two = store.branch(one, "cafeteria\n\n at  sea")
    assert found(store, "caf SEA") == [
        (None, ["Café", "sea"]),
        (two.id, ["cafeteria", "sea"]),
        (one.id, ["Café", "sea"]),
    ]
    store.rename(chat.id, "Coast")
    assert found(store, "caf sea") == [(two.id, ["cafeteria", "sea"]), (one.id, ["Café", "sea"])]
    assert found(store, "foo-b") == []
    assert found(store, "foo-ba") == [(one.id, ["foo-bar"])]
    assert found(store, "c") == []
    assert found(store, "a") == [(one.id, ["a"])]
    assert found(store, "afé") == []
    (hit,) = store.search("cafet")
    assert (hit.chat_id, hit.title, hit.snippet, hit.ranges) == (chat.id, "Coast", "cafeteria at sea", ((0, 9),))
    assert [len(store.search("sea", limit=limit)) for limit in (0, 1, 2)] == [0, 1, 2]


def test_the_files_of_a_message_are_found_after_what_messages_say(store: Store) -> None:
    chat = store.create_chat()
    files = (Attachment("plan\n.txt", 'the "lighthouse"\nkeeper\0x'), Attachment("list", "東京 oil, lamps"))
    asked = store.ask(chat.id, None, "What is needed?", files)
    said = store.ask(chat.id, asked.id, "A lighthouse?")
    both = store.ask(chat.id, said.id, "lighthouses", files)
    assert found(store, "lightho") == [
        (both.id, ["lighthouses"]),
        (said.id, ["lighthouse"]),
        (asked.id, ["lighthouse"]),
    ]
    assert [hit.is_file for hit in store.search("lightho")] == [False, False, True]
    assert found(store, "keep plan") == [(both.id, ["plan", "keeper"]), (asked.id, ["plan", "keeper"])]
    assert found(store, "東京") == [(both.id, ["東京"]), (asked.id, ["東京"])]
    assert found(store, "nkeeper") == []
    assert [hit.message_id for hit in store.search("keep", limit=4)] == [both.id]
    store.delete(chat.id)
    assert store.search("keeper") == store.search("東京") == []


def test_words_without_spaces_between_them_are_found_inside(store: Store) -> None:
    chat = store.create_chat()
    message = store.ask(chat.id, None, "x" * 70 + " 日本の首都は東京です")
    assert found(store, "首都") == [(message.id, ["首都"])]
    assert found(store, "東京 首都 xx") == [(message.id, ["x" * 70, "首都", "東京"])]
    assert store.search("東京")[0].snippet == "…" + "x" * (LEAD_LENGTH - 7) + " 日本の首都は東京です"
    assert found(store, "京都") == []
    assert found(store, "日本 nothing") == []


def test_what_is_marked_is_what_the_index_found(store: Store) -> None:
    chat = store.create_chat()
    message = store.ask(chat.id, None, "title")
    for text, query, marked in (
        ("학교 한국", "한국", ["한국"]),
        ("CAFE\u0301 society", "café", ["CAFE\u0301"]),
        ("Ünder under wonder", "under", ["Ünder", "under"]),
        ("a.b a_b ab", "a-b", ["a.b", "a_b"]),
        ("anagram a", "a", ["a"]),
    ):
        message = store.branch(message, text)
        assert found(store, query)[0] == (message.id, marked)


def test_a_common_word_in_a_long_message_is_marked_only_as_far_as_a_snippet_shows() -> None:
    assert len(occurrences("w o r d s " * 50_000, parse("o"))) < SNIPPET_LENGTH


def test_an_answer_is_found_when_it_has_ended_and_not_while_it_is_written(store: Store) -> None:
    chat = store.create_chat()
    question = store.ask(chat.id, None, "q")
    answer = store.begin_answer(chat.id, question.id, SamplingParams())
    store.save_answer(answer.id, "needle")
    assert found(store, "needle") == []
    store.finish_answer(replace(answer, text="needle", state="stopped"))
    assert found(store, "needle") == [(answer.id, ["needle"])]
    store.resume_answer(answer.id, SamplingParams())
    assert found(store, "needle") == []
    store.finish_answer(replace(answer, text="needle, thread", state="done"))
    store.finish_answer(replace(answer, text="needle, thread", state="done"))
    assert found(store, "thread") == [(answer.id, ["thread"])]


def test_deleted_conversations_are_not_found_and_purged_ones_leave_the_index(store: Store) -> None:
    chat = store.create_chat()
    first = store.ask(chat.id, None, "needle 東京")
    store.ask(chat.id, first.id, "needle again")
    store.delete(chat.id)
    assert found(store, "needle") == found(store, "東京") == []
    store.undelete(chat.id)
    assert len(found(store, "needle")) == 3
    assert len(found(store, "東京")) == 2
    store.delete(chat.id)
    assert store.purge(chat.created + 1e9) == 1
    assert store._db.execute("SELECT count(*) FROM message_search WHERE message_search MATCH 'needle'").fetchone() == (
        0,
    )


@given(st.text() | st.text(st.sampled_from("ab\"*^:(){}+-' \0ANDORTE\ud800京→é\u0301_")))
def test_nothing_that_can_be_typed_is_an_error(shared: Store, text: str) -> None:
    for hit in shared.search(text):
        assert "".join(piece for piece, _ in hit.pieces) == hit.snippet
        assert all(0 <= begin < end <= len(hit.snippet) for begin, end in hit.ranges)


def test_a_pasted_page_is_a_search_too(shared: Store) -> None:
    assert shared.search("word " * 100_000 + "x" * 1_000_000) == []
    assert len(parse("ab " * 100).match.split()) < 100


@pytest.mark.parametrize("word", ["AND", "(", '"', "NEAR", "→", "東京", "首都は"])
def test_signs_of_the_index_s_language_are_only_words(shared: Store, word: str) -> None:
    assert shared.search(word)


@given(st.text(st.sampled_from("ab \n\t.")), st.lists(st.tuples(st.integers(0, 300), st.integers(1, 9))))
def test_a_snippet_is_one_short_line_around_what_was_found(text: str, spans: list[tuple[int, int]]) -> None:
    ranges = [(begin, min(begin + length, len(text))) for begin, length in spans if begin < len(text)]
    line, inside = snippet(text, ranges)
    assert "\n" not in line
    assert "  " not in line
    assert len(line) <= SNIPPET_LENGTH + 2
    for begin, end in inside:
        assert 0 <= begin < end <= len(line)


def test_a_snippet_shows_the_first_thing_that_was_found_and_what_is_around_it() -> None:
    text = "before " * 20 + "needle" + " after" * 40
    at = text.index("needle")
    line, ((begin, end),) = snippet(text, [(at, at + 6)])
    assert line[begin:end] == "needle"
    assert line.startswith("…")
    assert line.endswith("…")
    assert "before" in line[:begin]
