"""An answer goes on where it was cut, token for token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localqwen.engine.engine import Engine
from localqwen.engine.job import Job, Request
from localqwen.engine.kept import KeptAnswers
from localqwen.engine.options import EngineOptions
from localqwen.events import AnswerEvent, Delta, Finished
from localqwen.params import ChatMessage, SamplingParams
from tests.engine.asking import STORY, loaded

LENGTH = 40
PIECES = [b"a", b"bc", b" d", "é".encode(), "é".encode()[:1], "é".encode()[1:], "日本".encode(), "日".encode()[:2]]


@pytest.fixture(scope="module")
def engine(demo_gguf: Path) -> Iterator[Engine]:
    """One that guesses nothing ahead: batches of the same shape give the same logits."""
    with loaded(demo_gguf, EngineOptions(context=1024, speculation=False)) as engine:
        yield engine


def run(engine: Engine, request: Request) -> tuple[str, Job]:
    import queue

    events: queue.SimpleQueue[AnswerEvent] = queue.SimpleQueue()
    job = engine.submit(request, events.put)
    text = ""
    while not isinstance(event := events.get(timeout=60), Finished):
        text += event.text if isinstance(event, Delta) else ""
    assert event.error is None
    return text, job


def asked(engine: Engine, tokens: int, **params: float) -> str:
    params = {"temperature": 0, **params}
    request = Request(engine.chat_prompt(STORY), SamplingParams(max_tokens=tokens, **params))  # type: ignore[arg-type]
    return run(engine, request)[0]


def resumed(engine: Engine, begun: str, tokens: int, **params: float) -> tuple[str, Job]:
    messages: list[ChatMessage] = [*STORY, {"role": "assistant", "content": begun}]
    prompt, beginning = engine.resumed_prompt(messages)
    params = {"temperature": 0, **params}
    sampling = SamplingParams(max_tokens=tokens, **params)  # type: ignore[arg-type]
    return run(engine, Request(prompt, sampling, begun=beginning))


@pytest.mark.parametrize("params", [{}, {"frequency_penalty": 1.5}, {"repetition_penalty": 1.3}])
def test_an_answer_that_was_cut_goes_on_as_if_it_had_not_been(engine: Engine, params: dict[str, float]) -> None:
    whole = asked(engine, LENGTH, **params)
    for cut in (1, 2, 7, 20):
        begun = asked(engine, cut, **params)
        assert whole.startswith(begun)
        rest, job = resumed(engine, begun, LENGTH - cut, **params)
        assert begun + rest == whole
        assert job.cached_tokens == len(job.prompt) - 1  # nothing is computed twice


def test_a_cut_that_no_token_ends_with_goes_on_with_sense(engine: Engine) -> None:
    whole = asked(engine, LENGTH)
    begun = whole[:13]
    prompt, beginning = engine.resumed_prompt([*STORY, {"role": "assistant", "content": begun}])
    text = b"".join(engine._users.thing.model.piece(token) for token in prompt[-beginning.count :])  # type: ignore[union-attr]
    assert text.decode() == begun


def kept(*answers: Sequence[int]) -> KeptAnswers:
    answers_kept = KeptAnswers(1000, lambda token: PIECES[token], ())
    for tokens in answers:
        data = b"".join(PIECES[token] for token in tokens)
        answers_kept.remember(data.decode("utf-8", "surrogateescape"), tokens)
    return answers_kept


@given(st.lists(st.integers(0, len(PIECES) - 1), max_size=8), st.integers(0, 20))
def test_a_kept_beginning_is_exactly_the_text(tokens: list[int], cut: int) -> None:
    data = b"".join(PIECES[token] for token in tokens)
    text = data.decode("utf-8", "ignore")[:cut]
    begun, rest = kept(tokens).beginning(text)
    assert b"".join(PIECES[token] for token in begun) + rest.encode() == text.encode()
    assert list(begun) == tokens[: len(begun)]


def test_without_a_kept_answer_all_of_it_is_rest() -> None:
    assert kept([0, 1]).beginning("other") == ((), "other")
