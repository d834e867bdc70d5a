"""Log probabilities of the model itself: log-softmax of its logits before bias, penalties, masks and temperature.

vLLM's default (``--logprobs-mode raw_logprobs``) gives the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from localqwen.events import Logprobs, TokenLogprob

# JSON has no infinity; OpenAI's documentation names this number for a token that is too unlikely, and vLLM uses it.
IMPOSSIBLE = -9999.0


def logprobs(row: npt.NDArray[np.float32], chosen: int, top: int, piece: Callable[[int], bytes]) -> Logprobs:
    """The log probabilities of the token ``chosen`` and of the ``top`` likeliest.

    Args:
        row: the model's logits, shape (vocabulary,).
        chosen: the id of the token that was drawn; it may or may not be among the likeliest.
        top: how many of the likeliest, from 0.
        piece: gives the bytes of a token.
    """
    normalizer = log_sum_exp(row)

    def of(token: int) -> TokenLogprob:
        return TokenLogprob(piece(token), max(float(row[token]) - normalizer, IMPOSSIBLE))

    return Logprobs(of(chosen), tuple(of(token) for token in likeliest(row, top)))


def log_sum_exp(row: npt.NDArray[np.float32]) -> float:
    """The logarithm of the sum of the exponentials of logits, summed in float64."""
    highest = row.max()
    return float(highest) + float(np.log(np.exp(row - highest).sum(dtype=np.float64)))


def likeliest(row: npt.NDArray[np.float32], count: int) -> list[int]:
    """The ids of the ``count`` highest logits, highest first; of equal ones the lower id first."""
    count = min(count, len(row))
    if count == 0:
        return []
    threshold = np.partition(row, len(row) - count)[len(row) - count]
    candidates = np.flatnonzero(row >= threshold)
    order = np.argsort(-row[candidates], kind="stable")
    return [int(token) for token in candidates[order][:count]]
