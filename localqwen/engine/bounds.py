"""How much a foreign template may do: its time, the text it makes, and the size of every single value.

Every value is bounded, so whatever Python does with one in a single step is bounded too; every value that is made is
charged, so memory is; and every loop, call and operation looks at the clock now and then, so time is.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, TypeVar

import jinja2
from jinja2.exceptions import SecurityError
from markupsafe import Markup

SECONDS = 1.0  # of this thread's own CPU time, which a busy machine does not use up
STRIDE = 16  # steps from one look at the clock to the next
# Characters (of a container: its parts' and a few for each), and how often the messages' own may come on top.
LARGEST, LARGEST_PER_INPUT = 1 << 20, 4
TOTAL, TOTAL_PER_INPUT = 1 << 25, 64
DEPTH = 32
INTEGER = 1 << 60
WIDTH = 1000
SEARCH = 100_000_000  # character comparisons of one search that Python does the slow way
ESCAPED = 10  # characters that one becomes at most when it is escaped

_T = TypeVar("_T")


class TemplateLimitError(jinja2.TemplateRuntimeError):
    """A template does more than a chat template has to."""


class Budget:
    """What a rendering of messages with ``length`` characters may still do."""

    def __init__(self, length: int) -> None:
        self.largest = LARGEST + LARGEST_PER_INPUT * length
        self._left = TOTAL + TOTAL_PER_INPUT * length
        self._steps = 0
        self._look_at = STRIDE
        self._end = time.thread_time() + SECONDS

    def spend(self, size: int = 0) -> None:
        """Count a step that makes ``size`` characters."""
        if size > self.largest:
            raise TemplateLimitError(f"it makes a value of more than {self.largest} characters")
        self._left -= size
        if self._left < 0:
            raise TemplateLimitError("it makes too much text")
        self._steps += 1 + (size >> 8)
        if self._steps >= self._look_at:
            self._look_at = self._steps + STRIDE
            if time.thread_time() > self._end:
                raise TemplateLimitError(f"it computes for more than {SECONDS:g} s")


_thread = threading.local()


@contextmanager
def limits(length: int) -> Iterator[Budget]:
    """Bound what templates do in this thread meanwhile."""
    _thread.budget = budget = Budget(length)
    try:
        yield budget
    finally:
        del _thread.budget


def spend(size: int = 0) -> None:
    """Count a step of this thread's template."""
    _thread.budget.spend(size)


def made(value: _T) -> _T:
    """Charge a value that was just made."""
    _thread.budget.spend(len(value) if isinstance(value, str) and type(value) is str else weigh(value))
    return value


def weigh(value: Any, depth: int = 0) -> int:
    """About as many characters as the value takes when it is written out, a shared part each time it occurs."""
    if isinstance(value, str):
        return (ESCAPED if isinstance(value, Markup) else 1) * len(value) + 8
    if isinstance(value, int) and not -INTEGER <= value <= INTEGER:
        raise TemplateLimitError("it computes a number that is too large")
    parts: Iterable[Any]
    if isinstance(value, dict):
        parts = chain(value, value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        parts = value
    else:
        return 8
    if depth == DEPTH:
        raise TemplateLimitError("it nests lists too deeply")
    total, largest = 8, _thread.budget.largest
    for part in parts:
        total += weigh(part, depth + 1)
        if total > largest:
            raise TemplateLimitError(f"it makes a value of more than {largest} characters")
    return total


def add(*parts: Any) -> Any:
    """``+``, of many at once, because templates add texts in long rows."""
    if all(type(part) is str for part in parts):
        spend(sum(map(len, parts)))
        return "".join(parts)
    total = parts[0]
    for part in parts[1:]:
        spend()
        total = made(total + part)
    return total


def multiply(left: Any, right: Any) -> Any:
    """``*``, of numbers or of a text or list and how often."""
    for value, times in ((left, right), (right, left)):
        if isinstance(times, int) and isinstance(value, str | list | tuple):
            spend(weigh(value) * max(times, 0))
    return made(left * right)


def power(left: Any, right: Any) -> Any:
    """``**``."""
    if isinstance(left, int) and isinstance(right, int) and right * left.bit_length() > 128:
        raise TemplateLimitError("it computes a number that is too large")
    return made(left**right)


_WIDE_PERCENT = re.compile(r"[%)][-+ #0-9.]*(?:\*|[0-9]{4})")
_WIDE_BRACES = re.compile(r":[^{}]*(?:\{|[0-9]{4})")


def percent(left: Any, right: Any) -> Any:
    """``%``, of numbers or of a format and its values."""
    if isinstance(left, str):
        if _WIDE_PERCENT.search(left):
            raise TemplateLimitError("it formats with a width that is too large")
        spend(len(left) + left.count("%") * (WIDTH + ESCAPED * weigh(right)))
    return made(left % right)


def check_braces(text: str, values: Any) -> None:
    """Charge ``text.format(*values)``."""
    if len(text) > 10 * WIDTH or _WIDE_BRACES.search(text):
        raise TemplateLimitError("it formats with a width that is too large")
    spend(len(text) + text.count("{") * (WIDTH + ESCAPED * weigh(values)))


def check_replace(text: str, old: str, new: str, *_: Any) -> None:
    """Charge ``text.replace(old, new)``."""
    spend(len(text) + text.count(str(old)) * ESCAPED * len(str(new)))


def check_join(separator: str, parts: list[Any]) -> None:
    """Charge ``separator.join(parts)``."""
    spend(ESCAPED * len(separator) * len(parts) + ESCAPED * weigh(parts) // 10)


def check_search(text: str, other: Any = None, *_: Any) -> None:
    """Refuse the searches that Python does by comparing every place with every character."""
    if isinstance(other, str) and len(text) * len(other) > SEARCH:
        raise TemplateLimitError("it searches too long a text")


def check_width(text: str, width: Any = 0, *_: Any) -> None:
    """Refuse to pad to more than a line."""
    if not isinstance(width, int) or width > WIDTH:
        raise TemplateLimitError("it formats with a width that is too large")


_PLAIN = (
    *("capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha"),
    *("isascii", "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper"),
    *("join", "lower", "partition", "removeprefix", "removesuffix", "replace", "split", "splitlines"),
    *("startswith", "swapcase", "title", "upper"),
)
_TEXT_CHECKS: dict[str, Callable[..., None]] = {
    **dict.fromkeys(("lstrip", "rstrip", "strip", "rfind", "rindex", "rpartition", "rsplit"), check_search),
    **dict.fromkeys(("center", "ljust", "rjust", "zfill"), check_width),
    "replace": check_replace,
    "join": check_join,
}
_TEXT_METHODS = frozenset((*_PLAIN, *_TEXT_CHECKS))
_CONTAINER_METHODS = frozenset({"copy", "count", "get", "index", "items", "keys", "values"})


def check_method(owner: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Refuse or charge a call of a method of one of Python's own types; return its arguments."""
    if isinstance(owner, str) and name in _TEXT_METHODS:
        if name == "join" and args:
            args = (list(args[0]),)
        if check := _TEXT_CHECKS.get(name):
            check(owner, *args, *kwargs.values())
    elif not (isinstance(owner, dict | list | tuple) and name in _CONTAINER_METHODS):
        raise SecurityError(f"{type(owner).__name__}.{name} cannot be used")
    return args
