"""Messages to prompt tokens, through the model's own chat template.

Only the template may produce control tokens. A message that says ``<|im_start|>`` would otherwise open a turn of its
own, so every place in a message where a control token's text begins (or may begin, at its end) gets a stand-in
character before the template sees it. The rendered text is then cut at the control tokens' texts, which can only be
the template's, and everything between is tokenized as plain text with the stand-ins undone. Unlike cutting at the
messages' borders this works whatever a template does with them (trim, repeat, compare), and gives the tokens that
the model was trained with where a message begins or ends in white space.

A past answer whose tokens are kept is rendered a second time as one character of its own. Where that stands between the
text with which the template asks for an answer and a control token, the kept tokens are put there: they are what the
model generated at this place, and the KV cache may still hold them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from localqwen.engine.kept import KeptAnswers, TokenCache
from localqwen.engine.template import Template
from localqwen.errors import InvalidRequestError
from localqwen.params import ChatMessage

# The private-use areas: characters that no template tests for.
PRIVATE_USE = tuple(chain(range(0xE000, 0xF900), range(0xF0000, 0xFFFFE)))
_PRIVATE_USE = re.compile("[\ue000-\uf8ff\U000f0000-\U000ffffd]")

# Every turn tokenizes the whole conversation again; two of the longest ones find theirs here, in a few megabytes.
CACHED_TOKENS = 1 << 19


@dataclass(frozen=True, slots=True)
class _Answer:
    """A kept answer: the ``mark`` that stands for it in the second rendering, its disarmed ``core`` and its tokens.

    White space around the core is left to the template, which may trim it; ``whole`` has it around the mark.
    """

    mark: str
    core: str
    whole: str
    tokens: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Part:
    """Text between two control tokens, and the ``control`` token in front of it (``None`` where the prompt begins)."""

    control: int | None
    text: str


class ChatTemplate:
    """Renders and tokenizes conversations as one model wants them. Any thread may use it."""

    def __init__(
        self,
        source: str,
        control_tokens: Mapping[str, int],
        tokenize: Callable[[str], list[int]],
        special_texts: Mapping[str, str] | None = None,
        kept: KeptAnswers | None = None,
    ) -> None:
        """Compile a Jinja ``source``.

        ``control_tokens`` maps texts to ids; ``tokenize`` turns plain text into ids; ``special_texts`` are further
        variables (``bos_token``, ``eos_token``); ``kept`` has the tokens of past answers. Raises
        :class:`InvalidModelError` when the source is no template.
        """
        self._ids = {text: token for text, token in control_tokens.items() if text}
        self._tokenize = tokenize
        self._cache = TokenCache(CACHED_TOKENS)
        self._kept = kept
        self._variables = dict(special_texts or {})
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        first = "".join(sorted({text[0] for text in self._ids}))
        self._first = re.compile(f"[{re.escape(first)}]" if first else r"(?!)")
        self._prefixes = {text[:length] for text in self._ids for length in range(1, len(text) + 1)}
        self._longest = max(map(len, self._ids), default=0)
        self._template = Template(source)

    def tokens(self, messages: Sequence[ChatMessage]) -> list[int]:
        """The prompt that asks for the next assistant message.

        Raises :class:`InvalidRequestError` when the template refuses the messages, or does too much with them.
        """
        # Qwen2's tokenizer normalizes to NFC, and llama.cpp leaves that to its caller.
        contents = [unicodedata.normalize("NFC", message["content"]) for message in messages]
        free = _unused_characters(contents)
        stand_ins = {char: next(free) for char in sorted({text[0] for text in self._ids})}
        contents = [self._disarm(content, stand_ins) for content in contents]
        rendered = self._render(messages, contents)
        answers = self._kept_answers(messages, contents, free)
        if answers:
            marked = [answers[i].whole if i in answers else content for i, content in enumerate(contents)]
            text = self._render(messages, marked)
            # A template may look into an answer, and would then have written something else: the marks do not count.
            if _put_back(text, answers.values()) == rendered:
                return self._join(text, list(answers.values()), stand_ins)
        return self._join(rendered, [], stand_ins)

    def resumed(self, messages: Sequence[ChatMessage]) -> tuple[list[int], list[int]]:
        """The prompt that asks for the last message, an assistant's, and the tokens of what there is of it.

        One after the other they are what the model had read when it stopped: the template's own rendering of the last
        message might trim it, and would end its turn. Raises :class:`InvalidRequestError` as :meth:`tokens`, and when
        there is nothing to continue.
        """
        if len(messages) < 2 or messages[-1]["role"] != "assistant" or not messages[-1]["content"]:
            raise InvalidRequestError(
                "Only an answer that has begun can be continued: the last message must be the assistant's, with text, "
                "and another must be before it.",
                "messages",
            )
        asking = self.tokens(messages[:-1])
        begun, rest = messages[-1]["content"], ""
        kept: Sequence[int] = ()
        if self._kept is not None:
            kept, rest = self._kept.beginning(begun)
        text = rest if kept else unicodedata.normalize("NFC", begun)
        # It never passes the template, so that nothing in it can be taken for a control token.
        return asking, [*kept, *self._plain(text, {})]

    def _join(self, text: str, answers: Sequence[_Answer], stand_ins: Mapping[str, str]) -> list[int]:
        parts = list(self._parts(text))
        asking = parts[-1] if parts else _Part(None, "")
        counts = Counter(_PRIVATE_USE.findall(text)) if answers else {}
        by_text = {asking.text + answer.whole: answer for answer in answers if counts[answer.mark] == 1}
        tokens: list[int] = []
        for part in parts:
            if part.control is not None:
                tokens.append(part.control)
            answer = by_text.get(part.text) if part.control == asking.control is not None else None
            if answer is not None:
                tokens += self._plain(asking.text, stand_ins)
                tokens += answer.tokens
            else:
                tokens += self._plain(_put_back(part.text, answers), stand_ins)
        return tokens

    def _parts(self, text: str) -> Iterator[_Part]:
        at, token = 0, None
        for control in self._control.finditer(text):
            yield _Part(token, text[at : control.start()])
            at, token = control.end(), self._ids[control.group()]
        yield _Part(token, text[at:])

    def _plain(self, text: str, stand_ins: Mapping[str, str]) -> Sequence[int]:
        if not text:
            return ()
        for char, stand_in in stand_ins.items():
            text = text.replace(stand_in, char)
        tokens = self._cache.get(text)
        if tokens is None:
            tokens = self._tokenize(text)
            self._cache.put(text, tokens)
        return tokens

    def _kept_answers(
        self, messages: Sequence[ChatMessage], contents: Sequence[str], free: Iterator[str]
    ) -> dict[int, _Answer]:
        """The kept answers among the messages, by the message's number."""
        answers: dict[int, _Answer] = {}
        for i, (message, content) in enumerate(zip(messages, contents, strict=True)):
            if self._kept is None or message["role"] != "assistant":
                continue
            tokens = self._kept.get(message["content"])
            core = content.strip()
            if tokens is not None and core:
                mark = next(free)
                start = content.index(core)
                whole = content[:start] + mark + content[start + len(core) :]
                answers[i] = _Answer(mark, core, whole, tokens)
        return answers

    def _disarm(self, content: str, stand_ins: Mapping[str, str]) -> str:
        starts = {m.start() for m in self._first.finditer(content) if self._control.match(content, m.start())}
        # What follows the message could complete a control token that its end begins.
        for length in range(1, min(len(content), self._longest) + 1):
            if content[-length:] in self._prefixes:
                starts.add(len(content) - length)
        pieces, at = [], 0
        for start in sorted(starts):
            pieces += [content[at:start], stand_ins[content[start]]]
            at = start + 1
        return "".join([*pieces, content[at:]])

    def _render(self, messages: Sequence[ChatMessage], contents: Sequence[str]) -> str:
        return self._template.render(
            {
                "messages": [
                    {"role": message["role"], "content": content}
                    for message, content in zip(messages, contents, strict=True)
                ],
                "add_generation_prompt": True,
                "tools": None,
                "documents": None,
                **self._variables,
            }
        )


def _put_back(text: str, answers: Iterable[_Answer]) -> str:
    """The text with the answers themselves instead of their marks, in one pass whatever their number."""
    cores = {answer.mark: answer.core for answer in answers}
    return _PRIVATE_USE.sub(lambda mark: cores.get(mark.group(), mark.group()), text) if cores else text


def _unused_characters(contents: Sequence[str]) -> Iterator[str]:
    """Private-use characters that are in none of the messages."""
    used = set(chain.from_iterable(_PRIVATE_USE.findall(content) for content in contents if not content.isascii()))
    yield from (chr(code) for code in PRIVATE_USE if chr(code) not in used)
    raise InvalidRequestError("The messages use every private-use character there is: leave some out.")
