"""What an answer must look like: a JSON schema or a Lark grammar, in llguidance's form. Imports nothing heavy.

llguidance refuses the keywords of JSON schema that it does not know instead of leaving them out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

from localqwen.errors import InvalidRequestError

MAX_CHARACTERS = 2**18
# Between the parts of a document: nothing, a space, or a new line with its indentation. A small model that may write
# any white space sometimes writes nothing else.
WHITESPACE = r" |\n {0,20}"
# llguidance's words for a grammar that ends before it begins, and for limits that it runs into.
HINT = "Enable 'coerce_one_of' option to approximate oneOf with anyOf"  # an option that is not offered
STOPS = {
    "NoExtension": "nothing satisfies it",
    "NoExtensionBias": "nothing satisfies it",
    "ParserTooComplex": "it is too complex",
    "LexerTooComplex": "it is too complex",
}


@dataclass(frozen=True, slots=True)
class Grammar:
    """What an answer must look like, ``text`` in llguidance's form; make one with the functions below."""

    text: str

    def __post_init__(self) -> None:
        if len(self.text) > MAX_CHARACTERS:
            raise InvalidRequestError(
                f"The schema or grammar has {len(self.text)} characters: at most {MAX_CHARACTERS} are allowed."
            )


def json_object() -> Grammar:
    """Any JSON object."""
    return json_schema({"type": "object"})


def json_schema(schema: Mapping[str, Any]) -> Grammar:
    """JSON that satisfies a schema. Raises :class:`InvalidRequestError` for what is no schema at all.

    Whether llguidance can keep to the schema shows when a matcher is made of the grammar.
    """
    try:
        text = json.dumps(schema, allow_nan=False)
        # These come last and so beat what the schema itself says under "x-guidance".
        text = LLMatcher.grammar_from_json_schema(
            text, overrides={"lenient": False, "coerce_one_of": False, "whitespace_pattern": WHITESPACE}
        )
    except RecursionError:
        raise InvalidRequestError("The JSON schema is nested too deeply: simplify it.") from None
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"The JSON schema is not valid: {sentence(str(error))}.") from error
    return Grammar(text)


def lark(text: str) -> Grammar:
    """Text that a grammar in llguidance's variant of Lark generates; its rule ``start`` is the whole answer.

    It is about text: control tokens cannot be named in it.
    """
    return Grammar(LLMatcher.grammar_from_lark(text))


class Vocabulary(TokenizerWrapper):
    """A vocabulary as llguidance wants to be told of it."""

    is_tokenizer_wrapper = True

    def __init__(self, tokens: Sequence[bytes], ends: Sequence[int], tokenize: Callable[[str], list[int]]) -> None:
        """Tokens of no bytes never match text; ``ends`` are allowed wherever the grammar may end."""
        self.tokens = tokens
        self.eos_token_id = ends[0]
        self.bos_token_id = None
        self.special_token_ids = list(ends)
        self._tokenize = tokenize

    def __call__(self, text: str | bytes) -> list[int]:
        """Token ids of text that the grammar forces."""
        return self._tokenize(text if isinstance(text, str) else text.decode("utf-8", "replace"))


def compile_matcher(tokenizer: LLTokenizer, grammar: str) -> LLMatcher:
    """A fresh matcher, in an error state if the grammar cannot be used."""
    return LLMatcher(tokenizer, grammar, log_level=0, limits=LLParserLimits(verbose_errors=False))


def refusal(matcher: LLMatcher) -> str | None:
    """Why a matcher cannot be used, or ``None``. What llguidance only warns of makes it less strict, so it counts."""
    if matcher.is_error():
        return sentence(matcher.get_error())
    return sentence(" ".join(warnings)) if (warnings := matcher.get_grammar_warnings()) else None


def sentence(reason: str) -> str:
    """A reason of llguidance's on one line, without a full stop at the end."""
    text = reason.replace("<non-verbose/>", "").replace("json-schema:///", "").replace(HINT, "Use anyOf")
    if text.startswith("panic:"):
        return "llguidance fails on it"
    line = " ".join(text.split()).rstrip(".")
    return STOPS.get(line, line[:300])
