"""How full a device's memory is, as a value. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from localqwen.plan import DeviceKind


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """One device: ``used`` of ``total`` bytes are taken, by whomever; ``mine`` is what the model takes, or will."""

    name: str
    description: str
    kind: DeviceKind
    used: int
    total: int
    mine: int = 0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what a server tells. Raises :class:`TypeError` or :class:`LookupError` for anything else."""
        return cls(**{field.name: data[field.name] for field in fields(cls)})
