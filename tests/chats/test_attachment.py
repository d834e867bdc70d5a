from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from localqwen.chats.attachment import Attachment, content_of, fenced
from localqwen.chats.tree import Message, history, is_continuation, resumable


def test_files_come_before_what_was_typed() -> None:
    files = [Attachment("a.py", "print(1)\n"), Attachment("b\nc.txt", "x")]
    assert content_of("Why?", files) == "File: a.py\n```\nprint(1)\n```\n\nFile: b c.txt\n```\nx\n```\n\nWhy?"
    assert content_of("Why?", []) == "Why?"
    assert content_of("", files[1:]) == "File: b c.txt\n```\nx\n```"


@given(st.text(st.sampled_from("`~ab\n")))
def test_nothing_in_a_file_closes_its_fence(text: str) -> None:
    first, *inside, last = fenced(text).split("\n")
    assert first == last
    assert re.fullmatch("`{3,}", first)
    assert not any(first in line for line in inside)


def message(number: int, role: str, text: str, state: str = "done", files: tuple[Attachment, ...] = ()) -> Message:
    return Message(number, 1, number - 1 or None, role, text, state, 0.0, attachments=files)  # type: ignore[arg-type]


def test_the_system_prompt_comes_first_and_a_file_without_words_is_told() -> None:
    path = [message(1, "user", "", files=(Attachment("a", "b"),))]
    assert history(path, "Be brief.") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "File: a\n```\nb\n```"},
    ]
    assert [one["role"] for one in history(path, " \n")] == ["user"]


def test_a_history_that_ends_with_an_answer_asks_for_more_of_it() -> None:
    path = [message(1, "user", "q"), message(2, "assistant", "half", "stopped")]
    assert is_continuation(history(path))
    assert resumable(path) == path[-1]
    assert not is_continuation(history(path[:1]))
    assert not is_continuation([])
    assert resumable(path[:1]) is None
    assert resumable([]) is None
    assert resumable([path[0], message(2, "assistant", "half", "streaming")]) is None
