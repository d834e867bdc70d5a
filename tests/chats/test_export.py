from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localqwen.chats.as_json import from_json, to_json
from localqwen.chats.as_markdown import from_markdown, to_markdown
from localqwen.chats.attachment import Attachment
from localqwen.chats.export import export_chat, file_name, import_chat, read_file, write_whole
from localqwen.chats.fields import TransferError
from localqwen.chats.store import Store
from localqwen.chats.transfer import LATEST, Transfer, shown, whole
from localqwen.chats.tree import Chat, Message, Tree
from localqwen.events import Usage
from localqwen.params import SamplingParams

T = TypeVar("T")


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store.temporary()
    yield store
    store.close()


# What could be taken for the formats' own marks.
PIECES = [
    "\n", "\r\n", " ", "---\n", "## You\n\n", "## Assistant\n", "<!-- message ", '<!-- message {"kind": "file"} -->\n',
    "<!-- message-2 ", "-->", "```", "````\n", "File: a\n\n", "\u2028", "\x1b", "\0", "é", "😀", "{", '"', "title: 1\n",
]  # fmt: skip
texts = st.text(max_size=20) | st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
numbers = st.floats(0, 1e6)
BY_TYPE: dict[object, st.SearchStrategy[Any]] = {
    int: st.integers(0, 9),
    float: numbers,
    int | None: st.none() | st.integers(-(2**63) + 1, 2**63 - 1),
    float | None: st.none() | numbers,
    tuple[str, ...]: st.lists(texts, max_size=2).map(tuple),
}


def any_of(kind: type[T]) -> st.SearchStrategy[T]:
    """A dataclass with a value in every one of its fields."""
    return st.builds(kind, **{name: BY_TYPE[hint] for name, hint in get_type_hints(kind).items()})


params = any_of(SamplingParams)
usages = any_of(Usage)
files = st.lists(st.builds(Attachment, texts, texts), max_size=2).map(tuple)


@st.composite
def numbered(draw: st.DrawFn, number: int) -> Message:
    return Message(
        number,
        0,
        draw(st.none() | st.integers(1, number - 1)) if number > 1 else None,
        draw(st.sampled_from(["system", "user", "assistant"])),
        draw(texts),
        draw(st.sampled_from(["done", "stopped", "error"])),
        draw(st.floats(0, LATEST)),
        draw(st.none() | texts),
        draw(params),
        draw(st.none() | usages),
        draw(st.none() | texts),
        draw(files),
        draw(st.booleans()),
    )


@st.composite
def transfers(draw: st.DrawFn) -> Transfer:
    messages = [draw(numbered(number)) for number in range(1, draw(st.integers(0, 6)) + 1)]
    tip = draw(st.integers(1, len(messages))) if messages else None
    # Whole seconds: Markdown has dates to the microsecond.
    dates = [float(draw(st.integers(0, int(LATEST)))) for _ in range(2)]
    return Transfer(
        draw(texts), dates[0], dates[1], draw(texts), draw(params), tuple(messages), tip, draw(st.booleans())
    )


def path_of(transfer: Transfer) -> Transfer:
    """What of a transfer is on its path."""
    chat = Chat(1, transfer.title, transfer.tip, transfer.created, transfer.updated, "", transfer.pinned)
    path = shown(replace(chat, system=transfer.system, params=transfer.params), Tree(transfer.messages))
    return replace(path, messages=tuple(replace(one, chat_id=0) for one in path.messages))


@given(transfers())
def test_json_brings_back_the_whole_tree(transfer: Transfer) -> None:
    assert from_json(to_json(transfer)) == transfer


@given(transfers())
def test_markdown_brings_back_the_shown_path_whatever_the_texts_are(transfer: Transfer) -> None:
    assert from_markdown(to_markdown(transfer)) == path_of(transfer)


@given(transfers())
def test_a_store_gives_back_what_was_added(transfer: Transfer) -> None:
    store = Store.temporary()
    chat = store.add(transfer)
    assert whole(chat, store.tree(chat.id)) == transfer
    store.close()


def example(store: Store) -> Chat:
    chat = store.create_chat("Be brief.", SamplingParams(temperature=0.5))
    question = store.ask(chat.id, None, "# Capital of\n## You\n", [Attachment("map.txt", "```\nhere")])
    answer = store.begin_answer(chat.id, question.id, SamplingParams(seed=1))
    store.finish_answer(replace(answer, text="Tokyo", state="done", model="qwen2", usage=Usage(3, 2, 0, 0.5, 0.25)))
    other = store.branch(answer, "Kyoto")
    store.set_tip(chat.id, answer.id)
    assert other.id != answer.id
    return store.chat(chat.id)


def test_the_markdown_reads_like_a_conversation(store: Store) -> None:
    chat = example(store)
    text = to_markdown(shown(replace(chat, created=0.0, updated=1.5), store.tree(chat.id)))
    lines = [line for line in text.splitlines() if not line.startswith("<!-- message {")]
    assert lines == [
        "---", 'format: "localqwen-chat"', "version: 1", 'boundary: "message"', 'title: "# Capital of ## You"',
        'model: "qwen2"', 'created: "1970-01-01T00:00:00+00:00"', 'updated: "1970-01-01T00:00:01.500000+00:00"',
        "pinned: false", 'params: {"temperature": 0.5}', "---", "",
        "## System prompt", "", "Be brief.", "",
        "## You", "", "# Capital of", "## You", "", "",
        "File: map.txt", "", "````", "```", "here", "````", "",
        "## Assistant", "", "Tokyo",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["c.md", "c.JSON"])
def test_a_file_brings_a_conversation_into_another_store(store: Store, tmp_path: Path, name: str) -> None:
    chat = example(store)
    export_chat(chat, store.tree(chat.id), tmp_path / name)
    other = Store(tmp_path / "other.sqlite3")
    found = import_chat(other, tmp_path / name)
    assert found.title == chat.title
    assert (found.system, found.params) == (chat.system, chat.params)
    assert len(other.tree(found.id)) == (2 if name == "c.md" else 3)
    for here, there in zip(store.tree(chat.id).path(chat.tip), other.tree(found.id).path(found.tip), strict=True):
        assert replace(there, id=here.id, parent_id=here.parent_id, chat_id=here.chat_id) == here
    assert [hit.message_id for hit in other.search("tokyo")] == [found.tip]
    assert not list(tmp_path.glob(".*"))
    other.close()


def test_an_answer_that_is_being_written_is_exported_as_stopped(store: Store) -> None:
    chat = store.create_chat()
    question = store.ask(chat.id, None, "q")
    store.begin_answer(chat.id, question.id, SamplingParams())
    exported = whole(store.chat(chat.id), store.tree(chat.id))
    assert [message.state for message in exported.messages] == ["done", "stopped"]


def test_an_editor_that_changes_line_ends_or_adds_a_mark_is_forgiven(store: Store, tmp_path: Path) -> None:
    chat = example(store)
    text = to_markdown(shown(chat, store.tree(chat.id)))
    (tmp_path / "c.md").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_file(tmp_path / "c.md") == from_markdown(text)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.md"
    path.write_text("old")

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TransferError, match=r"cannot write .*c\.md: No space left on device; choose another place"):
        write_whole(path, b"new")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("c.md", "old")]


def test_only_known_endings_are_written(store: Store, tmp_path: Path) -> None:
    chat = example(store)
    with pytest.raises(TransferError, match=r"name it \.md for Markdown or \.json for JSON"):
        export_chat(chat, store.tree(chat.id), tmp_path / "c.txt")
    with pytest.raises(TransferError, match="cannot read"):
        read_file(tmp_path / "missing.md")


def changed(**changes: Any) -> str:
    transfer = Transfer("t", 1.0, 1.0, "", SamplingParams(), (Message(1, 0, None, "user", "x", "done", 1.0),), 1)
    document = json.loads(to_json(transfer))
    for name, value in changes.items():
        place = document["messages"][0] if name in document["messages"][0] else document
        place[name] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "it has no front matter"),
        ("# Notes\n", "it has no front matter"),
        ("---\ntitle: x\n---\n", "the front matter is no JSON"),
        ("---\nwords\n---\n", "a line without a colon"),
        ('---\ntitle: "x"\n---\n', "it does not say 'localqwen-chat'"),
        ("{}", "it does not say 'localqwen-chat'"),
        ('{"format": 3}', "no proper 'format'"),
        ("{", "the file is no JSON"),
        ("[" * 100_000, "it has no front matter"),
        ('{"a":' * 100_000, "the file is no JSON"),
        (changed(version=2), "a newer localqwen wrote it; update this one"),
        (changed(version="1"), "no proper 'version'"),
        (changed(title=None), "no proper 'title'"),
        (changed(role="tool"), "message 1 has no proper 'role'"),
        (changed(state="streaming"), "message 1 has no proper 'state'"),
        (changed(text=["x"]), "message 1 has no proper 'text'"),
        (changed(parent=1), "answers a message that does not come before it"),
        (changed(id=None), "has no 'id' of its own"),
        (changed(tip=7), "which message is shown last"),
        (changed(tip=None), "which message is shown last"),
        (changed(updated=1e300), "no proper 'updated'"),
        (changed(updated=10**400), "no proper 'updated'"),
        (changed(messages=[3]), "message 1 is no object"),
        (changed(params={"temperature": "hot"}), "no proper 'temperature'"),
        (changed(params={"seed": 2**64}), "no proper 'seed'"),
        (changed(params={"top_k": 1.5}), "no proper 'top_k'"),
        (changed(params={"stop": [1]}), "no proper 'stop'"),
        (changed(pinned=1), "no proper 'pinned'"),
        (changed(attachments=[{"name": "x"}]), "attachment 1 has no proper 'text'"),
        (changed().replace('"title"', '"x": NaN, "title"'), "NaN is no number"),
    ],
)
def test_anything_else_is_refused_with_a_sentence(store: Store, tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "c.md"
    path.write_text(content)
    with pytest.raises(TransferError) as caught:
        import_chat(store, path)
    assert str(caught.value).startswith(f"cannot import {path}: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert store.chats() == []


def test_bytes_and_pictures_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(b"\x89PNG\r\n\xff")
    with pytest.raises(TransferError, match="no text in UTF-8"):
        read_file(path)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda text: text.replace("## You\n\n", ""), "section 2 has no heading"),
        (lambda text: text.replace("````\n```", "```\n```"), "section 3 is no file in a fence"),
        (lambda text: text.replace('"kind": "message"', '"kind": "poem"'), "section 2 has no proper 'kind'"),
        (lambda text: text.replace("<!-- message {", "<!-- message {{"), "is no JSON"),
        (lambda text: text.replace('"system"}', '"file", "name": "x"}'), "a file without a message"),
        (lambda text: text.replace("created:", 'created: "noon"\nx:', 1), "no proper 'created'"),
    ],
)
def test_a_damaged_export_is_refused_with_the_place(store: Store, damage: Any, complaint: str) -> None:
    chat = example(store)
    text = damage(to_markdown(shown(chat, store.tree(chat.id))))
    if complaint == "no proper 'created'":
        text = text.replace("x: ", '"x": ', 1)
    with pytest.raises(TransferError) as caught:
        from_markdown(text)
    assert complaint in str(caught.value)


@given(st.text())
def test_the_name_of_an_export_suits_every_file_system(title: str) -> None:
    name = file_name(title, ".md")
    assert not set(name) & set('/\\:*?"<>|\0\n ')
    assert len(name.encode("utf-8", "replace")) <= 255
    assert name not in {".md", "..md"}
    assert file_name("What is\n this/that?", ".md") == "what-is-this-that.md"
