"""How positions are scaled. Pure.

Qwen2 is trained on a window of 32768 positions and reaches 131072 with YaRN (https://arxiv.org/abs/2309.00071). A
factor that is larger than needed makes texts of every length worse, so ``auto`` scales nothing up to the native window
and takes the smallest factor beyond it, in steps of :data:`STEP`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from localqwen.errors import InvalidOptionError, InvalidRequestError

# The largest factor Qwen2 was validated with: 4 x 32768 = 131072 (its model cards).
MAX_FACTOR = 4.0
STEPS = 4
# What is cached under one factor has to be turned or computed again under another, so a conversation that grows must
# not change it with every token; benchmarks/results/yarn.md has what a step costs, in quality and in time.
STEP = 1 / STEPS

YarnMode: TypeAlias = Literal["off", "auto"] | float


@dataclass(frozen=True, slots=True)
class Window:
    """What a file says about positions.

    ``native`` is the window in tokens that the weights were trained with, ``longest`` the largest one they can be
    stretched to. ``own_scaling`` is set for files that come with a scaling other than YaRN, which is then left alone.
    """

    native: int
    longest: int
    own_scaling: bool = False


@dataclass(frozen=True, slots=True)
class Rope:
    """The scaling of one context: YaRN by ``factor`` over an ``original`` window; 1 is no scaling.

    ``from_file`` leaves every parameter to the file.
    """

    factor: float
    original: int
    from_file: bool = False


def window(
    context_length: int, scaling_type: str | None, original_context_length: int | None, factor: float | None = None
) -> Window:
    """Read the window out of ``{arch}.context_length`` and ``{arch}.rope.scaling.*``.

    A file with YaRN keys states the trained window and the factor that it can be stretched by; its context length is
    the stretched window, or still the trained one if llama.cpp's converter wrote it. Without YaRN keys the context
    length is the trained window, and the factor is Qwen2's, 4.
    """
    if scaling_type not in {None, "", "none", "yarn"}:
        return Window(context_length, context_length, own_scaling=True)
    native = context_length
    if scaling_type == "yarn":
        native = original_context_length or context_length
        if factor is not None and 1 <= factor < math.inf:
            return Window(native, max(context_length, round(native * factor)))
    return Window(native, max(context_length, round(native * MAX_FACTOR)))


def parse_mode(text: str) -> YarnMode:
    """The value of ``--yarn``: ``off``, ``auto``, or a factor above 1. Raises :class:`InvalidOptionError`."""
    match text.strip().lower():
        case "off":
            return "off"
        case "auto":
            return "auto"
        case number:
            try:
                factor = float(number)
            except ValueError:
                factor = math.nan
    if not 1 < factor < math.inf:
        raise InvalidOptionError(f"--yarn must be auto, off or a factor above 1 such as 2.5, not {text[:40]!r}.")
    return factor


def rope_for(needed: int, facts: Window, mode: YarnMode = "auto") -> Rope:
    """The scaling for a conversation (or a context) of ``needed`` tokens.

    ``auto`` is factor 1 up to the native window, then the smallest multiple of :data:`STEP` that covers ``needed``, at
    most the factor of the longest window. ``off`` never scales. A number is the factor whatever is needed, as vLLM's
    static YaRN.

    Raises :class:`InvalidRequestError` when ``needed`` tokens are more than ``mode`` makes room for, or a factor is
    more than the model can be stretched by.
    """
    if facts.own_scaling:
        if isinstance(mode, float | int):
            raise InvalidRequestError(
                "--yarn cannot scale this model, whose file brings a scaling other than YaRN: leave --yarn out."
            )
        rope = Rope(1.0, facts.native, from_file=True)
    elif mode == "auto":
        steps = max(STEPS, -(-needed * STEPS // facts.native))
        rope = Rope(min(steps / STEPS, _largest(facts)), facts.native)
    elif mode == "off":
        rope = Rope(1.0, facts.native)
    else:
        if math.floor(mode * facts.native) > facts.longest:
            raise InvalidRequestError(
                f"--yarn {mode:g} stretches this model beyond its longest window, {facts.longest} tokens: "
                f"use {_largest(facts):g} or less."
            )
        rope = Rope(float(mode), facts.native)
    if needed > (room := capacity(rope, facts)):
        raise InvalidRequestError(_too_many(needed, room, facts, mode))
    return rope


def capacity(rope: Rope, facts: Window) -> int:
    """How many tokens a scaling makes room for: a conversation that grows beyond it needs another."""
    if rope.from_file:
        return facts.longest
    # The longest window over the native one is not always exact in binary.
    return min(math.floor(facts.native * rope.factor + 1e-6), facts.longest)


def _largest(facts: Window) -> float:
    return max(1.0, facts.longest / facts.native)


def _too_many(needed: int, room: int, facts: Window, mode: YarnMode) -> str:
    if room == facts.longest:
        return f"A context of {needed} tokens is more than this model's longest, {room}: ask for that or less."
    if mode == "off":
        return (
            f"A context of {needed} tokens is more than the {room} that this model was trained with: ask for that or "
            "less, or leave out --yarn off."
        )
    return (
        f"A context of {needed} tokens is more than the {room} that --yarn {mode:g} makes room for: ask for that or "
        "less, or use a larger factor or --yarn auto."
    )
