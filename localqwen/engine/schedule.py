"""How many tokens of which job go into the next decode. Pure.

A running answer needs one token a step, a prompt thousands. They share a batch, and the prompts' part is kept so
small that answers go on at a pace that a reader hardly notices, as long as there are answers.
"""

from __future__ import annotations

from collections.abc import Sequence

# While answers run, a step with parts of prompts in it should take about this long.
STEP_SECONDS = 0.15
SMALLEST_SLICE = 32


def prompt_budget(room: int, answers: int, prefill_rate: float) -> int:
    """How many prompt tokens may be decoded at once, of at most ``room``, while so many ``answers`` run.

    ``prefill_rate`` is the measured speed in tokens per second, 0 where nothing has been measured.
    """
    if not answers:
        return room
    return max(0, min(room, max(SMALLEST_SLICE, int(prefill_rate * STEP_SECONDS))))


def shares(pending: Sequence[int], budget: int) -> list[int]:
    """Divide ``budget`` tokens over prompts with so many tokens ``pending``.

    Every prompt gets an equal share, and what one does not need goes to the others, so that a short question does not
    wait for a long document. What is left over by rounding goes to the first.
    """
    given = [0] * len(pending)
    open_ = [i for i, count in enumerate(pending) if count > 0]
    while open_ and budget > 0:
        share = max(1, budget // len(open_))
        for i in open_:
            more = min(share, pending[i] - given[i], budget)
            given[i] += more
            budget -= more
        open_ = [i for i in open_ if given[i] < pending[i]]
    return given
