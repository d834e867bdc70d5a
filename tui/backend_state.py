"""What is known of the model: nothing yet, that it loads, that it is ready, or that there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from localqwen.events import Loading, Ready


@dataclass(frozen=True, slots=True)
class Starting:
    """Nothing is known yet."""


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no model to talk to; ``reason`` is a sentence. The next message tries again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stopped(Failed):
    """Loading was cancelled, which is no mishap."""


State: TypeAlias = Starting | Loading | Ready | Failed
