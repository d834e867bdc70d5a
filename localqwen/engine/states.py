"""Evicted conversations on disk: written atomically, bounded, and restored bit for bit or not at all.

A file is llama.cpp's own (``llama_state_seq_save_file``), whose list of tokens begins with a header of ours: llama.cpp
would load a state into a context with another model's weights or other positions without a word. In 32-bit words::

    ggsq version count | magic version length-of-json sha256[8] json... token...   | K and V
    '---- llama.cpp --'  '-------------------- "tokens" of llama.cpp ------------'

The digest covers the whole file with the digest's own place zeroed. Nothing depends on these files: one that is
missing, cut or damaged costs a prefill.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from localqwen.engine.context import Context
from localqwen.engine.rope import Rope

MAGIC, VERSION = 0x6C717773, 1
WORD = 4
OURS = 3 * WORD  # where llama.cpp's list of tokens begins
DIGEST_AT, DIGEST_BYTES = OURS + 3 * WORD, 32
SUFFIX, UNFINISHED = ".state", ".part"
SPARE_BYTES = 1 << 30  # what is left of the disk to everybody else
BLOCK = 1 << 20
DEFAULT_LIMIT = 16_000_000_000  # bytes; a conversation of 32768 tokens with Qwen2-72B takes 10.7 GB
DEFAULT_SHARE = 4  # of what is free at the most one part in so many

log = logging.getLogger(__name__)

Tokens = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """A file, the ``rope`` that its K is turned to, the one it was ``computed`` under if another, and its tokens."""

    path: Path
    rope: Rope
    tokens: Tokens
    computed: Rope | None = None

    @property
    def header_words(self) -> int:
        """How many 32-bit words llama.cpp takes for tokens."""
        with self.path.open("rb") as file:
            return int(struct.unpack("<3I", file.read(OURS))[2])


class SavedStates:
    """The files of one model in a folder that several models (and processes) may share."""

    def __init__(self, folder: Path, limit: int, identity: Mapping[str, object]) -> None:
        """``limit`` is in bytes for the whole folder; ``identity`` is what a state depends on beside its rope."""
        self._folder = folder
        self._limit = limit
        self._identity = dict(identity)
        self._prefix = hashlib.sha256(json.dumps(self._identity, sort_keys=True).encode()).hexdigest()[:16]
        self._states = list(filter(None, map(self._read, folder.glob(f"{self._prefix}-*{SUFFIX}"))))
        for leftover in folder.glob(f"*{UNFINISHED}"):  # of a process that was killed
            if not _is_running(leftover):
                leftover.unlink(missing_ok=True)

    def best(self, rope: Rope, tokens: Sequence[int]) -> tuple[Saved | None, int]:
        """The state with the longest beginning in common with ``tokens``, and that length."""
        candidates = [state for state in self._states if state.rope == rope]
        if not candidates:
            return None, 0
        wanted = np.asarray(tokens, np.int32)
        lengths = [_common_prefix(state.tokens, wanted) for state in candidates]
        longest = max(lengths)
        return (candidates[lengths.index(longest)], longest) if longest else (None, 0)

    def save(
        self,
        context: Context,
        sequence: int,
        tokens: Sequence[int],
        expected_bytes: int,
        computed: Rope | None = None,
    ) -> bool:
        """Write a sequence that holds ``tokens``; return whether it is on disk now. Older files may have to go.

        ``computed`` is the scaling that it was computed under, if not the context's.
        """
        rope = context.options.rope
        words = np.asarray(tokens, np.int32)
        if self._has(rope, words):
            return True
        if not self._make_room(expected_bytes):
            return False
        name = hashlib.sha256(json.dumps(asdict(rope)).encode() + words.tobytes()).hexdigest()[:16]
        path = self._folder / f"{self._prefix}-{name}{SUFFIX}"
        part = path.with_name(f"{path.name}.{os.getpid()}{UNFINISHED}")
        try:
            context.save(sequence, part, self._header(rope, computed) + words.tolist())
            with part.open("r+b") as file:
                digest = _digest(part)
                file.seek(DIGEST_AT)
                file.write(digest)
            # First of all the shorter ones: one whose file somebody has removed may have had this very name.
            self._forget([state for state in self._states if state.rope == rope and _begins(words, state.tokens)])
            part.replace(path)
        except OSError as error:
            log.warning("A conversation's state could not be saved: %s", error)
            part.unlink(missing_ok=True)
            return False
        self._states.append(Saved(path, rope, words, computed))
        return True

    def restore(self, context: Context, sequence: int, state: Saved) -> bool:
        """Fill an empty sequence; a file that is not as it was written is removed, and False returned."""
        try:
            with state.path.open("rb") as file:
                intact = _digest(state.path) == file.read(DIGEST_AT + DIGEST_BYTES)[DIGEST_AT:]
            if intact and context.load(sequence, state.path, state.header_words):
                os.utime(state.path)  # the least recently used go first
                return True
        except (OSError, struct.error):
            intact = False
        if not intact:
            log.warning("%s is damaged and was removed", state.path)
        self._forget([state])
        return False

    def _has(self, rope: Rope, words: Tokens) -> bool:
        """Whether a file holds all of these tokens, or more, which is then as if it had been written now."""
        for state in self._states:
            if state.rope == rope and _begins(state.tokens, words):
                with suppress(OSError):
                    os.utime(state.path)
                    return True
        return False

    def _header(self, rope: Rope, computed: Rope | None) -> list[int]:
        ropes = {"rope": asdict(rope), "computed": asdict(computed or rope)}
        text = json.dumps({**self._identity, **ropes}).encode()
        padded = text.ljust(-(-len(text) // WORD) * WORD)
        return [MAGIC, VERSION, len(padded), *([0] * (DIGEST_BYTES // WORD)), *np.frombuffer(padded, np.int32).tolist()]

    def _read(self, path: Path) -> Saved | None:
        """What a file says it is; ``None`` for another model's or an unreadable one."""
        try:
            with path.open("rb") as file:
                count = struct.unpack("<3I", file.read(OURS))[2]
                words = np.fromfile(file, np.int32, count)
            magic, version, length = words[:3].tolist()
            start = (DIGEST_AT + DIGEST_BYTES - OURS) // WORD
            end = start + length // WORD
            header = json.loads(words[start:end].tobytes())
            rope, computed = Rope(**header.pop("rope")), Rope(**header.pop("computed"))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, struct.error):
            return None
        known = (magic, version) == (MAGIC, VERSION) and header == self._identity and len(words) == count
        return Saved(path, rope, words[end:], computed if computed != rope else None) if known else None

    def _make_room(self, expected: int) -> bool:
        """Remove the oldest files, of any model, until ``expected`` bytes more are within the limit."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            free = shutil.disk_usage(self._folder).free - SPARE_BYTES
        except OSError:
            return False
        if expected > min(self._limit, free):
            return False
        files = []
        for path in self._folder.glob(f"*{SUFFIX}"):
            with suppress(OSError):  # another process may have removed it
                stat = path.stat()
                files.append((stat.st_mtime_ns, stat.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total + expected <= self._limit:
                break
            path.unlink(missing_ok=True)
            total -= size
        self._states = [state for state in self._states if state.path.exists()]
        return True

    def _forget(self, gone: Sequence[Saved]) -> None:
        for state in gone:
            state.path.unlink(missing_ok=True)
        self._states = [state for state in self._states if state not in gone]


def default_limit(folder: Path) -> int:
    """How many bytes the files may take when nobody said: no large part of what is free on the disk."""
    while not folder.exists():
        folder = folder.parent
    return min(DEFAULT_LIMIT, shutil.disk_usage(folder).free // DEFAULT_SHARE)


def model_digest(parts: Sequence[Path]) -> str:
    """Tells models apart without reading all of them: sizes, the beginnings, and blocks spread over the weights."""
    digest = hashlib.sha256()
    for path in parts:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            digest.update(size.to_bytes(8, "little"))
            file.seek(0)
            digest.update(file.read(8 * BLOCK))
            for at in range(0, size, max(BLOCK, size // 256)):
                file.seek(at)
                digest.update(file.read(BLOCK // 16))
            file.seek(max(0, size - BLOCK))
            digest.update(file.read())
    return digest.hexdigest()


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        head = bytearray(file.read(DIGEST_AT + DIGEST_BYTES))
        head[DIGEST_AT:] = bytes(DIGEST_BYTES)
        digest.update(head)
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.digest()


def _common_prefix(first: Tokens, second: Tokens) -> int:
    shorter = min(len(first), len(second))
    different = np.flatnonzero(first[:shorter] != second[:shorter])
    return int(different[0]) if len(different) else shorter


def _begins(long: Tokens, short: Tokens) -> bool:
    return _common_prefix(long, short) == len(short)


def _is_running(part: Path) -> bool:
    """Whether the process whose number an unfinished file's name carries is still there."""
    try:
        os.kill(int(part.name.split(".")[-2]), 0)
    except (ProcessLookupError, ValueError, IndexError):
        return False
    except PermissionError:
        return True
    return True
