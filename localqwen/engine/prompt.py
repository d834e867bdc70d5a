"""Messages to prompt tokens, through the model's own chat template.

Only the template may produce control tokens. A message that says ``<|im_start|>`` would otherwise open a turn of its
own, so every place in a message where a control token's text begins (or may begin, at its end) gets a stand-in
character before the template sees it. The rendered text is then cut at the control tokens' texts, which can only be
the template's, and everything between is tokenized as plain text with the stand-ins undone. Unlike cutting at the
messages' borders this works whatever a template does with them (trim, repeat, compare), and gives the tokens that
the model was trained with where a message begins or ends in white space.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from localqwen.errors import InvalidModelError, InvalidRequestError
from localqwen.params import ChatMessage

# The private-use areas: characters that no template tests for.
PRIVATE_USE = tuple(chain(range(0xE000, 0xF900), range(0xF0000, 0xFFFFE)))


class ChatTemplate:
    """Renders and tokenizes conversations as one model wants them."""

    def __init__(
        self,
        source: str,
        control_tokens: Mapping[str, int],
        tokenize: Callable[[str], list[int]],
        special_texts: Mapping[str, str] | None = None,
    ) -> None:
        """Compile a Jinja ``source``.

        ``control_tokens`` maps texts to ids; ``tokenize`` turns plain text into ids; ``special_texts`` are further
        variables (``bos_token``, ``eos_token``). Raises :class:`InvalidModelError` when the source is no template.
        """
        self._ids = {text: token for text, token in control_tokens.items() if text}
        self._tokenize = tokenize
        self._variables = dict(special_texts or {})
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._anywhere = re.compile(f"(?={self._control.pattern})")  # finds overlapping ones too
        self._longest = max(map(len, self._ids), default=0)
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise InvalidModelError(f"The model's chat template cannot be used: {error}.") from error

    def tokens(self, messages: Sequence[ChatMessage]) -> list[int]:
        """The prompt that asks for the next assistant message.

        Raises :class:`InvalidRequestError` when the template refuses the messages.
        """
        # Qwen2's tokenizer normalizes to NFC, and llama.cpp leaves that to its caller.
        contents = [unicodedata.normalize("NFC", message["content"]) for message in messages]
        stand_ins = self._stand_ins(contents)
        text = self._render(
            [
                {"role": message["role"], "content": self._disarm(content, stand_ins)}
                for message, content in zip(messages, contents, strict=True)
            ]
        )
        undo = {ord(stand_in): char for char, stand_in in stand_ins.items()}
        return list(self._tokens_of(text, undo))

    def _tokens_of(self, text: str, undo: Mapping[int, str]) -> Iterator[int]:
        at = 0
        for control in self._control.finditer(text):
            if control.start() > at:
                yield from self._tokenize(text[at : control.start()].translate(undo))
            yield self._ids[control.group()]
            at = control.end()
        if at < len(text):
            yield from self._tokenize(text[at:].translate(undo))

    def _stand_ins(self, contents: Sequence[str]) -> dict[str, str]:
        """A private-use character for each first character of a control token, found in none of the messages."""
        used = set().union(*contents)
        free = (chr(code) for code in PRIVATE_USE if chr(code) not in used)
        try:
            return {char: next(free) for char in sorted({text[0] for text in self._ids})}
        except StopIteration:
            raise InvalidRequestError("The messages use every private-use character there is.") from None

    def _disarm(self, content: str, stand_ins: Mapping[str, str]) -> str:
        starts = {match.start() for match in self._anywhere.finditer(content)}
        # What follows the message could complete a control token that its end begins.
        for length in range(1, min(len(content), self._longest) + 1):
            if any(text.startswith(content[-length:]) for text in self._ids):
                starts.add(len(content) - length)
        return (
            "".join(stand_ins[char] if i in starts else char for i, char in enumerate(content)) if starts else content
        )

    def _render(self, messages: Sequence[Mapping[str, str]]) -> str:
        try:
            return self._template.render(
                messages=messages, add_generation_prompt=True, tools=None, documents=None, **self._variables
            )
        except jinja2.TemplateError as error:
            raise InvalidRequestError(f"The model's chat template refuses these messages: {error}.") from error
        except Exception as error:  # foreign code: a template can fail in any way
            raise InvalidRequestError(f"The model's chat template fails on these messages: {error}.") from error


def _environment() -> ImmutableSandboxedEnvironment:
    """The environment that templates are written for: transformers' ``apply_chat_template``."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    environment.filters["tojson"] = _tojson
    return environment


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _tojson(value: Any, indent: int | None = None, **options: Any) -> str:
    # Jinja's own filter escapes for HTML, which models are not trained on.
    return json.dumps(value, ensure_ascii=False, indent=indent, **options)
