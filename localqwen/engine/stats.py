"""What the engine has done so far, in numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from localqwen.events import FinishReason, Usage


@dataclass(slots=True)
class Stats:
    """Counters since the start and gauges of the moment. Only the engine's thread writes them; any may read.

    ``finished`` counts answers by their finish reason. ``cached_tokens`` of the ``prompt_tokens`` were in the KV cache
    already; ``accepted_tokens`` of the ``drafted_tokens`` stood the model's test. ``decodes`` are calls of
    llama_decode. ``cache_tokens`` of the ``cache_size`` cells of the KV cache are in use.
    ``states_turned`` conversations went to another position scaling without being computed again.
    """

    finished: dict[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    decodes: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    states_saved: int = 0
    states_restored: int = 0
    states_turned: int = 0
    running: int = 0
    waiting: int = 0
    cache_tokens: int = 0
    cache_size: int = 0

    def count(self, usage: Usage, reason: FinishReason) -> None:
        """Add a finished answer."""
        self.finished[reason] = self.finished.get(reason, 0) + 1
        self.prompt_tokens += usage.prompt_tokens
        self.cached_tokens += usage.cached_tokens
        self.generated_tokens += usage.completion_tokens
        self.prefill_seconds += usage.prefill_seconds
        self.decode_seconds += usage.decode_seconds
