"""Drawing tokens from the demo model's logits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from localqwen.engine.model import Model
from localqwen.engine.sampler import Sampler
from localqwen.engine.sampling import NEUTRAL
from localqwen.errors import InvalidRequestError
from localqwen.events import Logprobs
from tests.engine.decoding import OneSequence

GREEDY = replace(NEUTRAL, temperature=0.0)


@pytest.fixture(scope="module")
def model(demo_gguf: Path) -> Iterator[Model]:
    with Model.load(demo_gguf) as model:
        yield model


@pytest.fixture
def context(model: Model) -> Iterator[OneSequence]:
    """The logits after the start of a sentence."""
    with closing(OneSequence(model)) as context:
        context.decode(model.tokenize("The capital of France is"))
        yield context


def row_of(model: Model, context: OneSequence) -> npt.NDArray[np.float64]:
    return context.logits().astype(np.float64)


def log_softmax(row: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = row - row.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def draw(model: Model, context: OneSequence, sampler: Sampler) -> tuple[int, Logprobs | None]:
    with closing(sampler):
        return sampler.sample(context.handle, -1), sampler.last_logprobs


def test_greedy_takes_the_likeliest(model: Model, context: OneSequence) -> None:
    row = row_of(model, context)
    assert draw(model, context, Sampler(model, GREEDY, [])) == (int(row.argmax()), None)


@pytest.mark.parametrize("top", [0, 1, 5, 20])
def test_log_probabilities_are_the_models_own(model: Model, context: OneSequence, top: int) -> None:
    row = row_of(model, context)
    best = int(row.argmax())
    truth = log_softmax(row)
    # All that changes the choice changes nothing in what is told about the model.
    hot = replace(NEUTRAL, temperature=1.7, top_k=50, repetition_penalty=1.5, presence_penalty=1.0, seed=7)
    sampler = Sampler(model, hot, [best], logit_bias=[(best, -100.0)], top_logprobs=top)
    token, told = draw(model, context, sampler)
    assert token != best
    assert told is not None
    assert told.chosen.data == model.piece(token)
    assert told.chosen.logprob == pytest.approx(truth[token], abs=1e-4)
    ranked = np.argsort(-truth, kind="stable")[:top]
    assert [likely.data for likely in told.top] == [model.piece(int(likely)) for likely in ranked]
    assert [likely.logprob for likely in told.top] == pytest.approx(truth[ranked], abs=1e-4)
    assert sum(np.exp(likely.logprob) for likely in told.top) <= 1 + 1e-6
    np.testing.assert_array_equal(row_of(model, context), row, "another may draw from the same row")


def test_greedy_is_the_first_of_the_top(model: Model, context: OneSequence) -> None:
    _, told = draw(model, context, Sampler(model, GREEDY, [], top_logprobs=3))
    assert told is not None
    assert told.chosen == told.top[0]


def test_a_seed_is_an_answer(model: Model, context: OneSequence) -> None:
    def answer(seed: int) -> list[int]:
        with closing(Sampler(model, replace(NEUTRAL, seed=seed), [])) as sampler:
            return [sampler.sample(context.handle, -1) for _ in range(20)]

    assert answer(1) == answer(1)
    assert answer(1) != answer(2)


def test_draws_follow_the_model(model: Model, context: OneSequence) -> None:
    expected = np.exp(log_softmax(row_of(model, context)))
    with closing(Sampler(model, replace(NEUTRAL, seed=3), [])) as sampler:
        counts = Counter(sampler.sample(context.handle, -1) for _ in range(2000))
    for token in np.argsort(-expected)[:3]:
        deviation = np.sqrt(expected[token] * (1 - expected[token]) / 2000)
        assert counts[int(token)] / 2000 == pytest.approx(expected[token], abs=4 * deviation)


def test_a_bias_decides(model: Model, context: OneSequence) -> None:
    unlikely = int(row_of(model, context).argmin())
    assert draw(model, context, Sampler(model, GREEDY, [], logit_bias=[(unlikely, 100.0)]))[0] == unlikely
    with pytest.raises(InvalidRequestError, match="logit_bias names token"):
        Sampler(model, GREEDY, [], logit_bias=[(model.vocabulary_size, 1.0)])


def test_the_prompt_counts_for_repetition_only(model: Model, context: OneSequence) -> None:
    best = int(row_of(model, context).argmax())
    for penalty, expected in (("frequency_penalty", True), ("presence_penalty", True), ("repetition_penalty", False)):
        sampler = Sampler(model, replace(GREEDY, **{penalty: 2.0}), [best] * 50)  # type: ignore[arg-type]
        assert (draw(model, context, sampler)[0] == best) is expected


def test_a_drawn_token_counts(model: Model, context: OneSequence) -> None:
    row = row_of(model, context).astype(np.float32)
    with closing(Sampler(model, replace(GREEDY, frequency_penalty=0.7, presence_penalty=0.3), [])) as sampler:
        for _ in range(40):
            token = sampler.sample(context.handle, -1)
            assert row[token] == row.max()
            first = row[token] == np.float32(row_of(model, context)[token])
            row[token] -= 0.7 + 0.3 * first
