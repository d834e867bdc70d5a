"""The GGUF files on this machine, and what a MODEL argument means."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localqwen import paths
from localqwen.errors import ModelNotFoundError

if TYPE_CHECKING:
    # The cards take longer to read than most questions here take to answer without them.
    from localqwen import catalog

# What follows a card's name in its GGUF's file name: "-Q4_K_M", "-BF16", ... but not "-Instruct".
QUANTIZATION_SUFFIX = re.compile(r"-(I?Q\d\w*|BF16|F16|F32)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A GGUF in the models directory; ``card`` is the catalogue's, where its name tells."""

    path: Path
    size: int
    card: catalog.Card | None

    @property
    def name(self) -> str:
        """What a person types: the file's name without ``.gguf``."""
        return self.path.stem


def installed_models() -> list[InstalledModel]:
    """The models directory's GGUF files, the newest first."""
    return [InstalledModel(path, path.stat().st_size, card_of(path)) for path in _installed_files()]


def card_of(path: Path) -> catalog.Card | None:
    """The card whose release a GGUF file is named after."""
    from localqwen import catalog

    return next((card for card in catalog.cards().values() if _is_release(path, card)), None)


def default_model() -> str | None:
    """The model to open when none is named: the newest installed one, the demo only if there is no other."""
    files = _installed_files()
    if len(files) > 1:
        from localqwen import catalog

        demo = catalog.card(catalog.DEMO)
        files.sort(key=lambda path: demo is not None and _is_release(path, demo))
    return files[0].stem if files else None


def resolve(model: str, notify: Callable[[str], None] | None = None) -> Path:
    """The GGUF file that ``model`` means: a path, an installed file's name, or a catalogue name.

    The demo is made on the spot when it is missing; ``notify`` then gets a line that says so.
    Raises :class:`ModelNotFoundError` when there is no such file.
    """
    if (path := Path(model).expanduser()).is_file():
        return path.resolve()
    if path.is_dir():
        raise ModelNotFoundError(f"{model} is a folder, not a GGUF file: convert it with `localqwen convert {model}`.")
    if (installed := find_installed(model)) is not None:
        return installed
    from localqwen import catalog

    if model.lower() == catalog.DEMO:
        from localqwen.demo import demo_model

        if notify:
            notify("Making the demo model (once, about ten seconds)…")
        return demo_model()
    if (card := catalog.cards().get(model.lower())) is not None:
        raise ModelNotFoundError(
            f"{card.name} is not installed: `localqwen pull {card.name}` downloads and converts it "
            f"({card.shape.parameters * 2 / 1e9:.1f} GB)."
        )
    if _looks_like_path(model):
        raise ModelNotFoundError(f"{model} does not exist: check the path, or see `localqwen models` for names.")
    raise ModelNotFoundError(f"{model} names no installed model: `localqwen models` lists what there is.")


def served_name(model: str) -> str:
    """What a server calls ``model``: the name that a person typed, or the file's where it was a path."""
    return Path(model).stem if _looks_like_path(model) else model


def _looks_like_path(model: str) -> bool:
    return os.sep in model or model.endswith(".gguf")


def find_installed(model: str) -> Path | None:
    """The installed file of that name (case and ``.gguf`` do not matter), or the newest one of that card."""
    wanted = model.lower().removesuffix(".gguf")
    files = _installed_files()
    by_name = next((path for path in files if path.stem.lower() == wanted), None)
    if by_name is not None or not files:
        return by_name
    from localqwen import catalog

    card = catalog.card(wanted)
    return next((path for path in files if card is not None and _is_release(path, card)), None)


def _installed_files() -> list[Path]:
    """The models directory's GGUF files, the newest first."""
    found = [path for path in paths.models_dir().glob("*.gguf") if path.is_file()]
    found.sort(key=lambda path: (-path.stat().st_mtime, path.name))
    return found


def _is_release(path: Path, card: catalog.Card) -> bool:
    """Whether a GGUF file is named after a card's release."""
    name, rest = path.stem[: len(card.basename)], path.stem[len(card.basename) :]
    return name.lower() == card.basename.lower() and (not rest or QUANTIZATION_SUFFIX.fullmatch(rest) is not None)
