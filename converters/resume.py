"""When a journal may be continued, and when a source file may go."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence

from converters.checkpoint import Checkpoint
from converters.errors import ConversionError, ResumableError
from converters.journal import FORMAT
from converters.safetensors import header_bytes
from converters.slabs import Slab
from converters.source import Consumed
from converters.writer import OutputFile


def fingerprint(checkpoint: Checkpoint, header: bytes, slabs: Sequence[Slab], options: Mapping[str, str]) -> str:
    """A digest of everything that decides the output's bytes and what each slab's number means.

    Args:
        checkpoint: its files count with size and time (or the hub's digest).
        header: of the output: metadata, types and offsets.
        slabs: all of them, in the order of their numbers.
        options: whatever else changes bytes, such as the digest of an importance matrix.
    """
    digest = hashlib.sha256(header)
    weights = checkpoint.weights
    files = {name: weights.identity(name) for name in sorted({slab.source.name for slab in slabs})}
    digest.update(json.dumps([FORMAT, dict(sorted(options.items())), files]).encode())
    for slab in slabs:
        digest.update(f"{slab.source} {slab.kind} {slab.offset}\n".encode())
    return digest.hexdigest()


def refuse_links(checkpoint: Checkpoint, slabs: Sequence[Slab]) -> None:
    """Check that the files that the slabs come from can be removed.

    Raises:
        ConversionError: one of them is a link: what it points to may be needed elsewhere, and removing the link alone
            frees nothing.
    """
    for name in sorted({slab.source.name for slab in slabs}):
        if (path := checkpoint.directory / name).is_symlink():
            raise ConversionError(f"{path} is a link to a file elsewhere: run without --delete-shards.")


class Remover:
    """Removes source files as they are consumed: never before every one of their slabs is in the journal."""

    def __init__(self, checkpoint: Checkpoint, slabs: Sequence[Slab], output: OutputFile) -> None:
        self._checkpoint = checkpoint
        self._output = output
        self._names = [slab.source.name for slab in slabs]
        self._left = Counter(self._names)
        self._seen: set[int] = set()

    def look(self) -> None:
        """Remove the files whose last slab became durable since the last call."""
        done = self._output.journal.state.done
        if len(done) == len(self._seen):
            return
        for number in done - self._seen:
            self._left[self._names[number]] -= 1
        self._seen = set(done)
        for name in [name for name, left in self._left.items() if left == 0]:
            del self._left[name]
            self._remove(name)

    def _remove(self, name: str) -> None:
        path, weights = self._checkpoint.directory / name, self._checkpoint.weights
        if path.exists():
            header = header_bytes(path, weights)
            self._output.consume(name, Consumed(weights.size(name), weights.identity(name), header))
            try:
                weights.remove(name)
            except OSError as error:
                raise ResumableError(f"Cannot remove {path}: {error.strerror}; run without --delete-shards.") from error
