"""What the GGUF will hold: every tensor's name, shape and source, in llama.cpp's order.

Names are those of llama.cpp's architecture qwen2 (``gguf-py/gguf/tensor_mapping.py``). The order is that of a
quantized file: tensors without a layer first, then layer by layer, by name within each (the ``std::map`` of
``llama_model_loader``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from converters.checkpoint import Checkpoint
from converters.config import Config
from converters.errors import CheckpointError
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


def expected(config: Config) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Checkpoint name → (GGUF name, shape) of every tensor of a dense Qwen2 model, ``lm_head`` included."""
    hidden, wide = config.hidden, config.feed_forward
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
            "mlp.gate_proj.weight": ("ffn_gate.weight", (wide, hidden)),
            "mlp.up_proj.weight": ("ffn_up.weight", (wide, hidden)),
            "mlp.down_proj.weight": ("ffn_down.weight", (hidden, wide)),
        }
        for name, (gguf_name, shape) in parts.items():
            names[f"model.layers.{layer}.{name}"] = (f"blk.{layer}.{gguf_name}", shape)
    return names


def plan(checkpoint: Checkpoint, config: Config) -> list[OutputTensor]:
    """All output tensors in file order.

    Raises:
        CheckpointError: a tensor is missing, unknown, of another shape than the config says, or of a type that
            cannot be converted.
    """
    tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if not name.endswith(_IGNORED)}
    if config.layers > len(tensors):
        # Checked before the names are built: a config can claim any number of layers.
        raise CheckpointError(
            f"{checkpoint.directory / 'config.json'} says there are {config.layers} layers, but the checkpoint holds "
            f"only {len(tensors)} tensors: download the checkpoint again."
        )
    names = expected(config)
    tied = checkpoint.config.get("tie_word_embeddings", False) is True
    output = []
    for name, (gguf_name, shape) in names.items():
        tensor = tensors.get(name)
        if tensor is None:
            # A tied model needs no lm_head; where one is stored all the same, llama.cpp keeps it.
            if name == "lm_head.weight" and tied:
                continue
            raise CheckpointError(
                f"{checkpoint.directory} lacks tensor {name!r}, which its config.json calls for: "
                "download the checkpoint again."
            )
        _check(checkpoint, tensor, shape)
        output.append(OutputTensor(gguf_name, shape, (tensor,)))
    _no_strangers(checkpoint, tensors, names)
    return sorted(output, key=lambda tensor: file_order(tensor.name))


def _check(checkpoint: Checkpoint, tensor: SourceTensor, shape: tuple[int, ...]) -> None:
    if tensor.shape != shape:
        raise CheckpointError(
            f"{tensor.path} holds {tensor.name!r} with shape {list(tensor.shape)}, but "
            f"{checkpoint.directory / 'config.json'} calls for {list(shape)}: both must be of the same model."
        )
    if tensor.dtype not in ITEM_SIZES:
        raise unsupported(tensor.path, tensor.name, tensor.dtype)


def _no_strangers(checkpoint: Checkpoint, tensors: Mapping[str, SourceTensor], names: Mapping[str, object]) -> None:
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
