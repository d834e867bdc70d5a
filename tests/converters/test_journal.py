"""The journal: what it says after any tear, and that no bytes can make it lie, crash or swell."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters import journal
from converters.journal import BATCH, LIMIT, Journal, State, read_journal
from converters.source import Consumed


def begin(path: Path, conversion: str = "abc", slabs: int = 1000) -> Journal:
    """A journal whose data needs no syncing."""
    return Journal(path, lambda: None, State(conversion, slabs, "here"))


def line(entry: Any) -> bytes:
    """A well-formed line, whatever it says."""
    text = json.dumps(entry).encode() + b"\n"
    return b"%08x %b" % (zlib.crc32(text), text)


HEAD = {"format": journal.FORMAT, "conversion": "abc", "slabs": 1000, "origin": ""}


@given(batches=st.lists(st.sets(st.integers(0, 999), max_size=30), max_size=8), undone=st.sets(st.integers(0, 999)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_what_was_committed_is_read_back(batches: list[set[int]], undone: set[int], tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.unlink(missing_ok=True)
    done: set[int] = set()
    for batch in batches:
        one = begin(path)
        assert one.state.done == done
        for number in batch:
            one.add(number, 1)
        one.flush()
        one.close()
        done |= batch
    one = begin(path)
    one.undo(undone)
    one.close()
    state = read_journal(path)
    assert state is not None
    assert (state.conversion, state.slabs, state.origin, state.done) == ("abc", 1000, "here", done - undone)


def test_every_tear_loses_only_the_last_entry_and_the_next_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j"
    one = begin(path)
    for number in (1, 2, 3):
        one.add(number, 1)
        one.flush()
    one.close()
    whole = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        intact = sum(end <= length for end in ends)
        torn = begin(path)
        assert torn.state.done == set(range(1, intact)) if intact else not torn.state.done
        torn.add(9, 1)
        torn.flush()
        torn.close()
        state = read_journal(path)
        assert state is not None
        assert state.done == set(range(1, max(intact, 1))) | {9}


@pytest.mark.parametrize("position", range(0, 120, 7))
def test_flipped_bits_end_what_is_believed(position: int, tmp_path: Path) -> None:
    path = tmp_path / "j"
    data = bytearray(line(HEAD) + line({"done": [[0, 10]]}) + line({"done": [[20, 30]]}))
    data[position] ^= 4
    path.write_bytes(data)
    state = read_journal(path)
    assert state is None or state.done <= set(range(10))


def test_journal_of_another_conversion_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "j"
    one = begin(path)
    one.add(1, 1)
    one.flush()
    one.close()
    for other in (begin(path, conversion="xyz"), begin(path, slabs=7)):
        assert not other.state.done
        other.close()


def test_data_reaches_the_disk_before_the_entry_that_speaks_of_it(tmp_path: Path) -> None:
    path = tmp_path / "j"
    seen: list[set[int]] = []

    def sync() -> None:
        state = read_journal(path)
        assert state is not None
        seen.append(set(state.done))

    one = Journal(path, sync, State("abc", 1000))
    for number in range(3):
        one.add(number, BATCH)
        one.flush()
    one.close()
    assert seen == [set(), {0}, {0, 1}]


def test_failed_sync_is_reported_and_nothing_is_claimed(tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError(5, os.strerror(5))

    path = tmp_path / "j"
    one = Journal(path, fail, State("abc", 1000))
    one.add(1, LIMIT)
    with pytest.raises(OSError):
        one.flush()
    one.close()
    state = read_journal(path)
    assert state is not None
    assert not state.done


def test_consumed_files_are_remembered_with_their_headers(tmp_path: Path) -> None:
    path = tmp_path / "j"
    one = begin(path)
    one.consume("model.safetensors", Consumed(1234, "1234 5", b"\x10\0\0\0" + b"x" * 1000))
    one.close()
    state = read_journal(path)
    assert state is not None
    assert state.consumed == {"model.safetensors": Consumed(1234, "1234 5", b"\x10\0\0\0" + b"x" * 1000)}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ENTRIES = ANYTHING | st.fixed_dictionaries(
    {},
    optional={
        "format": st.just(journal.FORMAT) | ANYTHING,
        "conversion": st.just("abc") | ANYTHING,
        "slabs": st.integers() | ANYTHING,
        "done": st.lists(st.lists(st.integers(-2, 2**70), max_size=3), max_size=2) | ANYTHING,
        "undo": ANYTHING,
        "consumed": st.text(max_size=5) | ANYTHING,
        "size": st.integers() | ANYTHING,
        "identity": st.text(max_size=5) | ANYTHING,
        "header": st.text(max_size=20) | ANYTHING,
    },
)


@given(head=st.just(HEAD) | ENTRIES, entries=st.lists(ENTRIES, max_size=4), rest=st.binary(max_size=50))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
def test_any_bytes_are_a_journal_or_none(head: Any, entries: list[Any], rest: bytes, tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(line(head) + b"".join(map(line, entries)) + rest)
    state = read_journal(path)
    if state is not None:
        assert all(0 <= slab < state.slabs for slab in state.done)
        assert state.length <= path.stat().st_size


@given(data=st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_noise_is_no_journal(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(data)
    assert read_journal(tmp_path / "j") is None


def test_claims_do_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(line({**HEAD, "slabs": 2**60}) + line({"done": [[0, 2**60]]}))
    state = read_journal(path)
    assert state is not None
    assert not state.done
    bomb = __import__("base64").b64encode(zlib.compress(bytes(200 << 20), 9)).decode()
    path.write_bytes(line(HEAD) + line({"consumed": "x", "size": 1, "identity": "", "header": bomb}))
    state = read_journal(path)
    assert state is None or all(len(file.header) <= 64 << 20 for file in state.consumed.values())
