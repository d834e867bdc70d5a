"""Ready-made GGUF files: chosen, downloaded in pieces, resumed, and verified."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from converters.convert import Progress
from converters.errors import CheckpointError, ConversionError, DamagedFileError
from converters.readahead import SEGMENT, RemoteWeights
from converters.source import Range
from converters.workers import in_threads
from converters.writer import OutputFile, check_target
from localqwen.hub.http import Patience
from localqwen.hub.repository import Repository

# llama.cpp finds the other parts of a split model by this form of its first part's name.
SPLIT = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")


def choose(repository: Repository, type_: str) -> list[str]:
    """The files of the one GGUF of that type in a repository: one, or all parts in order.

    Raises:
        ConversionError: there is none, there are several, or a part is missing.
    """
    models = sorted({_first_part(name) for name in repository.files if name.endswith(".gguf")})
    pattern = re.compile(rf"(?<![A-Za-z0-9_]){re.escape(type_)}(?![A-Za-z0-9_])", re.IGNORECASE)
    fitting = [name for name in models if pattern.search(name)]
    if len(fitting) != 1:
        count = "no GGUF" if not fitting else f"{len(fitting)} GGUFs"
        listed = ", ".join((fitting or models)[:8])
        raise ConversionError(
            f"{repository.name} has {count} of type {type_}: give one as {repository.name}/FILE, from {listed}."
        )
    return parts(repository, fitting[0])


def parts(repository: Repository, name: str) -> list[str]:
    """The files that belong to the GGUF ``name``: itself, or all parts of its split in order.

    Raises:
        ConversionError: the repository has no such file, or lacks a part.
    """
    names = [name]
    if split := SPLIT.fullmatch(name):
        count = min(int(split[3]), len(repository.files) + 1)
        names = [f"{split[1]}-{number:05d}-of-{split[3]}.gguf" for number in range(1, count + 1)]
    missing = next((part for part in names if part not in repository.files), None)
    if missing is not None:
        raise ConversionError(f"{repository.name} has no {missing}: see the files on its page.")
    return names


def targets(names: Sequence[str], out: Path) -> list[Path]:
    """Where each file goes: ``out`` itself, or ``out`` with each part's number."""
    if len(names) == 1:
        return [out]
    stem = split[1] if (split := SPLIT.fullmatch(out.name)) else out.stem
    return [out.with_name(f"{stem}-{number:05d}-of-{len(names):05d}.gguf") for number in range(1, len(names) + 1)]


def download(
    repository: Repository,
    names: Sequence[str],
    out: Path,
    *,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    patience: Patience | None = None,
) -> tuple[list[Path], int]:
    """Download the parts of one GGUF to ``out``; returns their paths and how many have the published SHA-256.

    Parts of a split that an earlier run finished are kept.

    Raises:
        ConversionError: the hub or the disk fails, or what arrives is not what was published.
    """
    paths = targets(names, out)
    total = sum(repository.files[name].size for name in names)
    before = verified = 0
    for name, path in zip(names, paths, strict=True):
        file = repository.files[name]

        def shifted(step: Progress, before: int = before) -> None:
            if on_progress is not None:
                on_progress(Progress(before + step.done, total, step.tensor))

        if len(paths) == 1 or not _complete(path, file.size, file.sha256):
            check_target(path, overwrite=overwrite)
            _download(repository, name, path, shifted, overwrite=overwrite, on_note=on_note, patience=patience)
        verified += file.sha256 is not None
        before += file.size
        shifted(Progress(0, total, name), before)
    return paths, verified


def _download(
    repository: Repository,
    name: str,
    path: Path,
    on_progress: Callable[[Progress], None],
    *,
    overwrite: bool,
    on_note: Callable[[str], None] | None,
    patience: Patience | None,
) -> None:
    file = repository.files[name]
    reads = [Range(name, at, min(SEGMENT, file.size - at)) for at in range(0, file.size, SEGMENT)]
    origin = f"{repository.name}@{repository.revision}"
    source = RemoteWeights(repository.fetcher(patience), {name: file}, origin)
    conversion = hashlib.sha256(f"copy {name} {file.identity} {SEGMENT}".encode()).hexdigest()
    output_file = OutputFile(
        path,
        file.size,
        overwrite=overwrite,
        conversion=conversion,
        slabs=len(reads),
        origin=origin,
        on_note=on_note,
    )
    with closing(source), output_file as output:
        finished = output.journal.state.done
        todo = [number for number in range(len(reads)) if number not in finished]
        done = file.size - sum(reads[number].nbytes for number in todo)
        on_progress(Progress(done, file.size, name))
        source.expect((reads[number] for number in todo), () if finished else (name,))

        def copy(number: int) -> int:
            read = reads[number]
            data = np.empty(read.nbytes, np.uint8)
            source.read(name, read.offset, data)
            if read.offset == 0 and data[:4].tobytes() != b"GGUF":
                raise CheckpointError(f"{name} of {repository.name} is no GGUF: see the files on its page.")
            output.write_at(data.data, read.offset)
            return number

        try:
            for number in in_threads(copy, iter(todo), 2, source.interrupt):
                output.finished(number, reads[number].nbytes)
                done += reads[number].nbytes
                on_progress(Progress(done, file.size, name))
            source.check()
            if file.sha256 is not None and name not in source.verified:
                _verify(output, repository, name, reads)
        except DamagedFileError:
            output.undo(range(len(reads)))
            raise


def _verify(output: OutputFile, repository: Repository, name: str, reads: Sequence[Range]) -> None:
    """Read a file that several runs put together, and compare its digest."""
    digest = hashlib.sha256()
    for read in reads:
        digest.update(output.read_at(read.offset, read.nbytes))
    if digest.hexdigest() != repository.files[name].sha256:
        raise DamagedFileError(
            name, f"{name} did not arrive as it was published: run the same command again, which downloads it anew."
        )


def _complete(path: Path, size: int, sha256: str | None) -> bool:
    """Whether a part that is already there is the published one."""
    if sha256 is None or not path.is_file() or path.stat().st_size != size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _first_part(name: str) -> str:
    split = SPLIT.fullmatch(name)
    return f"{split[1]}-00001-of-{split[3]}.gguf" if split else name
