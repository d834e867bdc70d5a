"""A model's chat template: Jinja code from a file that somebody else made, rendered within limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2

from localqwen.engine.bounds import TemplateLimitError, limits
from localqwen.engine.sandbox import Sandbox
from localqwen.errors import InvalidModelError, InvalidRequestError

LONGEST_SOURCE = 1 << 17  # characters; real ones have up to about 30,000
LONGEST_REASON = 300


class Template:
    """Compiled once; any thread may render it."""

    def __init__(self, source: str) -> None:
        """Raises :class:`InvalidModelError` when the source is no template, or one that does too much."""
        if len(source) > LONGEST_SOURCE:
            raise InvalidModelError(
                f"The model's chat template cannot be used: it has {len(source)} characters, "
                f"and {LONGEST_SOURCE} are the most."
            )
        try:
            with limits(len(source)):
                self._template = Sandbox().from_string(source)
        except Exception as error:  # foreign code: even compiling it can fail in any way
            raise InvalidModelError(f"The model's chat template cannot be used: {_reason(error)}.") from error

    def render(self, variables: Mapping[str, Any]) -> str:
        """The text for these variables, of which ``messages`` count for how long it may become.

        Raises :class:`InvalidRequestError` when the template refuses, fails, or takes too much time or memory.
        """
        length = sum(len(message["content"]) for message in variables["messages"])
        chunks = []
        try:
            with limits(length) as budget:
                for chunk in self._template.generate(**variables):
                    budget.spend(len(chunk))
                    chunks.append(chunk)
                return "".join(chunks)
        except TemplateLimitError as error:
            raise InvalidRequestError(
                f"The model's chat template does too much with these messages: {_reason(error)}; use another model."
            ) from error
        except jinja2.TemplateError as error:
            raise InvalidRequestError(f"The model's chat template refuses these messages: {_reason(error)}.") from error
        except Exception as error:  # foreign code: a template can fail in any way
            raise InvalidRequestError(
                f"The model's chat template fails on these messages: {_reason(error)}."
            ) from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"
