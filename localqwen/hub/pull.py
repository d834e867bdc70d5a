"""``localqwen pull``: a model from the hub, converted while it downloads, or taken ready-made."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from converters.convert import Progress, convert
from converters.errors import ConversionError
from converters.journal import read_journal
from converters.readahead import RemoteWeights
from converters.writer import check_target, journal_path
from localqwen import catalog, paths
from localqwen.hub import gguf
from localqwen.hub.http import Patience
from localqwen.hub.repository import HubError, Repository, find


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull made: sizes in bytes; ``verified`` of ``files`` weight files had the published SHA-256.

    A file is verified when all of it came in one run; after a kill in its middle only its ranges were checked.
    """

    paths: tuple[Path, ...]
    repository: str
    revision: str
    type: str | None  # None for a ready-made file
    size: int
    source_size: int
    verified: int
    files: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Options:
    """How to pull: ``revision`` is a branch, tag or commit; the rest is as in ``converters.convert.convert``."""

    type: str = "Q4_K_M"
    ffn: str = "auto"
    revision: str | None = None
    threads: int | None = None
    overwrite: bool = False
    on_progress: Callable[[Progress], None] | None = None
    on_note: Callable[[str], None] | None = None
    patience: Patience | None = None


def pull(model: str, out: Path | None = None, options: Options | None = None) -> Pulled:
    """Download ``model`` and convert it on the way; nothing of the original is kept.

    Killed or cut off, the same call goes on where it stopped, with the same commit.

    Args:
        model: a card's name, ``OWNER/NAME`` on the hub, or ``OWNER/NAME/FILE.gguf``.
        out: the GGUF to write; by default one in the models directory, named after repository and type.
        options: everything else.

    Raises:
        HubError: the repository cannot be found or used, or the download failed; the message says what to do.
    """
    options = options or Options()
    start = time.monotonic()
    name, file = _name(model)
    target = out or _default_output(name, file, options.type)
    try:
        if options.revision is None:
            options = _pinned(options, name, target)
        repository = find(name, options.revision, options.patience)
        files = repository.files
        if file is None and any("/" not in one and one.endswith(".safetensors") for one in files):
            return _convert(repository, target, options, start)
        names = gguf.parts(repository, file) if file else _ready_made(repository, options.type)
        made, verified = gguf.download(
            repository,
            names,
            target,
            overwrite=options.overwrite,
            on_progress=options.on_progress,
            on_note=options.on_note,
            patience=options.patience,
        )
    except ConversionError as error:
        raise HubError(str(error)) from error
    size = sum(files[one].size for one in names)
    seconds = time.monotonic() - start
    return Pulled(tuple(made), repository.name, repository.revision, None, size, size, verified, len(names), seconds)


def _convert(repository: Repository, out: Path, options: Options, start: float) -> Pulled:
    check_target(out, overwrite=options.overwrite)
    shards = {name: file for name, file in repository.files.items() if _is_weight(name)}
    with tempfile.TemporaryDirectory(prefix="localqwen-") as scratch:
        # Its name becomes the model's name, as that of a clone would.
        folder = Path(scratch).resolve() / repository.title
        folder.mkdir()
        fetcher = repository.fetcher(options.patience)
        weights = RemoteWeights(fetcher, shards, f"{repository.name}@{repository.revision}")
        try:
            repository.download_small(folder, fetcher)
            summary = convert(
                folder,
                out,
                options.type,
                options.threads,
                options.overwrite,
                options.on_progress,
                ffn=options.ffn,
                weights=weights,
                on_note=options.on_note,
            )
        except ConversionError as error:
            # A person knows the repository, not our scratch directory.
            raise HubError(str(error).replace(str(folder), repository.name)) from error
    return Pulled(
        paths=(out,),
        repository=repository.name,
        revision=repository.revision,
        type=summary.type,
        size=summary.size,
        source_size=summary.source_size,
        verified=len(weights.verified),
        files=len(shards),
        seconds=time.monotonic() - start,
    )


def _is_weight(name: str) -> bool:
    return name.endswith(".safetensors") and "/" not in name


def _ready_made(repository: Repository, type_: str) -> list[str]:
    if not any(name.endswith(".gguf") for name in repository.files):
        raise HubError(f"{repository.name} holds neither safetensors nor GGUF files: choose another repository.")
    return gguf.choose(repository, type_)


def _name(model: str) -> tuple[str, str | None]:
    """Repository, and the file in it if one is named."""
    card = catalog.cards().get(model.lower())
    if card is not None and card.name == catalog.DEMO:
        raise HubError("The demo model does not come from the hub: run `localqwen demo`.")
    if card is not None:
        return card.repository, None
    if model.count("/") >= 2:
        owner, name, file = model.split("/", 2)
        if not file.endswith(".gguf"):
            raise HubError(f"{model} is no GGUF in a repository: give OWNER/NAME or OWNER/NAME/FILE.gguf.")
        return f"{owner}/{name}", file
    if "/" not in model:
        raise HubError(f"{model} is no card and no repository: see `localqwen models`, or give OWNER/NAME.")
    return model, None


def _default_output(name: str, file: str | None, type_: str) -> Path:
    folder = paths.models_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HubError(f"Cannot create {folder}: {error.strerror}; set LOCALQWEN_HOME or name an OUT.gguf.") from error
    return folder / (file.rpartition("/")[2] if file else f"{name.rpartition('/')[2]}-{type_.upper()}.gguf")


def _pinned(options: Options, name: str, out: Path) -> Options:
    """Go on with the commit that an unfinished download of the same repository began with.

    Without this a push to the repository in between would throw away everything that is done.
    """
    from dataclasses import replace

    for path in (out, *out.parent.glob(f"{out.stem}-*-of-*.gguf.part")):
        state = read_journal(journal_path(path.with_name(path.name.removesuffix(".part"))))
        if state is not None and state.origin.startswith(f"{name}@"):
            return replace(options, revision=state.origin.partition("@")[2])
    return options
