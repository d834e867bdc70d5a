"""Weights that come over a network: fetched ahead in order by a few connections, hashed, and handed out once.

A pass says which reads will come (``expect``). Files of which nothing was taken before are fetched whole, so that
their SHA-256 can be compared with the one their publisher announced; of others only what is wanted. Segments are handed
out only after they went through the hash in file order, so a file is never finished before its digest is known.
"""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_right
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from converters.errors import DamagedFileError, ResumableError
from converters.source import Bytes, Range

if TYPE_CHECKING:
    from hashlib import _Hash

SEGMENT = 16 << 20
CONNECTIONS = 4
# Segments in memory: those that are being fetched, and two that are being consumed.
WINDOW = CONNECTIONS + 2


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """Length, the published SHA-256 (if any), and a text that changes with the content."""

    size: int
    sha256: str | None
    identity: str


class Fetcher(Protocol):
    """Byte-range reads that try again by themselves; called from several threads."""

    def fetch(self, name: str, offset: int, target: Bytes) -> None:
        """Fill ``target`` from ``offset`` of file ``name``. Raises a ConversionError."""

    def stop(self) -> None:
        """Let fetches that are under way fail soon."""


@dataclass(slots=True)
class _Segment:
    name: str
    begin: int
    end: int
    last: bool  # of a file that is fetched whole
    hashed: bool
    left: int = 0  # bytes that readers will still take
    data: Bytes | None = None


@dataclass
class _Queue:
    """Segments in the order of their fetching; every field is guarded by ``RemoteWeights._changed``."""

    segments: list[_Segment] = field(default_factory=list)
    begins: dict[str, list[int]] = field(default_factory=dict)  # of each file's segments
    first: dict[str, int] = field(default_factory=dict)  # number of each file's first segment
    fetched: int = 0  # the next one to be fetched
    ready: int = 0  # those before it went through the hash
    live: int = 0  # in memory, or being fetched
    spare: list[Bytes] = field(default_factory=list)  # buffers that nobody uses


class RemoteWeights:
    """The safetensors files of a remote checkpoint (a :class:`converters.source.Weights`).

    ``verified`` are the files whose SHA-256 was compared.
    """

    def __init__(
        self, fetcher: Fetcher, files: Mapping[str, RemoteFile], origin: str = "", segment: int | None = None
    ) -> None:
        """``segment`` is the size of one request in bytes, by default ``SEGMENT``; a read may be longer."""
        self.origin = origin
        self.verified: set[str] = set()
        self._fetcher = fetcher
        self._files = files
        self._segment = segment or SEGMENT
        self._changed = threading.Condition()
        self._queue = _Queue()
        self._failure: BaseException | None = None
        self._closed = False
        self._hashing = False
        self._hash: _Hash = hashlib.sha256()
        self._threads: list[threading.Thread] = []

    def names(self) -> list[str]:
        """All files."""
        return sorted(self._files)

    def size(self, name: str) -> int:
        """Length in bytes."""
        return self._files[name].size

    def identity(self, name: str) -> str:
        """The publisher's own."""
        return self._files[name].identity

    @property
    def memory(self) -> int:
        """Bytes that the segments in memory take at most."""
        return WINDOW * self._segment

    def expect(self, reads: Iterable[Range], untouched: Container[str]) -> None:
        """Begin to fetch. ``reads`` must be in order of file and offset, and come in about that order."""
        wanted: dict[str, list[Range]] = {}
        for read in reads:
            wanted.setdefault(read.name, []).append(read)
        window = WINDOW
        for name, ranges in wanted.items():
            self._plan(name, ranges, whole=name in untouched and self._files[name].sha256 is not None)
            # However long a read is, all of it must fit into the window beside another one.
            window = max(window, 2 + 2 * -(-max(read.nbytes for read in ranges) // self._segment))
        self._threads = [
            threading.Thread(target=self._run, args=(window,), name=f"fetch-{number}", daemon=True)
            for number in range(min(CONNECTIONS, len(self._queue.segments)))
        ]
        for thread in self._threads:
            thread.start()

    def read(self, name: str, offset: int, target: Bytes) -> None:
        """Fill ``target``: what was expected comes from the segments, anything else is fetched now.

        Raises:
            ResumableError: the network failed for too long.
            DamagedFileError: the file has another SHA-256 than its publisher announced.
        """
        queue, end = self._queue, offset + target.nbytes
        begins = queue.begins.get(name)
        if begins is None:
            self._fetcher.fetch(name, offset, target)
            return
        position = offset
        number = queue.first[name] + bisect_right(begins, offset) - 1
        while position < end:
            segment = queue.segments[number]
            data = self._wait(number)
            upto = min(end, segment.end)
            target[position - offset : upto - offset] = data[position - segment.begin : upto - segment.begin]
            with self._changed:
                segment.left -= upto - position
                self._release(segment)
            position, number = upto, number + 1

    def check(self) -> None:
        """Wait until everything went through its digest; a revision itself does not change.

        Raises:
            DamagedFileError: one of the files is not what its publisher announced.
        """
        queue = self._queue
        with self._changed:
            self._changed.wait_for(lambda: queue.ready == len(queue.segments) or self._failure or self._closed)
            if self._failure is not None:
                raise self._failure

    def remove(self, name: str) -> None:
        """There is nothing on this machine to remove."""

    def interrupt(self) -> None:
        """Stop fetching; reads that wait fail."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._fetcher.stop()

    def close(self) -> None:
        """Stop fetching."""
        self.interrupt()
        for thread in self._threads:
            thread.join(timeout=1)

    def _plan(self, name: str, reads: list[Range], *, whole: bool) -> None:
        queue, file = self._queue, self._files[name]
        stretches = [(0, file.size)] if whole else _coalesce(reads)
        queue.first[name] = len(queue.segments)
        for begin, end in stretches:
            for at in range(begin, end, self._segment):
                upto = min(at + self._segment, end)
                queue.segments.append(_Segment(name, at, upto, whole and upto == file.size, whole))
        mine = queue.segments[queue.first[name] :]
        queue.begins[name] = begins = [segment.begin for segment in mine]
        for read in reads:
            position, number = read.offset, bisect_right(begins, read.offset) - 1
            while position < read.offset + read.nbytes:
                upto = min(read.offset + read.nbytes, mine[number].end)
                mine[number].left += upto - position
                position, number = upto, number + 1

    def _run(self, window: int) -> None:
        queue = self._queue
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._over() or queue.live < window)
                if self._over():
                    return
                segment = queue.segments[queue.fetched]
                queue.fetched += 1
                queue.live += 1
                # Used again: the allocator would keep more of what is freed and asked for in turn by several threads.
                data = queue.spare.pop() if queue.spare else np.empty(self._segment, np.uint8)
            try:
                self._fetcher.fetch(segment.name, segment.begin, data[: segment.end - segment.begin])
                with self._changed:
                    segment.data = data
                self._advance()
            except BaseException as error:
                with self._changed:
                    self._failure = self._failure or error
                    self._changed.notify_all()
                return

    def _over(self) -> bool:
        return self._closed or self._failure is not None or self._queue.fetched >= len(self._queue.segments)

    def _advance(self) -> None:
        """Put fetched segments through the hash, in order; whichever thread comes first does it for all."""
        queue = self._queue
        while True:
            with self._changed:
                if self._hashing or queue.ready >= len(queue.segments):
                    return
                segment = queue.segments[queue.ready]
                data = segment.data
                if data is None:
                    return
                self._hashing = True
            if segment.hashed:
                self._digest(segment, data)
            with self._changed:
                # At once, or another thread would take the same segment.
                self._hashing = False
                queue.ready += 1
                self._release(segment)
                self._changed.notify_all()

    def _digest(self, segment: _Segment, data: Bytes) -> None:
        self._hash.update(data[: segment.end - segment.begin].data)
        if segment.last:
            found, self._hash = self._hash.hexdigest(), hashlib.sha256()
            if found != self._files[segment.name].sha256:
                raise DamagedFileError(
                    segment.name,
                    f"{segment.name} did not arrive as it was published (its SHA-256 is {found[:12]}…): "
                    "run the same command again, which downloads that file again.",
                )
            self.verified.add(segment.name)

    def _wait(self, number: int) -> Bytes:
        queue = self._queue
        with self._changed:
            self._changed.wait_for(lambda: queue.ready > number or self._failure is not None or self._closed)
            if self._failure is not None:
                raise self._failure
            data = queue.segments[number].data
            if self._closed or data is None:
                raise ResumableError("The download was stopped: run the same command again, and it goes on.")
            return data

    def _release(self, segment: _Segment) -> None:
        if segment.left == 0 and segment.data is not None:
            self._queue.spare.append(segment.data)
            segment.data = None
            self._queue.live -= 1
            self._changed.notify_all()


def _coalesce(reads: list[Range]) -> list[tuple[int, int]]:
    """Ascending ranges as stretches without gaps."""
    stretches: list[tuple[int, int]] = []
    for read in reads:
        if stretches and stretches[-1][1] == read.offset:
            stretches[-1] = stretches[-1][0], read.offset + read.nbytes
        else:
            stretches.append((read.offset, read.offset + read.nbytes))
    return stretches
