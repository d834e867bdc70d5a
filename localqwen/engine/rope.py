"""Which rotary position scaling a context uses. Pure.

Qwen2 is trained on a window of 32768 positions and reaches 131072 with YaRN (https://arxiv.org/abs/2309.00071). A
static factor makes short texts worse, so there is no scaling up to the native window, and beyond it the smallest
factor that covers what is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass

from localqwen.errors import InvalidRequestError

# The largest factor Qwen2 was validated with: 4 x 32768 = 131072 (its model cards).
MAX_FACTOR = 4.0


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


def window(context_length: int, scaling_type: str | None, original_context_length: int | None) -> Window:
    """Read the window out of ``{arch}.context_length`` and ``{arch}.rope.scaling.*``.

    A file with YaRN keys states the stretched window as its context length and the trained one beside it; without them
    the context length is the trained one.
    """
    if scaling_type == "yarn" and original_context_length:
        return Window(original_context_length, max(context_length, int(original_context_length * MAX_FACTOR)))
    if scaling_type in {None, "", "none", "yarn"}:
        return Window(context_length, int(context_length * MAX_FACTOR))
    return Window(context_length, context_length, own_scaling=True)


def rope_for(wanted: int, facts: Window) -> Rope:
    """The scaling for a context of ``wanted`` tokens: factor 1 up to the native window, then ``wanted / native``.

    Raises :class:`InvalidRequestError` when the model cannot be stretched that far.
    """
    if wanted > facts.longest:
        raise InvalidRequestError(
            f"A context of {wanted} tokens is more than this model's longest, {facts.longest}: ask for that or less."
        )
    return Rope(max(1.0, wanted / facts.native), facts.native, from_file=facts.own_scaling)
