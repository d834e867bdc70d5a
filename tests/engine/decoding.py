"""One sequence in a context of llama.cpp, for tests that need logits and no loop."""

from __future__ import annotations

from collections.abc import Sequence

import llama_cpp.llama_cpp as llama
import numpy as np
import numpy.typing as npt

from localqwen.engine.context import Batch, Context, ContextOptions
from localqwen.engine.model import Model
from localqwen.engine.rope import Rope


class OneSequence:
    """A context whose sequence 0 holds ``tokens``; the logits of its last token can be read."""

    def __init__(self, model: Model, size: int = 1024) -> None:
        self.context = Context(model, ContextOptions(size, 2, Rope(1.0, model.window.native)))
        self.tokens: list[int] = []
        self._vocabulary_size = model.vocabulary_size
        self._batch = Batch()

    @property
    def handle(self) -> object:
        return self.context.handle

    def restart(self, tokens: Sequence[int]) -> None:
        """Hold these tokens and nothing else."""
        self.context.truncate(0, 0)
        self.tokens = []
        self.decode(tokens)

    def decode(self, tokens: Sequence[int]) -> None:
        """Go on with these tokens."""
        self._batch.clear()
        self._batch.add(0, tokens, len(self.tokens), 1)
        self.context.decode(self._batch)
        self.tokens += tokens

    def logits(self) -> npt.NDArray[np.float32]:
        """The row of the last token, copied."""
        pointer = llama.llama_get_logits_ith(self.context.handle, -1)
        return np.array(np.ctypeslib.as_array(pointer, (self._vocabulary_size,)), np.float32)

    def close(self) -> None:
        self._batch.close()
        self.context.close()
