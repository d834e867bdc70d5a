"""A second model that guesses: the demo model for itself, which is nearly always right and never faster."""

from __future__ import annotations

from pathlib import Path

import pytest

from localqwen.engine.context import UBATCH
from localqwen.engine.draft import PREFILL, DraftModel
from localqwen.engine.model import Model
from localqwen.engine.options import EngineOptions
from localqwen.errors import InvalidRequestError
from localqwen.events import Loading
from localqwen.params import SamplingParams
from tests.engine.asking import JAPAN, STORY, Question, ask, loaded
from tests.fixtures.tiny_moe import write_tiny_moe


def test_an_answer_is_the_same_with_a_draft_model(demo_gguf: Path) -> None:
    with loaded(demo_gguf, EngineOptions(context=1024, speculation=False)) as engine:
        plain, _ = ask(engine, JAPAN, temperature=0)
        assert engine.stats.drafted_tokens == 0
    with loaded(demo_gguf, EngineOptions(context=1024, draft=demo_gguf)) as engine:
        assert ask(engine, JAPAN, temperature=0)[0] == plain
        ask(engine, STORY, temperature=0, max_tokens=80)
        assert engine.stats.drafted_tokens > 0
        # It is the same model: only near ties, and what comes after them, can be guessed wrong.
        assert engine.stats.accepted_tokens > engine.stats.drafted_tokens / 2


def test_an_answer_with_a_draft_model_can_be_stopped(demo_gguf: Path) -> None:
    with loaded(demo_gguf, EngineOptions(context=1024, draft=demo_gguf)) as engine:
        question = Question(engine, STORY, SamplingParams(temperature=0))
        events = iter(question)
        while question.job.completion_tokens < 20:
            next(events)
        engine.cancel(question.job)
        list(events)
        assert "Tokyo" in ask(engine, JAPAN, temperature=0)[0]


def test_a_long_prompt_is_read_in_parts(demo_gguf: Path) -> None:
    with Model.load(demo_gguf) as target:
        tokens = target.tokenize("tick tock " * 300)
        assert len(tokens) > UBATCH + PREFILL
        draft = DraftModel(demo_gguf, target, 2048, 2)
        try:
            assert draft.draft(tokens, 4) == []
            spent = draft.spent
            guess = draft.draft(tokens, 4)
            assert 1 <= len(guess) <= 4
            assert draft.spent > spent
            draft.abort()
            assert draft.draft(tokens, 4) == []
            draft.resume()
            assert draft.draft(tokens, 4) == guess
            assert draft.confidence([1] * 2048) is None, "beyond its window"
        finally:
            draft.close()


def test_another_vocabulary_is_refused(demo_gguf: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    write_tiny_moe(other)
    with (
        Model.load(demo_gguf) as target,
        pytest.raises(InvalidRequestError, match=r"other\.gguf cannot draft for .*: .*give a smaller model"),
    ):
        DraftModel(other, target, 512, 1)


def test_a_draft_model_that_cannot_be_loaded_is_the_engines_failure(demo_gguf: Path, tmp_path: Path) -> None:
    with loaded(demo_gguf, EngineOptions(context=512, draft=tmp_path / "missing.gguf")) as engine:
        assert not isinstance(engine.state, Loading)
        assert "missing.gguf" in str(getattr(engine.state, "error", ""))
