"""Which YaRN keys and which window a conversion writes: what config.json says, changed by what was asked for. Pure.

YaRN (https://arxiv.org/abs/2309.00071) stretches the window that a model was trained on by a factor. Checkpoints
state it in ``rope_scaling`` or ``rope_parameters``, most of Qwen2's leave it to whoever runs the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from converters.config import LIMIT, Config, Yarn, stated_original_context
from converters.errors import ConversionError

# Qwen2's instruct models state the 32768 tokens of the training, its base models four times as many, without YaRN
# (https://arxiv.org/abs/2407.10671, section 3.2).
TRAINED_WINDOW = 32768
CLAIMED_WINDOW = 131072


@dataclass(frozen=True, slots=True)
class YarnChoice:
    """What was asked for: a ``factor``, ``"off"``, or None for what config.json says.

    ``extend`` writes the stretched window as the model's context length, so that every program offers it; otherwise
    the context length stays as config.json states it, which is what llama.cpp's converter writes.
    """

    factor: float | Literal["off"] | None = None
    extend: bool = False


def settle(
    config: Config, document: Mapping[str, Any], choice: YarnChoice, path: Path
) -> tuple[Config, tuple[str, ...]]:
    """The config to write, and sentences that a person should see about it.

    Args:
        config: as parsed from ``document``, the whole of config.json at ``path``.
        document: asked for what the parsed form no longer tells: whether the original window was stated.
        choice: what was asked for.
        path: for messages.

    Raises:
        ConversionError: the choice makes no sense, or not for this model; config.json does not.
    """
    original = stated_original_context(document, path)
    yarn = _yarn(config, original, choice.factor)
    if yarn is None:
        if choice.extend:
            raise ConversionError(
                f"There is no YaRN whose window could be written ({path} has none): add --yarn FACTOR."
            )
        return _plain(config, original, choice.factor == "off", path)
    extended = round(yarn.factor * yarn.original_context)
    if extended > LIMIT:
        raise ConversionError(f"YaRN factor {yarn.factor:g} makes a window of {extended} tokens: use a smaller factor.")
    notes = []
    if original is None:
        notes.append(_assumed(path, config.context))
    context = max(extended, config.context) if choice.extend else config.context
    if context < extended:
        notes.append(
            f"The GGUF states a window of {context} tokens, as llama.cpp's converter writes it, and other programs "
            f"offer no more: --yarn-context writes the {extended} of YaRN's factor {yarn.factor:g}."
        )
    if choice.factor not in (None, "off"):
        notes.append(
            f"YaRN's factor {yarn.factor:g} is in force for short texts too in most programs, and makes them slightly "
            "worse; localqwen itself uses it only where a conversation needs the room."
        )
    return replace(config, yarn=yarn, context=context), tuple(notes)


def _yarn(config: Config, original: int | None, asked: float | Literal["off"] | None) -> Yarn | None:
    if asked is None:
        return config.yarn
    if asked == "off":
        return None
    if not (math.isfinite(asked) and asked > 1):
        raise ConversionError(f"A YaRN factor of {asked:g} stretches nothing: use one above 1, such as 4.")
    if config.yarn is not None:
        return replace(config.yarn, factor=float(asked))
    return Yarn(float(asked), original or config.context)


def _plain(config: Config, original: int | None, off: bool, path: Path) -> tuple[Config, tuple[str, ...]]:
    """Without YaRN: what was asked to be left out must not leave its stretched window behind."""
    if off and config.yarn is not None and original is not None and original < config.context:
        note = f"Without YaRN the window is the original one, {original} tokens instead of {config.context}."
        return replace(config, context=original, yarn=None), (note,)
    notes: tuple[str, ...] = ()
    if config.context == CLAIMED_WINDOW:
        notes = (
            f"{path.name} states a window of {CLAIMED_WINDOW} tokens without YaRN, as Qwen2's base models do, which "
            f"were trained on {TRAINED_WINDOW}: expect less of longer texts.",
        )
    return replace(config, yarn=None), notes


def _assumed(path: Path, context: int) -> str:
    note = (
        f"{path.name} has no original_max_position_embeddings for YaRN: taken to be max_position_embeddings, "
        f"{context} tokens."
    )
    if context == CLAIMED_WINDOW:
        note += (
            f" Qwen2's base models state that much but were trained on {TRAINED_WINDOW}: if this is one, "
            f'add "original_max_position_embeddings": {TRAINED_WINDOW} to {path.name}.'
        )
    return note
