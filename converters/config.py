"""config.json of a Qwen2 checkpoint: the numbers that a conversion needs, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import CheckpointError

ARCHITECTURES = ("Qwen2ForCausalLM", "Qwen2MoeForCausalLM")
LIMIT = 2**31 - 1  # of what a GGUF's 32-bit numbers hold
_MAX_EXPERTS = 1024  # LLAMA_MAX_EXPERTS in llama.cpp's llama-hparams.h


@dataclass(frozen=True)
class Yarn:
    """YaRN: the window is ``factor`` times the ``original_context`` tokens that the model was trained on.

    The other numbers stay None where the checkpoint leaves them to their defaults.
    """

    factor: float
    original_context: int
    ext_factor: float | None = None
    attn_factor: float | None = None
    beta_fast: float | None = None
    beta_slow: float | None = None


@dataclass(frozen=True)
class Experts:
    """Mixture of Experts: ``used`` of ``count`` per token, each of feed-forward width ``width``, and the shared one."""

    count: int
    used: int
    width: int
    shared_width: int


@dataclass(frozen=True)
class Config:
    """Shape of a Qwen2 model, in weights, layers, heads and tokens; ``experts`` is None for a dense one."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int
    rms_eps: float
    rope_theta: float
    yarn: Yarn | None
    experts: Experts | None = None

    @property
    def architecture(self) -> str:
        """What llama.cpp calls it."""
        return "qwen2moe" if self.experts else "qwen2"

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads


def parse_config(config: Mapping[str, Any], path: Path) -> Config:
    """Check and name what ``config.json`` (at ``path``, for messages) says.

    Rotary settings come from ``rope_parameters`` (transformers 5) or from ``rope_scaling`` and ``rope_theta``
    (transformers 4); both forms mean the same.

    Raises:
        CheckpointError: another architecture, or a number is missing or makes no sense.
    """
    architectures = config.get("architectures")
    known = [name for name in architectures if name in ARCHITECTURES] if isinstance(architectures, list) else []
    if not known:
        found = ", ".join(map(str, architectures)) if isinstance(architectures, list) else "none"
        raise CheckpointError(
            f"{path} is for another architecture ({found or 'none'}): only Qwen2 and Qwen2.5 text models "
            f"({', '.join(ARCHITECTURES)}) can be converted."
        )
    rope = _rope(config)
    if not isinstance(rope, dict):
        raise _bad(path, "rope_parameters", rope)
    context = _integer(config, "max_position_embeddings", path)
    parsed = Config(
        layers=_integer(config, "num_hidden_layers", path),
        hidden=_integer(config, "hidden_size", path),
        feed_forward=_integer(config, "intermediate_size", path),
        heads=_integer(config, "num_attention_heads", path),
        kv_heads=_integer(config, "num_key_value_heads", path),
        vocabulary=_integer(config, "vocab_size", path),
        context=context,
        rms_eps=_number({"rms_norm_eps": config.get("rms_norm_eps", 1e-6)}, "rms_norm_eps", path),
        # transformers' Qwen2Config has this default.
        rope_theta=_number({"rope_theta": config.get("rope_theta", 10000.0)} | rope, "rope_theta", path),
        yarn=_yarn(config, rope, context, path),
        experts=_experts(config, path) if known[0] == "Qwen2MoeForCausalLM" else None,
    )
    if parsed.hidden % parsed.heads or parsed.heads % parsed.kv_heads:
        raise CheckpointError(
            f"{path} does not fit together: hidden_size {parsed.hidden}, {parsed.heads} heads and {parsed.kv_heads} "
            "key-value heads do not divide evenly; download it again."
        )
    return parsed


def stated_original_context(config: Mapping[str, Any], path: Path) -> int | None:
    """``original_max_position_embeddings``, from the rotary settings or beside them; None where it is missing.

    Raises:
        CheckpointError: it is no number of tokens.
    """
    rope = _rope(config)
    for place in (rope if isinstance(rope, dict) else {}, config):
        if place.get("original_max_position_embeddings") is not None:
            return _integer(place, "original_max_position_embeddings", path)
    return None


def _rope(config: Mapping[str, Any]) -> Any:
    return config.get("rope_parameters", config.get("rope_scaling")) or {}


def _experts(config: Mapping[str, Any], path: Path) -> Experts:
    if config.get("mlp_only_layers") or config.get("decoder_sparse_step", 1) != 1:
        raise CheckpointError(
            f"{path} asks for layers without experts (mlp_only_layers, decoder_sparse_step), and llama.cpp runs only "
            "Qwen2 models with experts in every layer: convert another model."
        )
    if config.get("tie_word_embeddings", False) is True:
        raise CheckpointError(
            f"{path} says tie_word_embeddings, and llama.cpp runs Qwen2 models with experts only with an output "
            "matrix of their own: convert another model."
        )
    experts = Experts(
        count=_integer(config, "num_experts", path),
        used=_integer(config, "num_experts_per_tok", path),
        width=_integer(config, "moe_intermediate_size", path),
        shared_width=_integer(config, "shared_expert_intermediate_size", path),
    )
    if experts.count > _MAX_EXPERTS:
        raise CheckpointError(
            f"{path} says there are {experts.count} experts, and llama.cpp runs at most {_MAX_EXPERTS}: "
            "convert another model."
        )
    if experts.used > experts.count:
        raise _bad(path, "num_experts_per_tok", experts.used)
    return experts


def _yarn(config: Mapping[str, Any], rope: Mapping[str, Any], context: int, path: Path) -> Yarn | None:
    kind = rope.get("rope_type", rope.get("type"))
    if kind in (None, "default"):
        return None
    if kind != "yarn":
        raise CheckpointError(
            f"{path} asks for rope scaling {kind!r}, which Qwen2 conversions do not write: "
            "use 'yarn' or remove the setting."
        )
    if rope.get("factor") is None:
        return None

    def optional(*names: str) -> float | None:
        name = next((name for name in names if rope.get(name) is not None), None)
        return None if name is None else _number(rope, name, path)

    return Yarn(
        factor=_number(rope, "factor", path),
        # Where it is missing, the window that YaRN starts from is the model's; converters.yarn says so.
        original_context=stated_original_context(config, path) or context,
        ext_factor=optional("extrapolation_factor"),
        attn_factor=optional("attention_factor", "attn_factor"),
        beta_fast=optional("beta_fast"),
        beta_slow=optional("beta_slow"),
    )


def _integer(config: Mapping[str, Any], key: str, path: Path) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LIMIT:
        raise _bad(path, key, value)
    return value


def _number(config: Mapping[str, Any], key: str, path: Path) -> float:
    value = config.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise _bad(path, key, value)
    return float(value)


def _bad(path: Path, key: str, value: Any) -> CheckpointError:
    if value is None:
        return CheckpointError(f"{path} lacks {key}: download the checkpoint's config.json again.")
    return CheckpointError(f"{path} says {key} is {str(value)[:60]!r}, which makes no sense: download it again.")
