"""Log probabilities in the two forms of OpenAI's API. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from localqwen.events import Logprobs, TokenLogprob

FLOOR = -9999.0  # OpenAI's number for what is next to impossible; JSON has no infinity


def chat_logprobs(tokens: Sequence[Logprobs]) -> dict[str, Any]:
    """The ``logprobs`` of a chat completion's choice."""
    content = [_entry(token.chosen) | {"top_logprobs": [_entry(top) for top in token.top]} for token in tokens]
    return {"content": content, "refusal": None}


def completion_logprobs(tokens: Sequence[Logprobs], offset: int) -> dict[str, Any]:
    """The ``logprobs`` of a text completion's choice; its text offsets begin at ``offset``."""
    texts = [token_text(token.chosen.data) for token in tokens]
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += text_length(token)
    tops = [{token_text(top.data): _finite(top.logprob) for top in (token.chosen, *token.top)} for token in tokens]
    return {
        "tokens": texts,
        "token_logprobs": [_finite(token.chosen.logprob) for token in tokens],
        "top_logprobs": tops,
        "text_offset": offsets,
    }


def text_length(token: Logprobs) -> int:
    """How many characters begin in a token: the bytes that continue one count with the token before."""
    return sum(byte & 0xC0 != 0x80 for byte in token.chosen.data)


def token_text(data: bytes) -> str:
    """A token's text; one that is no whole character as OpenAI writes it: ``bytes:\\xe2\\x80``."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def _entry(token: TokenLogprob) -> dict[str, Any]:
    text = token.data.decode("utf-8", "replace")
    return {"token": text, "logprob": _finite(token.logprob), "bytes": list(token.data)}


def _finite(value: float) -> float:
    return value if math.isfinite(value) else FLOOR
