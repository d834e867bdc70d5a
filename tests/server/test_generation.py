"""The wire's words for what the engine tells, without an engine."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from localqwen.events import Delta, Finished, Logprobs, TokenLogprob, Usage
from localqwen.server.chat_choice import ChatBody, ChatChunks
from localqwen.server.completions import CompletionBody, CompletionChunks
from localqwen.server.generation import Head, joined, usage_object
from localqwen.server.tool_calls import ToolCallParser
from localqwen.server.tools import call_text

HEAD = Head("chatcmpl", "chat.completion.chunk", 'a "model"')
STOP = Finished("stop")


def token(data: bytes, logprob: float = -0.5, *top: TokenLogprob) -> Logprobs:
    return Logprobs(TokenLogprob(data, logprob), top)


def choices(wire: bytes) -> list[dict[str, Any]]:
    """The choices of the chunks in some bytes of a stream."""
    events = wire.decode().split("\n\n")
    assert events.pop() == ""
    return [json.loads(event.removeprefix("data: "))["choices"][0] for event in events]


@given(st.text())
def test_a_chunk_is_json_whatever_it_says(text: str) -> None:
    chunks = ChatChunks(HEAD, 3, usage=True)
    wire = chunks.delta(Delta(text))
    assert wire.startswith(b"data: {")
    assert wire.count(b"\n") == 2
    body = json.loads(wire.removeprefix(b"data: "))
    assert body.pop("id").startswith("chatcmpl-")
    assert body.pop("created") > 0
    assert body == {
        "object": "chat.completion.chunk",
        "model": 'a "model"',
        "choices": [{"index": 3, "delta": {"content": text}, "logprobs": None, "finish_reason": None}],
        "usage": None,
    }


def test_streamed_calls() -> None:
    chunks = ChatChunks(HEAD, 0, ToolCallParser())
    wire = b"".join(chunks.delta(Delta(char)) for char in "Wait.\n" + call_text("f", '{"a": 1}'))
    end = choices(chunks.end(STOP))[-1]
    deltas = [choice["delta"] for choice in choices(wire)]
    assert "".join(delta.get("content", "") for delta in deltas) == "Wait."
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert calls[0]["function"] == {"name": "f", "arguments": ""}
    assert calls[0]["type"] == "function"
    assert calls[0]["id"].startswith("call_")
    assert all(set(call) == {"index", "function"} and set(call["function"]) == {"arguments"} for call in calls[1:])
    assert "".join(call["function"]["arguments"] for call in calls) == '{"a": 1}'
    assert end["finish_reason"] == "tool_calls"


def test_a_call_that_the_limit_cut_off_is_no_finished_call() -> None:
    body = ChatBody(0, ToolCallParser())
    body.delta(Delta('<tool_call>{"name": "f", "arguments": {"a'))
    choice = body.end(Finished("length"))
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a'}


def test_log_probabilities_of_a_chat() -> None:
    half, rest = token("é".encode()[:1], -math.inf), token("é".encode()[1:], -1.0, TokenLogprob(b"x", -2.0))
    body = ChatBody(0, logprobs=True)
    body.delta(Delta("é", (half, rest)))
    content = body.end(STOP)["logprobs"]["content"]
    assert content == [
        {"token": "\ufffd", "logprob": -9999.0, "bytes": [0xC3], "top_logprobs": []},
        {
            "token": "\ufffd",
            "logprob": -1.0,
            "bytes": [0xA9],
            "top_logprobs": [{"token": "x", "logprob": -2.0, "bytes": [ord("x")]}],
        },
    ]


def test_no_log_probability_is_lost_while_text_is_held_back() -> None:
    chunks = ChatChunks(HEAD, 0, ToolCallParser(), logprobs=True)
    texts = ["a", "<tool", "_x", "<tool"]
    wire = b"".join(chunks.delta(Delta(text, (token(text.encode()),))) for text in texts) + chunks.end(STOP)
    told = [entry["token"] for choice in choices(wire) for entry in (choice["logprobs"] or {"content": []})["content"]]
    assert told == texts


def test_log_probabilities_of_a_completion() -> None:
    tokens = [
        token(b"ab", -1.0, TokenLogprob(b"c", -2.0)),
        token("é".encode()[:1]),
        token("é".encode()[1:]),
        token(b"!"),
    ]
    body = CompletionBody(0, "", logprobs=True)
    body.delta(Delta("abé!", tuple(tokens)))
    whole = body.end(STOP)["logprobs"]
    assert whole["tokens"] == ["ab", "bytes:\\xc3", "bytes:\\xa9", "!"]
    assert whole["text_offset"] == [0, 2, 3, 3]
    assert whole["top_logprobs"][0] == {"ab": -1.0, "c": -2.0}
    chunks = CompletionChunks(HEAD, 0, "", logprobs=True, usage=False)
    streamed = [choices(chunks.delta(Delta("", (one,))))[0]["logprobs"] for one in tokens]
    for key, values in whole.items():
        assert [value for one in streamed for value in one[key]] == values


def test_a_prompt_counts_once_for_all_its_choices() -> None:
    used = {0: Usage(10, 1, 4), 1: Usage(10, 2, 9), 2: Usage(20, 3, 0), 3: Usage(20, 4, 19)}
    assert usage_object(used, 2) == {
        "prompt_tokens": 30,
        "completion_tokens": 10,
        "total_tokens": 40,
        "prompt_tokens_details": {"cached_tokens": 4},
    }


texts = st.builds(Delta, st.text(max_size=3))
measured = st.builds(lambda text: Delta(text, (Logprobs(TokenLogprob(b"a", -1.0), ()),)), st.text(max_size=3))


@given(st.lists(st.tuples(st.integers(0, 1), st.one_of(texts, measured, st.just(Finished("stop", Usage(1, 1, 0)))))))
def test_joined_chunks_say_the_same(batch: list[tuple[int, Delta | Finished]]) -> None:
    found = joined(batch)
    for index in (0, 1):
        before, after = ([event for i, event in events if i == index] for events in (batch, found))
        assert "".join(e.text for e in before if isinstance(e, Delta)) == "".join(
            e.text for e in after if isinstance(e, Delta)
        )
        assert [e for e in before if not isinstance(e, Delta) or e.logprobs] == [
            e for e in after if not isinstance(e, Delta) or e.logprobs
        ]
    plain = [(i, isinstance(e, Delta) and not e.logprobs) for i, e in found]
    assert not any(one == other and one[1] for one, other in pairwise(plain))
