"""Mixture of Experts: stored one by one or stacked, and what llama.cpp could not run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import pytest

from converters.config import Config, Experts
from converters.convert import convert
from converters.errors import ConversionError
from converters.layout import expected
from localqwen.smollm2 import write_safetensors
from tests.fixtures.tiny import VOCABULARY, edit_json, tiny_checkpoint
from tests.llama import logits

Weights = dict[str, npt.NDArray[np.float32]]
EXPERTS = Experts(count=3, used=2, width=32, shared_width=96)
SHAPE = Config(2, 64, 96, 4, 2, VOCABULARY, 512, 1e-6, 1e4, None, EXPERTS)


def weights() -> Weights:
    """Random weights, one tensor per expert and matrix."""
    generator = np.random.default_rng(1)
    names = expected(SHAPE).items()
    return {name: generator.standard_normal(dims).astype(np.float32) * np.float32(0.05) for name, (_, dims) in names}


def stacked(plain: Weights) -> Weights:
    """The same with each layer's experts in two tensors."""
    found = {name: values for name, values in plain.items() if ".experts." not in name}
    for layer in range(SHAPE.layers):
        module = f"model.layers.{layer}.mlp.experts"
        part = {
            kind: np.stack([plain[f"{module}.{expert}.{kind}_proj.weight"] for expert in range(EXPERTS.count)])
            for kind in ("gate", "up", "down")
        }
        found[f"{module}.gate_up_proj"] = np.concatenate([part["gate"], part["up"]], axis=1)
        found[f"{module}.down_proj"] = part["down"]
    return found


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The tiny checkpoint, with experts."""
    target = tiny_checkpoint(tmp_path / "Tiny-MoE")
    edit_json(
        target / "config.json",
        architectures=["Qwen2MoeForCausalLM"],
        num_experts=EXPERTS.count,
        num_experts_per_tok=EXPERTS.used,
        moe_intermediate_size=EXPERTS.width,
        shared_expert_intermediate_size=EXPERTS.shared_width,
    )
    write_safetensors(target / "model.safetensors", weights())
    return target


def test_every_expert_arrives_where_it_belongs(checkpoint: Path, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "out.gguf", "BF16")
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    tensors = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in reader.tensors}
    source = weights()
    for gguf_kind, kind in (("gate", "gate"), ("up", "up"), ("down", "down")):
        stack = tensors[f"blk.1.ffn_{gguf_kind}_exps.weight"]
        for expert in range(EXPERTS.count):
            name = f"model.layers.1.mlp.experts.{expert}.{kind}_proj.weight"
            np.testing.assert_allclose(stack[expert], source[name], rtol=2**-8)
    assert tensors["blk.0.ffn_gate_inp.weight"].shape == (EXPERTS.count, 64)
    assert tensors["blk.0.ffn_gate_inp_shexp.weight"].shape == (64,)
    assert reader.fields["general.size_label"].contents() == "3x109K"


def test_stacked_experts_give_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "plain.gguf", "Q4_0")
    write_safetensors(checkpoint / "model.safetensors", stacked(weights()))
    convert(checkpoint, tmp_path / "stacked.gguf", "Q4_0")
    assert (tmp_path / "plain.gguf").read_bytes() == (tmp_path / "stacked.gguf").read_bytes()


def test_llama_cpp_runs_it(checkpoint: Path, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "out.gguf", "Q8_0")
    assert np.isfinite(logits(tmp_path / "out.gguf", "abc")).all()


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"mlp_only_layers": [0]}, "experts in every layer"),
        ({"decoder_sparse_step": 2}, "experts in every layer"),
        ({"tie_word_embeddings": True}, "output matrix of their own"),
        ({"num_experts": 5000}, "at most 1024"),
        ({"num_experts": 1000}, "holds only"),
        ({"num_experts": 4}, r"mlp\.gate\.weight' with shape \[3, 64\]"),
        ({"num_experts": None}, "lacks num_experts"),
        ({"num_experts_per_tok": 4}, "num_experts_per_tok is '4'"),
        ({"moe_intermediate_size": 64}, r"shape \[32, 64\], but .* calls for \[64, 64\]"),
    ],
)
def test_configs_that_do_not_fit(changes: dict[str, Any], words: str, checkpoint: Path, tmp_path: Path) -> None:
    edit_json(checkpoint / "config.json", **changes)
    with pytest.raises(ConversionError, match=words):
        convert(checkpoint, tmp_path / "out.gguf")


def test_an_expert_that_is_missing(checkpoint: Path, tmp_path: Path) -> None:
    name = "model.layers.0.mlp.experts.2.down_proj.weight"
    write_safetensors(checkpoint / "model.safetensors", {k: v for k, v in weights().items() if k != name})
    with pytest.raises(ConversionError, match=f"lacks tensor '{name}'"):
        convert(checkpoint, tmp_path / "out.gguf")


@pytest.mark.parametrize("count", [2, 4])
def test_stacks_of_another_height(count: int, checkpoint: Path, tmp_path: Path) -> None:
    write_safetensors(checkpoint / "model.safetensors", stacked(weights()))
    edit_json(checkpoint / "config.json", num_experts=count)
    with pytest.raises(ConversionError, match=r"holds 'model\.layers\.\d\.mlp\.experts.*calls for"):
        convert(checkpoint, tmp_path / "out.gguf")


def test_stacks_of_a_quantized_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    write_safetensors(checkpoint / "model.safetensors", stacked(weights()))
    data = (checkpoint / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["model.layers.0.mlp.experts.down_proj"]["dtype"] = "I16"
    text = json.dumps(header, separators=(",", ":")).encode().ljust(length)
    (checkpoint / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(ConversionError, match="as I16, and only"):
        convert(checkpoint, tmp_path / "out.gguf")
