"""The GGUF's metadata, key by key in the order in which llama.cpp's converter and quantizer write them.

The order matters only because the whole file shall have the same digest as llama.cpp's; it is that of
``conversion/base.py`` (``prepare_metadata``, ``set_gguf_parameters``) followed by ``llama_model_quantize``, which
takes quantization version and file type out and appends them. Authorship heuristics (README front matter, then
``_name_or_path``, then the directory's name) are the ``gguf`` package's own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.checkpoint import read_json
from converters.config import Config
from converters.errors import CheckpointError
from converters.ggml import FileType
from converters.gguf_format import Metadata
from converters.imatrix import ImportanceMatrix
from converters.layout import Parameters

QUANTIZATION_VERSION = 2
MAX_README = 4_000_000

# Sampling defaults in llama.cpp's order: GGUF key, names in generation_config.json, whether it is an integer.
_SAMPLING: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("top_k", ("top_k",), True),
    ("top_p", ("top_p",), False),
    ("min_p", ("min_p",), False),
    ("xtc_probability", ("xtc_probability",), False),
    ("xtc_threshold", ("xtc_threshold",), False),
    ("temp", ("temperature",), False),
    ("penalty_last_n", ("penalty_last_n",), True),
    ("penalty_repeat", ("penalty_repeat", "repetition_penalty"), False),
    ("mirostat", ("mirostat",), True),
    ("mirostat_tau", ("mirostat_tau",), False),
    ("mirostat_eta", ("mirostat_eta",), False),
)
_AUTHORSHIP = ("author", "version", "organization", "finetune", "basename", "description", "quantized_by", "size_label")
_LINKS = ("url", "doi", "uuid", "repo_url")
_ORIGIN = ("name", "author", "version", "organization", "description", *_LINKS)


def general(
    metadata: Metadata, architecture: str, directory: Path, config: Mapping[str, Any], parameters: Parameters
) -> None:
    """``general.*``: type, sampling defaults, authorship, licence, tags.

    Args:
        metadata: receives the keys.
        architecture: llama.cpp's name for it.
        directory: the checkpoint's; its name counts, and README.md and generation_config.json are read from it.
        config: the whole of config.json.
        parameters: for the size label.
    """
    metadata.string("general.architecture", architecture)
    metadata.string("general.type", "model")
    _sampling(metadata, directory)
    authorship = _authorship(directory, config, parameters)
    metadata.string("general.name", str(authorship.name or directory.name))
    for key in _AUTHORSHIP:
        _text(metadata, f"general.{key}", getattr(authorship, key))
    licence = authorship.license
    _text(metadata, "general.license", ",".join(map(str, licence)) if isinstance(licence, list) else licence)
    _text(metadata, "general.license.name", authorship.license_name)
    _text(metadata, "general.license.link", authorship.license_link)
    for key in _LINKS:
        _text(metadata, f"general.{key}", getattr(authorship, key))
    for key in _LINKS:
        _text(metadata, f"general.source.{key}", getattr(authorship, f"source_{key}"))
    _origins(metadata, "base_model", authorship.base_models)
    _origins(metadata, "dataset", authorship.datasets)
    _texts(metadata, "general.tags", authorship.tags)
    _texts(metadata, "general.languages", authorship.languages)


def model(metadata: Metadata, config: Config) -> None:
    """``qwen2.*`` or ``qwen2moe.*``: the model's shape, its window as the checkpoint states it, and YaRN."""
    arch = config.architecture
    metadata.u32(f"{arch}.block_count", config.layers)
    metadata.u32(f"{arch}.context_length", config.context)
    metadata.u32(f"{arch}.embedding_length", config.hidden)
    metadata.u32(f"{arch}.feed_forward_length", config.feed_forward)
    metadata.u32(f"{arch}.attention.head_count", config.heads)
    metadata.u32(f"{arch}.attention.head_count_kv", config.kv_heads)
    if yarn := config.yarn:
        scaling = f"{arch}.rope.scaling"
        metadata.string(f"{scaling}.type", "yarn")
        metadata.f32(f"{scaling}.factor", yarn.factor)
        metadata.u32(f"{scaling}.original_context_length", yarn.original_context)
        for name in ("ext_factor", "attn_factor", "beta_fast", "beta_slow"):
            value = getattr(yarn, name)
            if value is not None:
                metadata.f32(f"{scaling}.yarn_{name}", value)
    metadata.f32(f"{arch}.rope.freq_base", config.rope_theta)
    metadata.f32(f"{arch}.attention.layer_norm_rms_epsilon", config.rms_eps)
    if experts := config.experts:
        metadata.u32(f"{arch}.expert_count", experts.count)
        metadata.u32(f"{arch}.expert_used_count", experts.used)
        metadata.u32(f"{arch}.expert_feed_forward_length", experts.width)
        metadata.u32(f"{arch}.expert_shared_feed_forward_length", experts.shared_width)


def quantization(metadata: Metadata, file_type: FileType) -> None:
    """The two keys that llama.cpp's quantizer puts last."""
    metadata.u32("general.quantization_version", QUANTIZATION_VERSION)
    metadata.u32("general.file_type", file_type)


def importance(metadata: Metadata, matrix: ImportanceMatrix) -> None:
    """``quantize.imatrix.*``, which llama-quantize puts after everything else (``tools/quantize/quantize.cpp``)."""
    metadata.string("quantize.imatrix.file", _short(matrix.name))
    if matrix.datasets:
        metadata.string("quantize.imatrix.dataset", _short(matrix.datasets[0]), keep_empty=True)
    metadata.u32("quantize.imatrix.entries_count", len(matrix))
    if matrix.chunks > 0:
        metadata.u32("quantize.imatrix.chunks_count", matrix.chunks)


def _short(text: str) -> str:
    """Cut at llama.cpp's 127 bytes, but not within a character."""
    return text.encode("utf-8", errors="replace")[:127].decode("utf-8", errors="ignore")


def _sampling(metadata: Metadata, directory: Path) -> None:
    path = directory / "generation_config.json"
    try:
        defaults = read_json(path) or {}
    except CheckpointError:
        # Sampling defaults are a help, not a need; llama.cpp's converter passes over a broken file too.
        return
    sequence = defaults.get("sequence")
    if isinstance(sequence, str):
        metadata.string("general.sampling.sequence", sequence)
    for key, names, integer in _SAMPLING:
        value = next((defaults[name] for name in names if defaults.get(name) is not None), None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        try:
            if integer:
                metadata.i32(f"general.sampling.{key}", int(value))
            else:
                metadata.f32(f"general.sampling.{key}", value)
        except (ValueError, OverflowError):
            raise CheckpointError(f"{path} says {key} is {value}, which makes no sense: correct it.") from None


def _authorship(directory: Path, config: Mapping[str, Any], parameters: Parameters) -> Any:
    """A ``gguf.Metadata`` with what README, config and directory name tell."""
    import gguf

    logging.getLogger("metadata").setLevel(logging.CRITICAL)
    readme = directory / "README.md"
    try:
        sane = readme.is_file() and readme.stat().st_size < MAX_README
        card = gguf.Metadata.load_model_card(directory) if sane else {}
        known = gguf.Metadata.apply_metadata_heuristic(gguf.Metadata(), card, dict(config), directory, parameters.total)
    except Exception:
        # Whatever these heuristics trip over in a stranger's README costs a few descriptive keys, not the conversion.
        known = gguf.Metadata.apply_metadata_heuristic(gguf.Metadata(), {}, {}, directory, parameters.total)
    if known.size_label is None:
        known.size_label = gguf.size_label(*parameters)
    return known


def _text(metadata: Metadata, key: str, value: Any) -> None:
    if value is not None:
        metadata.string(key, str(value))


def _texts(metadata: Metadata, key: str, values: Sequence[Any] | None) -> None:
    if values:
        metadata.strings(key, [str(value) for value in values])


def _origins(metadata: Metadata, kind: str, origins: Sequence[Mapping[str, Any]] | None) -> None:
    if origins is None:
        return
    metadata.u32(f"general.{kind}.count", len(origins))
    for index, origin in enumerate(origins):
        for key in _ORIGIN:
            if key in origin:
                _text(metadata, f"general.{kind}.{index}.{key}", origin[key])
