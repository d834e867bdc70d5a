"""Reading foreign JSON: what must be there, of which kind, and a sentence about what is not. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Literal, NoReturn, TypeVar

from localqwen.errors import LocalqwenError

T = TypeVar("T", bound=str)


class TransferError(LocalqwenError):
    """A file cannot be written, or holds no conversation that can be read."""


class Fields:
    """The members of one JSON object; ``where`` names it in errors. Unknown members are left alone."""

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, dict):
            raise TransferError(f"{where} is no object")
        self._values: dict[str, Any] = values
        self._where = where

    @classmethod
    def parse(cls, text: str, where: str) -> Fields:
        """Read JSON, without the numbers that JSON does not have."""
        try:
            return cls(json.loads(text, parse_constant=_refuse), where)
        except (ValueError, RecursionError) as error:
            raise TransferError(f"{where} is no JSON ({error})") from None

    def text(self, name: str) -> str:
        """A text that must be there."""
        value = self._values.get(name)
        return value if isinstance(value, str) else self._complain(name)

    def optional_text(self, name: str) -> str | None:
        """A text, or nothing."""
        return None if self._values.get(name) is None else self.text(name)

    def choice(self, name: str, choices: Sequence[T]) -> T:
        """One of ``choices``."""
        value = self.text(name)
        return next((choice for choice in choices if choice == value), None) or self._complain(name)

    def flag(self, name: str) -> bool:
        """Whether something is so; by default it is not."""
        value = self._values.get(name, False)
        return value if isinstance(value, bool) else self._complain(name)

    def number(self, name: str, least: float = -math.inf, most: float = math.inf) -> float:
        """A number in a range that must be there."""
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self._complain(name)
        try:
            value = float(value)
        except OverflowError:
            return self._complain(name)
        return value if math.isfinite(value) and least <= value <= most else self._complain(name)

    def optional_number(self, name: str) -> float | None:
        """Any number, or nothing."""
        return None if self._values.get(name) is None else self.number(name)

    def optional_integer(self, name: str) -> int | None:
        """A whole number that a database can hold, or nothing."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 1 << 63:
            return self._complain(name)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; by default it is empty."""
        values = self._list(name)
        if not all(isinstance(value, str) for value in values):
            self._complain(name)
        return tuple(values)

    def nested(self, name: str) -> Fields:
        """An object in this one; by default it is empty."""
        value = self._values.get(name)
        return Fields({} if value is None else value, f"{name!r} of {self._where}")

    def objects(self, name: str, each: str) -> list[Fields]:
        """A list of objects, each called ``each`` and its number; by default it is empty."""
        return [Fields(value, f"{each} {number}") for number, value in enumerate(self._list(name), 1)]

    def has(self, name: str) -> bool:
        """Whether there is something under this name."""
        return self._values.get(name) is not None

    def _list(self, name: str) -> list[Any]:
        value = self._values.get(name, [])
        return value if isinstance(value, list) else self._complain(name)

    def _complain(self, name: str) -> NoReturn:
        raise TransferError(f"{self._where} has no proper {name!r}")


def _refuse(constant: str) -> Literal[0]:
    raise ValueError(f"{constant} is no number")
