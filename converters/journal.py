"""What of an output file is finished, on disk beside it, so that a killed conversion can go on.

One line per entry: the CRC-32 of the rest in eight hexadecimal digits, a space, a JSON object. The first line names
the conversion; the others list finished slabs, slabs to do again, and source files that were removed. An entry is
written only after the data that it speaks of has reached the disk, and a torn last line counts as not written.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.source import Consumed

FORMAT = 1
# A commit is due after this many bytes of the source, and work waits for the disk while more than the second number
# are not committed: with the few slabs in flight beside them, at most 64 MiB are done again after a kill.
BATCH = 16 << 20
LIMIT = 48 << 20
# The journal of a 72B model has less than 1 MB.
MAX_SIZE = 64 << 20


@dataclass
class State:
    """What a journal says: which conversion, its finished slabs, removed source files, and its valid length.

    ``origin`` is where the weights come from, for those who look for the same source again.
    """

    conversion: str
    slabs: int
    origin: str = ""
    done: set[int] = field(default_factory=set)
    consumed: dict[str, Consumed] = field(default_factory=dict)
    length: int = 0


def read_journal(path: Path) -> State | None:
    """Read a journal as far as it is intact; None if there is none or it makes no sense."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
    except OSError:
        return None
    state = None
    for line in data[:MAX_SIZE].splitlines(keepends=True):
        entry = _decode(line)
        if entry is None:
            break
        try:
            if state is None:
                state = _begin(entry)
            else:
                _apply(state, entry)
        except (KeyError, TypeError, ValueError):
            break
        state.length += len(line)
    return state


def _begin(entry: Mapping[str, Any]) -> State:
    if entry["format"] != FORMAT or not isinstance(entry["conversion"], str) or type(entry["slabs"]) is not int:
        raise ValueError
    return State(entry["conversion"], entry["slabs"], str(entry.get("origin", "")))


def _apply(state: State, entry: Mapping[str, Any]) -> None:
    if "done" in entry:
        for first, end in _ranges(entry["done"], state.slabs):
            state.done.update(range(first, end))
    elif "undo" in entry:
        for first, end in _ranges(entry["undo"], state.slabs):
            state.done.difference_update(range(first, end))
    else:
        name, size, identity = entry["consumed"], entry["size"], entry["identity"]
        if type(size) is not int or not isinstance(name, str) or not isinstance(identity, str):
            raise ValueError
        header = zlib.decompressobj().decompress(base64.b64decode(entry["header"], validate=True), MAX_SIZE)
        state.consumed[name] = Consumed(size, identity, header)


# More slabs than this no model has; a journal that claims them must not fill the memory.
_MOST_SLABS = 10_000_000


def _ranges(value: Any, slabs: int) -> list[tuple[int, int]]:
    ranges = [(first, end) for first, end in value]
    for first, end in ranges:
        if type(first) is not int or type(end) is not int or not 0 <= first < end <= min(slabs, _MOST_SLABS):
            raise ValueError
    return ranges


def _decode(line: bytes) -> dict[str, Any] | None:
    checksum, _, text = line.partition(b" ")
    try:
        intact = line.endswith(b"\n") and int(checksum, 16) == zlib.crc32(text)
        entry = json.loads(text) if intact else None
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _encode(entry: Mapping[str, Any]) -> bytes:
    text = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
    return b"%08x %b" % (zlib.crc32(text), text)


class Journal:
    """Records finished slabs; use it from one thread.

    A commit (the data's ``fdatasync``, then the entry) runs in a thread of its own, so that the workers go on.
    """

    def __init__(self, path: Path, sync_data: Callable[[], None], job: State) -> None:
        """Continue the journal at ``path`` if it is of the same conversion, else begin a new one.

        Args:
            path: the journal's file.
            sync_data: brings everything that was written to the output so far onto the disk.
            job: which conversion, its number of slabs, and where the weights come from.

        Raises:
            OSError: it cannot be written.
        """
        self.path = path
        self._sync_data = sync_data
        found = read_journal(path)
        same = found is not None and (found.conversion, found.slabs) == (job.conversion, job.slabs)
        self.state = found if found is not None and same else job
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        # What follows the last intact line is cut off, or the next entry would be lost with it.
        os.ftruncate(self._fd, self.state.length)
        if not same:
            self._append(
                {"format": FORMAT, "conversion": job.conversion, "slabs": job.slabs, "origin": job.origin},
            )
        self._open: list[int] = []
        self._open_bytes = 0
        self._running_bytes = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._running: Future[list[int]] | None = None

    def add(self, slab: int, source_bytes: int) -> None:
        """Note that a slab was written; commits when enough of them are.

        Raises:
            OSError: an earlier commit failed.
        """
        self._open.append(slab)
        self._open_bytes += source_bytes
        if self._idle():
            self._running_bytes = 0
        if self._open_bytes + self._running_bytes >= LIMIT or (self._open_bytes >= BATCH and not self._running_bytes):
            self._start()

    def flush(self) -> None:
        """Commit everything that was added. Raises OSError."""
        self._start()
        self._collect()

    def undo(self, slabs: Iterable[int]) -> None:
        """Take back finished slabs. Raises OSError."""
        self.flush()
        wrong = sorted(self.state.done.intersection(slabs))
        if wrong:
            self._append({"undo": _merge(wrong)})
            self.state.done.difference_update(wrong)

    def consume(self, name: str, file: Consumed) -> None:
        """Note that a source file is about to be removed. Raises OSError."""
        header = base64.b64encode(zlib.compress(file.header)).decode()
        self._append({"consumed": name, "size": file.size, "identity": file.identity, "header": header})
        self.state.consumed[name] = file

    def close(self) -> None:
        """Wait for a running commit and close the file."""
        self._thread.shutdown()
        os.close(self._fd)

    def _idle(self) -> bool:
        return self._running is None or self._running.done()

    def _collect(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            self.state.done.update(running.result())

    def _start(self) -> None:
        self._collect()
        if self._open:
            self._running = self._thread.submit(self._commit, self._open)
            self._running_bytes = self._open_bytes
            self._open, self._open_bytes = [], 0

    def _commit(self, slabs: list[int]) -> list[int]:
        self._sync_data()
        self._append({"done": _merge(sorted(slabs))})
        return slabs

    def _append(self, entry: Mapping[str, Any]) -> None:
        data = memoryview(_encode(entry))
        while data:
            data = data[os.write(self._fd, data) :]
        os.fdatasync(self._fd)


def _merge(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as half-open ranges."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number:
            ranges[-1][1] += 1
        else:
            ranges.append([number, number + 1])
    return ranges
