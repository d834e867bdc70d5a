"""What the GGUF will hold: every tensor's name, shape and source, in llama.cpp's order.

Names are those of llama.cpp's architectures qwen2 and qwen2moe (``gguf-py/gguf/tensor_mapping.py``). The order is that
of a quantized file: tensors without a layer first, then layer by layer, by name within each (the ``std::map`` of
``llama_model_loader``).
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from converters.checkpoint import Checkpoint
from converters.config import Config
from converters.errors import CheckpointError
from converters.experts import expert_names, unfused
from converters.safetensors import ITEM_SIZES, SourceTensor, unsupported

# Buffers that old checkpoints carry and that are no weights.
_IGNORED = (".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias")


@dataclass(frozen=True)
class OutputTensor:
    """One tensor of the GGUF: ``dims`` rows first; ``parts`` are stacked along the first dimension."""

    name: str
    dims: tuple[int, ...]
    parts: tuple[SourceTensor, ...]

    @property
    def rows(self) -> int:
        """Number of rows when all leading dimensions are flattened (a vector is one row)."""
        rows = 1
        for size in self.dims[:-1]:
            rows *= size
        return rows

    @property
    def columns(self) -> int:
        """Weights in a row: the dimension along which blocks run."""
        return self.dims[-1]


class Parameters(NamedTuple):
    """How many weights a model has: all, those outside experts, those of one expert of each kind, and the experts."""

    total: int
    shared: int
    per_expert: int
    experts: int


class Wanted(NamedTuple):
    """An output tensor as the config calls for it: checkpoint names of its parts, and each part's shape."""

    dims: tuple[int, ...]
    parts: list[str]
    shape: tuple[int, ...]


def expected(config: Config) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Checkpoint name → (GGUF name, shape) of every tensor of a Qwen2 model, ``lm_head`` included.

    All experts of a layer share one GGUF name.
    """
    hidden = config.hidden
    kv = config.kv_heads * config.head_dim
    names: dict[str, tuple[str, tuple[int, ...]]] = {
        "lm_head.weight": ("output.weight", (config.vocabulary, hidden)),
        "model.embed_tokens.weight": ("token_embd.weight", (config.vocabulary, hidden)),
        "model.norm.weight": ("output_norm.weight", (hidden,)),
    }
    for layer in range(config.layers):
        parts: dict[str, tuple[str, tuple[int, ...]]] = {
            "input_layernorm.weight": ("attn_norm.weight", (hidden,)),
            "post_attention_layernorm.weight": ("ffn_norm.weight", (hidden,)),
            "self_attn.q_proj.weight": ("attn_q.weight", (hidden, hidden)),
            "self_attn.q_proj.bias": ("attn_q.bias", (hidden,)),
            "self_attn.k_proj.weight": ("attn_k.weight", (kv, hidden)),
            "self_attn.k_proj.bias": ("attn_k.bias", (kv,)),
            "self_attn.v_proj.weight": ("attn_v.weight", (kv, hidden)),
            "self_attn.v_proj.bias": ("attn_v.bias", (kv,)),
            "self_attn.o_proj.weight": ("attn_output.weight", (hidden, hidden)),
            **_feed_forward(config),
        }
        for name, (gguf_name, shape) in parts.items():
            names[f"model.layers.{layer}.{name}"] = (f"blk.{layer}.{gguf_name}", shape)
    return names


def outputs(config: Config) -> dict[str, Wanted]:
    """GGUF name → what it is made of, ``output.weight`` included."""
    found: dict[str, Wanted] = {}
    for name, (gguf_name, shape) in expected(config).items():
        found.setdefault(gguf_name, Wanted(shape, [], shape)).parts.append(name)
    return {
        name: wanted._replace(dims=_dims((len(wanted.parts), *wanted.shape) if "_exps." in name else wanted.shape))
        for name, wanted in found.items()
    }


def plan(checkpoint: Checkpoint, config: Config) -> list[OutputTensor]:
    """All output tensors in file order.

    Raises:
        CheckpointError: a tensor is missing, unknown, of another shape than the config says, or of a type that
            cannot be converted.
    """
    path = checkpoint.directory / "config.json"
    tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if not name.endswith(_IGNORED)}
    tensors = unfused(tensors, config, path)
    least = config.layers * (config.experts.count if config.experts else 1)
    if least > len(tensors):
        # Checked before the names are built: a config can claim any number of layers.
        raise CheckpointError(
            f"{path} says there are {config.layers} layers, but the checkpoint holds only {len(tensors)} tensors: "
            "download the checkpoint again."
        )
    tied = checkpoint.config.get("tie_word_embeddings", False) is True
    wanted = outputs(config)
    if tied and "lm_head.weight" not in tensors:
        # A tied model needs no lm_head; where one is stored all the same, llama.cpp keeps it.
        del wanted["output.weight"]
    output = []
    for gguf_name, (dims, names, shape) in wanted.items():
        parts = []
        for name in names:
            if name not in tensors:
                raise CheckpointError(
                    f"{checkpoint.directory} lacks tensor {name!r}, which its config.json calls for: "
                    "download the checkpoint again."
                )
            _check(checkpoint, tensors[name], shape)
            parts.append(tensors[name])
        output.append(OutputTensor(gguf_name, dims, tuple(parts)))
    _no_strangers(checkpoint, tensors, {name for one in wanted.values() for name in one.parts})
    return sorted(output, key=lambda tensor: file_order(tensor.name))


def count(tensors: Sequence[OutputTensor]) -> Parameters:
    """Count weights as llama.cpp's ``GGUFWriter.get_total_parameter_count`` does."""
    sizes = [(tensor.rows * tensor.columns, tensor) for tensor in tensors]
    stacks = [(size, tensor.dims[0]) for size, tensor in sizes if "_exps." in tensor.name and len(tensor.dims) == 3]
    total = sum(size for size, _ in sizes)
    return Parameters(
        total=total,
        shared=total - sum(size for size, _ in stacks),
        per_expert=sum(size // experts for size, experts in stacks),
        experts=sum(experts for _, experts in stacks) // len(stacks) if stacks else 0,
    )


def _feed_forward(config: Config) -> dict[str, tuple[str, tuple[int, ...]]]:
    """One layer's feed-forward part."""
    hidden, experts = config.hidden, config.experts
    if experts is None:
        return _gated("mlp", "", hidden, config.feed_forward)
    names = {
        "mlp.gate.weight": ("ffn_gate_inp.weight", (experts.count, hidden)),
        "mlp.shared_expert_gate.weight": ("ffn_gate_inp_shexp.weight", (1, hidden)),
        **_gated("mlp.shared_expert", "_shexp", hidden, experts.shared_width),
    }
    for name in expert_names("mlp", experts.count):
        names |= _gated(name, "_exps", hidden, experts.width)
    return names


def _gated(name: str, suffix: str, hidden: int, wide: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {
        f"{name}.gate_proj.weight": (f"ffn_gate{suffix}.weight", (wide, hidden)),
        f"{name}.up_proj.weight": (f"ffn_up{suffix}.weight", (wide, hidden)),
        f"{name}.down_proj.weight": (f"ffn_down{suffix}.weight", (hidden, wide)),
    }


def _dims(dims: tuple[int, ...]) -> tuple[int, ...]:
    """Without leading ones, which ggml does not count as dimensions."""
    while len(dims) > 1 and dims[0] == 1:
        dims = dims[1:]
    return dims


def _check(checkpoint: Checkpoint, tensor: SourceTensor, shape: tuple[int, ...]) -> None:
    if tensor.shape != shape:
        raise CheckpointError(
            f"{tensor.path} holds {tensor.name!r} with shape {list(tensor.shape)}, but "
            f"{checkpoint.directory / 'config.json'} calls for {list(shape)}: both must be of the same model."
        )
    if tensor.dtype not in ITEM_SIZES:
        raise unsupported(tensor.path, tensor.name, tensor.dtype)


def _no_strangers(checkpoint: Checkpoint, tensors: Mapping[str, SourceTensor], names: Container[str]) -> None:
    stranger = next((name for name in tensors if name not in names), None)
    if stranger is not None:
        raise CheckpointError(
            f"{tensors[stranger].path} holds tensor {stranger!r}, which a Qwen2 model of this config does not have: "
            "merge adapters first, and convert only plain Qwen2 checkpoints."
        )


def file_order(name: str) -> tuple[int, str]:
    """Sort key that puts GGUF tensor names in the order of a quantized file."""
    layer = int(name.split(".")[1]) if name.startswith("blk.") else -1
    return layer, name
