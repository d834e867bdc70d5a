"""What can be wrong with a checkpoint: one sentence that names the file and the remedy, and nothing written."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.checkpoint import open_checkpoint
from converters.convert import convert
from converters.errors import CheckpointError, ConversionError
from converters.safetensors import read_header
from localqwen.smollm2 import write_safetensors
from tests.fixtures.tiny import edit_json, tiny_checkpoint, tiny_weights

Damage = Callable[[Path], object]
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD = "model-00002-of-00003.safetensors"


def rewrite_header(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the JSON header of a safetensors file and leave its data."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def header_entry(name: str, **changes: Any) -> Damage:
    """Damage that changes one tensor's line in the header."""
    return lambda directory: rewrite_header(directory / SINGLE, lambda header: header[name].update(changes))


def weights(change: Callable[[dict[str, Any]], None]) -> Damage:
    """Damage that changes the weights before they are written."""

    def apply(directory: Path) -> None:
        tensors = tiny_weights()
        change(tensors)
        write_safetensors(directory / SINGLE, tensors)

    return apply


def config(**changes: Any) -> Damage:
    """Damage that changes config.json."""
    return lambda directory: edit_json(directory / "config.json", **changes)


def poison(value: float) -> Damage:
    """Damage that puts a value into a weight matrix."""

    def change(tensors: dict[str, Any]) -> None:
        tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = value

    return weights(change)


NORM = "model.norm.weight"
UP = "model.layers.1.mlp.up_proj.weight"

# Damage, and words that the sentence must hold.
DAMAGES: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "no config": (lambda d: (d / "config.json").unlink(), ("no checkpoint", "config.json")),
    "config is no JSON": (lambda d: (d / "config.json").write_text("{"), ("config.json", "no valid JSON")),
    "config is a list": (lambda d: (d / "config.json").write_text("[]"), ("config.json", "JSON object")),
    "config is nested too deeply": (lambda d: (d / "config.json").write_text("[" * 100_000), ("config.json",)),
    "another architecture": (config(architectures=["LlamaForCausalLM"]), ("LlamaForCausalLM", "Qwen2")),
    "no architecture": (config(architectures=None), ("config.json", "Qwen2")),
    "no layers": (config(num_hidden_layers=None), ("config.json", "num_hidden_layers")),
    "too many layers": (config(num_hidden_layers=2_000_000_000), ("config.json", "layers")),
    "negative width": (config(hidden_size=-1), ("config.json", "hidden_size")),
    "heads that do not divide": (config(num_attention_heads=3), ("config.json", "divide")),
    "rope of another kind": (config(rope_scaling={"type": "llama3", "factor": 8.0}), ("llama3", "yarn")),
    "infinite rope": (config(rope_theta=float("inf")), ("rope_theta",)),
    "quantized": (config(quantization_config={"quant_method": "gptq"}), ("gptq", "original")),
    "no weights": (lambda d: (d / SINGLE).unlink(), (SINGLE, "download")),
    "pickles": (lambda d: (d / SINGLE).rename(d / "pytorch_model.bin"), ("pickle", "safetensors")),
    "truncated data": (lambda d: truncate(d / SINGLE, -1), (SINGLE, "cut short", "download")),
    "truncated header": (lambda d: truncate(d / SINGLE, 100), (SINGLE, "cut short")),
    "empty file": (lambda d: truncate(d / SINGLE, 0), (SINGLE, "no safetensors file")),
    "huge header claim": (lambda d: claim(d / SINGLE, 2**62), (SINGLE, "no safetensors file")),
    "header beyond the file": (lambda d: claim(d / SINGLE, 30_000_000), (SINGLE, "cut short")),
    "header is no JSON": (lambda d: claim(d / SINGLE, 64), (SINGLE, "JSON")),
    "data offsets beyond the file": (
        header_entry(NORM, data_offsets=[2**40, 2**40 + 128]),
        (SINGLE, "cut short"),
    ),
    "data offsets reversed": (header_entry(NORM, data_offsets=[128, 0]), (SINGLE, NORM)),
    "data offsets that do not match the shape": (header_entry(NORM, shape=[63]), (SINGLE, NORM)),
    "negative shape": (header_entry(NORM, shape=[-64]), (SINGLE, NORM)),
    "overlapping tensors": (header_entry(NORM, data_offsets=[0, 128]), (SINGLE, "overlaps")),
    "unknown dtype": (header_entry(NORM, dtype="F4"), (SINGLE, NORM, "F4", "original")),
    "fp8": (header_entry(NORM, dtype="F8_E4M3", shape=[128]), (NORM,)),
    "missing tensor": (weights(lambda t: t.pop(UP)), (UP, "download")),
    "missing output": (weights(lambda t: t.pop("lm_head.weight")), ("lm_head.weight",)),
    "unknown tensor": (weights(lambda t: t.update(adapter=t[NORM])), ("adapter",)),
    "wrong shape": (weights(lambda t: t.update({UP: t[UP][:90]})), (UP, "[90, 64]", "[96, 64]")),
    "NaN": (poison(float("nan")), (UP, "[3, 5]", "nan")),
    "infinity": (poison(float("-inf")), (UP, "[3, 5]", "inf")),
    "no tokenizer": (lambda d: (d / "tokenizer.json").unlink(), ("tokenizer.json", "download")),
    "another pre-tokenizer": (lambda d: edit_json(d / "tokenizer.json", pre_tokenizer=None), ("tokenizer.json",)),
    "another normalizer": (
        lambda d: edit_json(d / "tokenizer.json", normalizer={"type": "Lowercase"}),
        ("tokenizer.json",),
    ),
    "no vocabulary": (lambda d: edit_json(d / "tokenizer.json", model={"type": "BPE"}), ("tokenizer.json", "BPE")),
    "tokens beyond the embedding": (
        lambda d: edit_json(d / "tokenizer.json", added_tokens=[{"id": 264, "content": "<x>"}]),
        ("tokenizer.json", "264"),
    ),
    "special token that is none": (config(bos_token_id=999), ("999", "bos")),
    "sampling out of range": (
        lambda d: (d / "generation_config.json").write_text('{"top_k": 1e99}'),
        ("generation_config.json", "top_k"),
    ),
}


def truncate(path: Path, size: int) -> None:
    """Cut a file to ``size`` bytes (or by ``-size``)."""
    data = path.read_bytes()
    path.write_bytes(data[:size])


def claim(path: Path, length: int) -> None:
    """Let a safetensors file claim that its header has ``length`` bytes."""
    raw = path.read_bytes()
    path.write_bytes(struct.pack("<Q", length) + raw[8:])


def refused(checkpoint: Path, folder: Path) -> str:
    """Convert, expect a refusal that leaves nothing behind, and return its sentence."""
    out = folder / "out.gguf"
    with pytest.raises(ConversionError) as caught:
        convert(checkpoint, out)
    assert not list(folder.glob("out.gguf*")), "something was left behind"
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_checkpoint(name: str, tmp_path: Path) -> None:
    damage, words = DAMAGES[name]
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint")
    damage(checkpoint)
    message = refused(checkpoint, tmp_path)
    for word in words:
        assert word in message


def move(directory: Path, tensor: str, file: str) -> None:
    """Let the index say that a tensor is in another file."""
    index = json.loads((directory / INDEX).read_text(encoding="utf-8"))
    index["weight_map"][tensor] = file
    (directory / INDEX).write_text(json.dumps(index), encoding="utf-8")


SHARD_DAMAGES: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "missing shard": (lambda d: (d / SHARD).unlink(), (SHARD, INDEX, "download")),
    "truncated shard": (lambda d: truncate(d / SHARD, -7), (SHARD, "cut short")),
    "index without map": (lambda d: edit_json(d / INDEX, weight_map=None), (INDEX, "weight_map")),
    "index out of step": (lambda d: move(d, NORM, "model-00001-of-00003.safetensors"), (NORM, INDEX)),
    "shard without a tensor": (lambda d: move(d, "model.extra.weight", SHARD), ("model.extra.weight", SHARD)),
    **{
        f"index with {name!r}": (partial(move, tensor=NORM, file=name), (INDEX, "no file name"))
        for name in (
            "../model.safetensors",
            "/etc/x.safetensors",
            "a\\b.safetensors",
            ".safetensors",
            "x\n.safetensors",
        )
    },
    "index with a pickle": (lambda d: move(d, NORM, "model.bin"), (INDEX, "no file name")),
}


@pytest.mark.parametrize("name", SHARD_DAMAGES)
def test_damaged_shards(name: str, tmp_path: Path) -> None:
    damage, words = SHARD_DAMAGES[name]
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint", shards=3)
    damage(checkpoint)
    message = refused(checkpoint, tmp_path)
    for word in words:
        assert word in message


def test_path_that_is_no_checkpoint(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nowhere", tmp_path)
    (tmp_path / "file").write_text("")
    assert "is a file" in refused(tmp_path / "file", tmp_path)
    (tmp_path / "empty").mkdir()
    assert "no checkpoint" in refused(tmp_path / "empty", tmp_path)


def test_value_too_large_for_the_type(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint")
    poison(1e38)(checkpoint)
    message = refused(checkpoint, tmp_path)
    assert UP in message
    assert "BF16" in message


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), length=st.none() | st.integers(0, 2**64 - 1))
def test_any_bytes_are_a_header_or_an_error(data: bytes, length: int | None, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(data) if length is None else length) + data)
    try:
        read_header(path)
    except CheckpointError as error:
        assert str(path) in str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["BF16", "F32"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ENTRY = st.fixed_dictionaries({}, optional={"dtype": JSON, "shape": JSON, "data_offsets": JSON}) | JSON


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=st.dictionaries(st.text(max_size=5), ENTRY, max_size=3))
def test_any_json_is_a_header_or_an_error(header: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(64))
    try:
        tensors = read_header(path)
    except CheckpointError as error:
        assert str(path) in str(error)
    else:
        size = path.stat().st_size
        assert all(
            8 + len(text) <= tensor.offset <= tensor.offset + tensor.nbytes <= size for tensor in tensors.values()
        )


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(index=st.fixed_dictionaries({}, optional={"weight_map": st.dictionaries(st.text(), JSON, max_size=4) | JSON}))
def test_any_index_is_refused_or_stays_in_its_directory(index: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / INDEX).write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(CheckpointError):
        open_checkpoint(tmp_path)


METADATA = ("tokenizer.json", "tokenizer_config.json", "config.json", "generation_config.json")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(key=st.sampled_from(METADATA), changes=st.data())
def test_any_metadata_file_converts_or_is_refused(key: str, changes: st.DataObject, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    if not checkpoint.exists():
        tiny_checkpoint(checkpoint)
        (checkpoint / "generation_config.json").write_text('{"top_k": 20, "temperature": 0.7}')
    path = checkpoint / key
    original = path.read_text(encoding="utf-8")
    document = json.loads(original)
    name = changes.draw(st.sampled_from(sorted(document)))
    document[name] = changes.draw(JSON)
    path.write_text(json.dumps(document), encoding="utf-8")
    out = tmp_path / "out.gguf"
    try:
        convert(checkpoint, out, type="Q8_0", threads=1, overwrite=True)
    except ConversionError as error:
        assert str(error).endswith(".")
    finally:
        path.write_text(original, encoding="utf-8")
    assert not out.with_name("out.gguf.part").exists()


def test_source_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint")
    out = tmp_path / "out.gguf"
    with pytest.raises(CheckpointError, match="became shorter"):
        convert(checkpoint, out, threads=1, on_progress=lambda step: truncate(checkpoint / SINGLE, 4000))
    assert not list(tmp_path.glob("out.gguf*"))
