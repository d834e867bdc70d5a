"""Importance of a weight matrix's columns: the sum of squares of what is multiplied with them. Pure.

The sums are float32, row after row in the order of the tokens, as llama-imatrix adds them
(``IMatrixCollector::collect_imatrix`` in llama.cpp's ``tools/imatrix/imatrix.cpp``): float addition depends on its
order, and only the same order gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from localqwen.errors import LocalqwenError

Float32 = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]


class ImportanceError(LocalqwenError):
    """Activations that make no importance matrix: NaN or infinite, or of changing shape."""


@dataclass(slots=True)
class Entry:
    """Sums of one weight tensor.

    ``values`` is ``[matrices, columns]``; ``counts`` tells how many rows were added, to each matrix of experts, or
    (one number) to all matrices of a dense tensor alike.
    """

    values: Float32
    counts: Counts


class Accumulator:
    """The sums of all weight tensors, by name."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def dense(self, name: str, rows: npt.NDArray[Any], matrices: tuple[int, int] = (1, 1)) -> None:
        """Add the rows that a ``MUL_MAT`` multiplies with the weights ``name``.

        Args:
            name: the weight tensor's.
            rows: float32 ``[d3, d2, rows, columns]``, slowest dimension first.
            matrices: ``(d3, d2)`` of the weights; of a plain matrix ``(1, 1)``.

        Raises:
            ImportanceError: a sum is not finite, or the shape is another one than before.
        """
        entry = self._entry(name, matrices[0] * matrices[1], rows.shape[-1], 1)
        squares = np.square(rows)
        for i3, plane in enumerate(squares):
            for i2, matrix in enumerate(plane):
                # One ufunc call per row: its order is certain, and its cost beside that of the multiplication small.
                total = entry.values[(i3 % matrices[0]) * matrices[1] + i2 % matrices[1]]
                for row in matrix:
                    total += row
        entry.counts += rows.size // rows.shape[-1] // len(entry.values)
        _check(name, entry.values)

    def experts(self, name: str, rows: npt.NDArray[Any], ids: npt.NDArray[np.int32], count: int) -> None:
        """Add the rows that a ``MUL_MAT_ID`` multiplies with the experts ``name``, to those they are routed to.

        Args:
            name: the weight tensor's.
            rows: float32 ``[tokens, used or 1, columns]``; with 1, all of a token's experts get the same row.
            ids: ``[tokens, used]``, the experts that each token is routed to.
            count: number of experts.

        Raises:
            ImportanceError: a sum is not finite, a shape is another one than before, or an id names no expert.
        """
        if ids.size and not 0 <= ids.min() <= ids.max() < count:
            raise ImportanceError(f"{name} is routed to an expert that does not exist: convert the model again.")
        entry = self._entry(name, count, rows.shape[-1], count)
        squares = np.square(rows)
        for slot in range(ids.shape[1]):
            for row, expert in zip(squares[:, slot % rows.shape[1]], ids[:, slot], strict=True):
                total = entry.values[expert]
                total += row
        entry.counts += np.bincount(ids.ravel(), minlength=count)
        _check(name, entry.values)

    def chunks(self, size: int) -> int:
        """How many chunks of ``size`` tokens the entry with the most rows has seen."""
        return max((int(entry.counts.max()) // size for entry in self.entries.values()), default=0)

    def copy(self) -> Accumulator:
        """The sums as they are now."""
        other = Accumulator()
        other.entries = {name: Entry(one.values.copy(), one.counts.copy()) for name, one in self.entries.items()}
        return other

    def _entry(self, name: str, matrices: int, columns: int, counts: int) -> Entry:
        entry = self.entries.get(name)
        if entry is None:
            entry = Entry(np.zeros((matrices, columns), np.float32), np.zeros(counts, np.int64))
            self.entries[name] = entry
        elif entry.values.shape != (matrices, columns):
            raise ImportanceError(f"{name} changed its shape between two texts: convert the model again.")
        return entry


def _check(name: str, values: Float32) -> None:
    if not np.isfinite(values).all():
        raise ImportanceError(
            f"The activations before {name} are not finite: the model is damaged, or its type is too small for them; "
            "convert it again, for example with --type BF16."
        )
