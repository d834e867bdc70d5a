"""Reading ahead: whatever is asked for in order comes back right, in bounded memory, and nothing waits for ever."""

from __future__ import annotations

import hashlib
import threading
from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.errors import ConversionError, DamagedFileError, ResumableError
from converters.readahead import CONNECTIONS, RemoteFile, RemoteWeights
from converters.source import Bytes, Range
from converters.workers import in_threads


class Memory:
    """A fetcher over bytes in memory that counts what it hands out."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.fetched: list[Range] = []
        self.stopped = threading.Event()

    def fetch(self, name: str, offset: int, target: Bytes) -> None:
        self.fetched.append(Range(name, offset, target.nbytes))
        target[:] = np.frombuffer(self.files[name], np.uint8)[offset : offset + target.nbytes]

    def stop(self) -> None:
        self.stopped.set()


def remote(fetcher: Memory, segment: int) -> RemoteWeights:
    """All of its files, with their digests."""
    files = {
        name: RemoteFile(len(data), hashlib.sha256(data).hexdigest(), name) for name, data in fetcher.files.items()
    }
    return RemoteWeights(fetcher, files, segment=segment)


FILES = {"a": bytes(range(251)) * 9, "b": b"bee" * 100, "c": bytes(7)}


@st.composite
def ordered_reads(draw: st.DrawFn) -> list[Range]:
    """Reads in the order of files and offsets, with gaps."""
    reads = []
    for name, data in FILES.items():
        cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=20)))
        pieces = [Range(name, begin, end - begin) for begin, end in pairwise(cuts)]
        reads += [piece for piece in pieces if draw(st.booleans())]
    return reads


@settings(deadline=None, max_examples=100)
@given(reads=ordered_reads(), segment=st.integers(1, 3000), untouched=st.sets(st.sampled_from("abc")))
def test_every_read_brings_its_bytes(reads: list[Range], segment: int, untouched: set[str]) -> None:
    fetcher = Memory(FILES)
    with closing(remote(fetcher, segment)) as weights:
        weights.expect(reads, untouched)

        def read(number: int) -> int:
            name, offset, nbytes = reads[number]
            target = np.empty(nbytes, np.uint8)
            weights.read(name, offset, target)
            assert target.tobytes() == FILES[name][offset : offset + nbytes]
            return number

        assert sorted(in_threads(read, iter(range(len(reads))), 3, weights.interrupt)) == list(range(len(reads)))
        weights.check()
        needed = {read.name for read in reads}
        assert weights.verified == needed & untouched
        whole = sum(len(FILES[name]) for name in needed & untouched)
        rest = sum(read.nbytes for read in reads if read.name not in untouched)
        assert sum(one.nbytes for one in fetcher.fetched) == whole + rest


def test_nobody_reads_further_ahead_than_the_window() -> None:
    fetcher = Memory({"a": bytes(100_000)})
    with closing(remote(fetcher, 100)) as weights:
        weights.expect([Range("a", at, 100) for at in range(0, 100_000, 100)], {"a"})
        for at in range(0, 50_000, 100):
            weights.read("a", at, np.empty(100, np.uint8))
            assert len(fetcher.fetched) <= at // 100 + 1 + CONNECTIONS + 2


def test_wrong_bytes_are_noticed_before_the_last_of_them_are_handed_out() -> None:
    fetcher = Memory({"a": bytes(1000)})
    weights = RemoteWeights(fetcher, {"a": RemoteFile(1000, "0" * 64, "a")}, segment=100)
    with closing(weights):
        weights.expect([Range("a", 0, 500), Range("a", 500, 500)], {"a"})
        with pytest.raises(DamagedFileError, match=r"^a did not arrive"):
            weights.read("a", 500, np.empty(500, np.uint8))


def test_failure_reaches_every_reader() -> None:
    class Broken(Memory):
        def fetch(self, name: str, offset: int, target: Bytes) -> None:
            raise ResumableError("The line is down.")

    with closing(remote(Broken({"a": bytes(1000)}), 100)) as weights:
        weights.expect([Range("a", 0, 500), Range("a", 500, 500)], set())
        for offset in (0, 500):
            with pytest.raises(ResumableError, match="line is down"):
                weights.read("a", offset, np.empty(500, np.uint8))


def test_interrupt_frees_a_reader_that_waits() -> None:
    class Silent(Memory):
        def fetch(self, name: str, offset: int, target: Bytes) -> None:
            waiting.set()
            self.stopped.wait()

    waiting = threading.Event()
    failures: list[ConversionError] = []
    with closing(remote(Silent({"a": bytes(1000)}), 100)) as weights:
        weights.expect([Range("a", 0, 1000)], set())

        def read() -> None:
            with pytest.raises(ResumableError) as caught:
                weights.read("a", 0, np.empty(1000, np.uint8))
            failures.append(caught.value)

        reader = threading.Thread(target=read)
        reader.start()
        waiting.wait()
        weights.interrupt()
        reader.join(timeout=10)
    assert "stopped" in str(failures[0])
