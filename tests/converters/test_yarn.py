"""YaRN's keys and the window: as config.json says, as asked for, and as llama.cpp then reads them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import llama_cpp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.config import Config, parse_config
from converters.convert import Summary, convert
from converters.errors import CheckpointError, ConversionError
from converters.yarn import CLAIMED_WINDOW, YarnChoice, settle
from localqwen.engine.model import Model
from tests.fixtures.tiny import CONFIG, edit_json, tiny_checkpoint

YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "beta_fast": 16.0}
PATH = Path("config.json")
KEY = "qwen2.rope.scaling."


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The tiny checkpoint, whose window is 512 tokens."""
    return tiny_checkpoint(tmp_path / "Tiny-Instruct")


def settled(choice: YarnChoice, **changes: Any) -> tuple[Config, tuple[str, ...]]:
    """What is written for the tiny config with changes."""
    document = {**CONFIG, **changes}
    return settle(parse_config(document, PATH), document, choice, PATH)


def loaded(path: Path) -> tuple[int, dict[str, str]]:
    """The window and the rope keys, as llama.cpp reads them."""
    with Model.open(path) as opened:
        names = ("type", "factor", "original_context_length", "yarn_beta_fast")
        keys = {name: value for name in names if (value := opened.metadata(KEY + name)) is not None}
        return llama_cpp.llama_model_n_ctx_train(opened.handle), keys


def made(checkpoint: Path, **options: Any) -> tuple[Summary, int, dict[str, str]]:
    """A conversion, and what llama.cpp reads of it."""
    out = checkpoint.parent / "out.gguf"
    summary = convert(checkpoint, out, type="Q8_0", overwrite=True, **options)
    return summary, *loaded(out)


def test_llama_cpp_loads_the_factor_that_was_asked_for(checkpoint: Path) -> None:
    summary, window, keys = made(checkpoint, yarn=4)
    assert window == 512
    assert keys["type"] == "yarn"
    assert float(keys["factor"]) == 4.0
    assert keys["original_context_length"] == "512"
    assert any("no original_max_position_embeddings" in note and "512 tokens" in note for note in summary.notes)
    assert any("--yarn-context" in note and "2048" in note for note in summary.notes)


def test_yarn_context_is_what_every_program_offers(checkpoint: Path) -> None:
    summary, window, keys = made(checkpoint, yarn=4, yarn_context=True)
    assert window == 2048
    assert keys["original_context_length"] == "512"
    assert not any("--yarn-context" in note for note in summary.notes)
    with Model.open(checkpoint.parent / "out.gguf") as opened:
        # Our own engine still starts without scaling.
        assert (opened.window.native, opened.window.longest) == (512, 2048)


def test_a_checkpoints_own_yarn_is_kept_changed_or_left_out(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", rope_scaling=YARN)
    _, _, kept = made(checkpoint)
    assert float(kept["factor"]) == 4.0
    assert float(kept["yarn_beta_fast"]) == 16.0
    _, _, changed = made(checkpoint, yarn=2.5)
    assert float(changed["factor"]) == 2.5
    assert float(changed["yarn_beta_fast"]) == 16.0
    _, window, none = made(checkpoint, yarn="off")
    assert window == 512
    assert none.get("factor") is None


def test_without_a_choice_nothing_is_assumed_silently() -> None:
    config, notes = settled(YarnChoice(), rope_scaling={"type": "yarn", "factor": 2.0})
    assert config.yarn is not None
    assert config.yarn.original_context == 512
    assert "max_position_embeddings" in notes[0]
    assert settled(YarnChoice())[1] == ()


def test_a_window_stretched_in_config_json_shrinks_when_yarn_is_left_out() -> None:
    config, notes = settled(YarnChoice("off"), rope_scaling=YARN, max_position_embeddings=2048)
    assert (config.context, config.yarn) == (512, None)
    assert "512" in notes[0]


def test_base_models_that_claim_more_than_they_were_trained_on() -> None:
    config, notes = settled(YarnChoice(), max_position_embeddings=CLAIMED_WINDOW)
    assert config.context == CLAIMED_WINDOW, "as llama.cpp writes it"
    assert "32768" in notes[0]
    _, notes = settled(YarnChoice(4.0), max_position_embeddings=CLAIMED_WINDOW)
    assert '"original_max_position_embeddings": 32768' in notes[0]
    config, _ = settled(
        YarnChoice(4.0, extend=True), max_position_embeddings=CLAIMED_WINDOW, original_max_position_embeddings=32768
    )
    assert config.context == CLAIMED_WINDOW


@pytest.mark.parametrize("factor", [1.0, 0.5, -4.0, float("nan"), float("inf")])
def test_factors_that_stretch_nothing_are_refused(factor: float) -> None:
    with pytest.raises(ConversionError, match="factor"):
        settled(YarnChoice(factor))


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(ConversionError, match="--yarn FACTOR"):
        settled(YarnChoice(extend=True))
    with pytest.raises(ConversionError, match="--yarn FACTOR"):
        settled(YarnChoice("off", extend=True), rope_scaling=YARN)
    with pytest.raises(ConversionError, match="smaller factor"):
        settled(YarnChoice(1e9))
    with pytest.raises(CheckpointError, match="original_max_position_embeddings"):
        settled(YarnChoice(2.0), original_max_position_embeddings="many")


@given(
    factor=st.floats(1.01, 1000, allow_nan=False),
    context=st.integers(1, 1 << 20),
    original=st.none() | st.integers(1, 1 << 20),
    extend=st.booleans(),
)
def test_the_window_is_the_stated_one_or_the_stretched_one(
    factor: float, context: int, original: int | None, extend: bool
) -> None:
    changes = {"max_position_embeddings": context, "original_max_position_embeddings": original}
    config, notes = settled(YarnChoice(factor, extend), **changes)
    assert config.yarn is not None
    assert config.yarn.original_context == (original or context)
    stretched = round(factor * (original or context))
    assert config.context == (max(context, stretched) if extend else context)
    assert (original is None) == any("taken to be" in note for note in notes)
    assert dataclasses.replace(config, yarn=None, context=context) == parse_config(CONFIG | changes, PATH)
