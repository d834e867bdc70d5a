"""The fixtures are what they claim to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converters.convert import convert
from localqwen.smollm2 import Source
from tests import fixtures
from tests.fixtures.widen import widen
from tests.llama import logits


@pytest.mark.parametrize("hidden,fits", [(768, True), (700, False), (640, False)])
def test_widening_needs_whole_heads_and_groups(hidden: int, fits: bool) -> None:
    source = Source(
        {"hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3, "rms_norm_eps": 1e-5},
        {"model.norm.weight": np.ones(576, np.float32)}, {}, {}, {},
    )  # fmt: skip
    if fits:
        wide = widen(source, hidden)
        assert wide.config["num_attention_heads"] == 12
        assert wide.config["num_key_value_heads"] == 4
        assert wide.tensors["model.norm.weight"].shape == (768,)
    else:
        with pytest.raises(ValueError):
            widen(source, hidden)


def test_the_768_variant_is_the_same_function(tmp_path: Path) -> None:
    # Compared in bf16, where only the order of additions differs.
    results = []
    for index, checkpoint in enumerate((fixtures.smollm2_checkpoint(), fixtures.smollm2_768_checkpoint())):
        out = tmp_path / f"{index}.gguf"
        convert(checkpoint, out, type="BF16")
        results.append(logits(out, "The capital of Japan is Tokyo, and the capital of France is"))
    original, wide = results
    assert original.argmax() == wide.argmax()
    assert np.abs(original - wide).max() < 0.05 * np.abs(original).max()
