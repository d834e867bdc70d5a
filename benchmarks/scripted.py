"""A model that is ready at once and answers at a fixed rate, for benchmarks of the chat alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence

from localqwen.client import MODEL_DEFAULTS
from localqwen.device_memory import DeviceMemory
from localqwen.events import AnswerEvent, Delta, Finished, Ready
from localqwen.params import ChatMessage, SamplingParams
from tui.connections import Listener

TICK_SECONDS = 0.005


class Scripted:
    """``piece`` gives the text of each delta, ``rate`` of them come in a second, ``count`` in an answer."""

    name, address = "scripted", None

    def __init__(self, piece: Callable[[int], str], rate: float, count: int) -> None:
        self.piece = piece
        self.rate = rate
        self.count = count

    async def live(self, listener: Listener) -> str:
        """Never ends."""
        listener.loaded(self, Ready("scripted", 131072))
        await asyncio.Event().wait()
        return ""

    async def count_tokens(self, said: Sequence[ChatMessage] | str) -> int | None:
        """Nobody counts."""
        return None

    async def memory(self) -> tuple[DeviceMemory, ...]:
        """Nothing is loaded."""
        return ()

    async def stream(
        self,
        messages: Sequence[ChatMessage],
        params: SamplingParams = MODEL_DEFAULTS,
        model: str | None = None,
        *,
        resume: bool = False,
    ) -> AsyncGenerator[AnswerEvent, None]:
        """Deltas at a fixed rate."""
        begin, sent = time.perf_counter(), 0
        while sent < self.count:
            for _ in range(sent, min(self.count, int((time.perf_counter() - begin) * self.rate))):
                yield Delta(self.piece(sent))
                sent += 1
            await asyncio.sleep(TICK_SECONDS)
        yield Finished("stop")
