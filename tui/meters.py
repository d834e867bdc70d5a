"""What the status line tells while a model works, as values. Pure: the caller brings the clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

from localqwen.chats.answer import Answer
from localqwen.device_memory import DeviceMemory
from localqwen.events import AnswerEvent, Delta, Loading, Prefill, Ready, Usage
from localqwen.pace import Pace, duration
from tui.sanitize import SafeText, safe_line

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Watch:
    """What the clock says of one answer's prompt: how far it is read, and how fast."""

    has_text: bool = False
    prefill: Prefill | None = None
    reading: Pace = field(default_factory=Pace)

    def see(self, event: AnswerEvent, now: float) -> Self:
        """The watch after an event."""
        match event:
            case Prefill():
                return replace(self, prefill=event, reading=self.reading.at(event.done, now))
            case Delta() if not self.has_text:
                return replace(self, has_text=True)
            case _:
                return self

    def reading_left(self, now: float) -> float | None:
        """Seconds until the prompt is read; ``None`` while that cannot be told, or when it is."""
        if self.prefill is None or self.has_text or self.prefill.done >= self.prefill.total:
            return None
        return self.reading.seconds_left(self.prefill.total, now)


@dataclass(frozen=True, slots=True)
class Meters:
    """One answer's figures; 0 and ``None`` are what is not known (yet).

    ``used`` of ``window`` tokens of context are taken. ``yarn_factor`` is 1 where positions are not stretched.
    """

    tokens_per_second: float = 0.0
    first_token_seconds: float | None = None
    used: int = 0
    window: int = 0
    yarn_factor: float = 0.0
    memory: tuple[DeviceMemory, ...] = ()


def meters(
    answer: Answer | None, state: object, watch: Watch | None = None, memory: tuple[DeviceMemory, ...] = ()
) -> Meters:
    """The figures of an answer that is on its way or over; ``state`` is the backend's."""
    window = state.context if isinstance(state, Ready) else 0
    if answer is None:
        return Meters(window=window, memory=memory)
    usage = answer.message.usage or Usage()
    prefill = answer.prefill or (watch.prefill if watch is not None else None)
    prompt = usage.prompt_tokens or (prefill.total if prefill is not None else 0)
    said = usage.completion_tokens or answer.tokens
    return Meters(
        tokens_per_second=answer.tokens_per_second,
        first_token_seconds=answer.first_token_seconds or None,
        used=prompt + said if prompt else 0,
        window=window,
        yarn_factor=usage.yarn_factor or (prefill.yarn_factor if prefill is not None else 0.0),
        memory=memory,
    )


def parts(meters: Meters) -> list[SafeText]:
    """The figures as short texts, the most important first."""
    found = []
    if meters.tokens_per_second:
        found.append(f"{meters.tokens_per_second:.1f} tok/s")
    if meters.used:
        window = f"/{meters.window}" if meters.window else " tokens"
        found.append(f"context {meters.used}{window}")
    if meters.yarn_factor > 1:
        found.append(f"YaRN ×{meters.yarn_factor:g}")
    if meters.first_token_seconds is not None:
        found.append(f"first token {_seconds(meters.first_token_seconds)}")
    found += [_memory(device) for device in meters.memory]
    return [safe_line(text) for text in found]


def loading_words(loading: Loading, pace: Pace, now: float) -> SafeText:
    """How far a model is loaded: ``42%, 3.1 of 7.4 GB, 12 s left``."""
    words = [f"{loading.progress:.0%}"]
    if loading.total:
        words.append(f"{loading.done / 1e9:.1f} of {loading.total / 1e9:.1f} GB")
    if (left := pace.seconds_left(1.0, now)) and loading.progress < 1:
        words.append(f"{duration(left)} left")
    return safe_line(", ".join(words))


def reading_words(watch: Watch, now: float) -> SafeText:
    """How far a prompt is read: ``reading 512 of 2048 tokens, 8 s left``; nothing when it is."""
    prefill = watch.prefill
    if prefill is None or prefill.done >= prefill.total:
        return SafeText("")
    left = watch.reading_left(now)
    return safe_line(
        f"reading {prefill.done} of {prefill.total} tokens" + (f", {duration(left)} left" if left is not None else "")
    )


def _memory(device: DeviceMemory) -> str:
    name = "RAM" if device.kind == "cpu" else device.name
    return f"{name} {device.used / GIB:.1f}/{device.total / GIB:.1f} GiB"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
