from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.completion import (
    Command,
    Literally,
    Mistake,
    SlashItem,
    Word,
    as_typed,
    commands_for,
    fuzzy,
    meaning,
    paths_for,
    word_at,
)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("@", Word("path", 0, 1, "")),
        ("see @src/ma", Word("path", 4, 11, "src/ma")),
        ('see @"my fi', Word("path", 4, 11, "my fi")),
        ('see @"my file.md"', Word("path", 4, 17, "my file.md")),
        ("mail me@example.org", None),
        ("@file and", None),
        ("/mo", Word("command", 0, 3, "mo")),
        ("/", Word("command", 0, 1, "")),
        ("//", None),
        ("/model qw", None),
        ("/etc/fst", None),
        ("plain", None),
        ("", None),
    ],
)
def test_the_word_before_the_cursor_is_found(line: str, word: Word | None) -> None:
    assert word_at(line, len(line)) == word


def test_a_command_stands_only_on_the_first_line_and_before_the_cursor() -> None:
    assert word_at("/model", 6, row=1) is None
    assert word_at("/model", 3) == Word("command", 0, 6, "mo")
    assert word_at("see @file now", 6) == Word("path", 4, 9, "f")
    assert word_at("/model", 0) is None


COMMANDS = [SlashItem("new", "anew"), SlashItem("model", "another", "name"), SlashItem("system", "", "text")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", Literally("hello")),
        ("", Literally("")),
        ("/new", Command("new", "")),
        ("/new \n", Command("new", "")),
        ("/model  qwen2 7b \n", Command("model", "qwen2 7b")),
        ("/model", Command("model", "")),
        ("/system You are\nkind.", Command("system", "You are\nkind.")),
        ("//new", Literally("/new")),
        ("/etc/fstab is broken", Literally("/etc/fstab is broken")),
        (" /new", Literally(" /new")),
    ],
)
def test_a_text_is_a_command_or_what_it_says(text: str, expected: object) -> None:
    assert meaning(text, COMMANDS) == expected


@pytest.mark.parametrize(
    ("text", "words"), [("/", "no command / "), ("/nwe", "no command /nwe"), ("/new x", "/new takes nothing")]
)
def test_a_mistaken_command_is_explained(text: str, words: str) -> None:
    found = meaning(text, COMMANDS)
    assert isinstance(found, Mistake)
    assert words.strip() in found.sentence


@given(st.one_of(st.text(max_size=12), st.text(alphabet="/ \nnewx", max_size=12)))
def test_what_was_sent_is_written_as_it_has_to_be_typed(sent: str) -> None:
    assert meaning(as_typed(sent, COMMANDS), COMMANDS) == Literally(sent)
    assert as_typed(sent, ()) == sent


@pytest.mark.parametrize(
    ("sent", "typed"),
    [("/new", "//new"), ("/nwe x", "//nwe x"), ("//", "///"), ("/etc/fstab", "/etc/fstab"), ("a", "a")],
)
def test_a_slash_is_doubled_only_where_it_would_mean_something_else(sent: str, typed: str) -> None:
    assert as_typed(sent, COMMANDS) == typed


def test_without_commands_a_slash_is_a_slash() -> None:
    assert [meaning(text, ()) for text in ("/", "//x", "/new")] == [Literally("/"), Literally("//x"), Literally("/new")]


def test_the_commands_that_fit_come_best_first() -> None:
    items = [SlashItem("rename", ""), SlashItem("new", ""), SlashItem("model", "", "name")]
    assert [item.name for item, _ in commands_for("", items)] == ["rename", "new", "model"]
    assert [item.name for item, _ in commands_for("ne", items)] == ["new", "rename"]
    assert commands_for("zz", items) == []


def test_another_name_of_a_command_means_it_and_is_offered_where_it_is_typed() -> None:
    items = [SlashItem("next-message", ""), SlashItem("send-queue", "", None, (), ("send-queued", "go"))]
    assert meaning("/go", items) == Command("send-queue", "")
    assert [item.name for item, _ in commands_for("", items)] == ["next-message", "send-queue"]
    assert [item.name for item, _ in commands_for("send-queued", items)] == ["send-queue"]
    assert [item.name for item, _ in commands_for("go", items)] == ["send-queue"]
    old = [SlashItem("previous-code", "", None, (), ("code-up", "code-before")), SlashItem("copy-code", "")]
    assert [item.name for item, _ in commands_for("code", old)] == ["copy-code", "previous-code"]
    assert [item.name for item, _ in commands_for("code-", old)] == ["previous-code"]
    assert as_typed("/go", items) == "//go"


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("/model qw", Word("argument", 7, 9, "qw", ("qwen",))),
        ("/model  ", Word("argument", 8, 8, "", ("qwen",))),
        ("/model @a", Word("argument", 7, 9, "@a", ("qwen",))),
        ("/new @a", Word("path", 5, 7, "a")),
        ("/new a", None),
    ],
)
def test_what_follows_a_command_is_a_word_where_something_is_offered(line: str, word: Word | None) -> None:
    items = [SlashItem("model", "", "NAME", ("qwen",)), SlashItem("new", "")]
    assert word_at(line, len(line), 0, items) == word
    assert word_at(line, len(line), 1, items) is None or "@" in line


def order(query: str, paths: list[str]) -> list[str]:
    return [path for path, _ in paths_for(query, paths)]


def test_a_files_own_name_counts_more_than_its_folders() -> None:
    paths = ["main/other/notes.md", "docs/maintenance.md", "src/main.py"]
    assert order("main", paths)[0] == "src/main.py"
    assert order("sma", paths) == ["src/main.py", "docs/maintenance.md"]
    assert order("smap", paths) == ["src/main.py"]


def test_starts_of_words_count_more_than_scattered_letters() -> None:
    assert order("cp", ["scope.py", "composer_panel.py"]) == ["composer_panel.py", "scope.py"]


def test_a_whole_name_comes_before_longer_ones() -> None:
    assert order("chat.py", ["tui/chat.pyi", "tui/chat.py"])[0] == "tui/chat.py"


@given(st.text(max_size=8), st.text(max_size=30))
def test_a_match_names_the_querys_characters_in_order(query: str, candidate: str) -> None:
    match = fuzzy(query, candidate)
    if match is None:
        return
    assert len(match.positions) == len(query)
    assert list(match.positions) == sorted(set(match.positions))
    assert all(candidate[at].lower() == char.lower() for at, char in zip(match.positions, query, strict=True)) or any(
        len(text.lower()) != len(text) for text in (query, candidate)
    )


@given(st.text(alphabet="abc/._-AB", max_size=20), st.data())
def test_every_subsequence_is_found(candidate: str, data: st.DataObject) -> None:
    keep = data.draw(st.lists(st.booleans(), min_size=len(candidate), max_size=len(candidate)))
    query = "".join(char for char, kept in zip(candidate, keep, strict=True) if kept)
    assert fuzzy(query, candidate) is not None
    assert fuzzy(query.swapcase(), candidate) is not None
