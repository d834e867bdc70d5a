"""A Hugging Face checkpoint directory: its config, and where every tensor's bytes lie. No weight is read here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import CheckpointError
from converters.safetensors import SourceTensor, read_header
from converters.source import LocalWeights, Weights

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
# tokenizer.json of Qwen2's vocabulary has 7 MB; nothing in a checkpoint comes near this.
MAX_JSON = 64_000_000


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint: ``tensors`` maps the names in the files to where their bytes are."""

    directory: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, SourceTensor]
    weights: Weights


def open_checkpoint(directory: Path, weights: Weights | None = None) -> Checkpoint:
    """Read config, index and safetensors headers of the checkpoint in ``directory``.

    Args:
        directory: holds config.json and the other small files; it gives the model its name.
        weights: the safetensors files; by default those in ``directory``. The caller closes them.

    Raises:
        CheckpointError: the directory holds no complete safetensors checkpoint.
    """
    directory = directory.resolve()
    if not directory.is_dir():
        what = "is a file" if directory.exists() else "does not exist"
        raise CheckpointError(
            f"{directory} {what}: give the directory that holds config.json and the *.safetensors files."
        )
    config = read_json(directory / "config.json")
    if config is None:
        raise CheckpointError(
            f"{directory} is no checkpoint (it has no config.json): "
            "give the directory that holds config.json and the *.safetensors files."
        )
    quantization = config.get("quantization_config")
    if isinstance(quantization, dict):
        method = str(quantization.get("quant_method", "unknown"))
        raise CheckpointError(
            f"{directory} is already quantized ({method}): convert the original bf16 checkpoint instead."
        )
    weights = weights or LocalWeights(directory)
    return Checkpoint(directory, config, _tensors(directory, weights), weights)


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in ``path``, or None if there is no such file.

    Raises:
        CheckpointError: the file is no JSON object, or unreasonably large.
    """
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > MAX_JSON:
            raise CheckpointError(f"{path} is far larger than such a file can be: download it again.")
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror or error}; check its permissions.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no valid JSON: download it again.") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path} does not hold a JSON object: download it again.")
    return document


def _tensors(directory: Path, weights: Weights) -> dict[str, SourceTensor]:
    index = read_json(directory / INDEX)
    shards = sorted(weights.names())
    if index is not None:
        return _sharded(directory, index, weights, shards)
    if SINGLE in shards:
        return read_header(directory / SINGLE, weights)
    if any(directory.glob("*.bin")) or any(directory.glob("*.pt")):
        raise CheckpointError(
            f"{directory} holds PyTorch pickle files, which are not read because they can run code: "
            "download the safetensors version of the model."
        )
    missing = INDEX if shards else SINGLE
    raise CheckpointError(f"{directory} has no {missing}: download the checkpoint's missing files.")


def _sharded(
    directory: Path, index: Mapping[str, Any], weights: Weights, shards: Sequence[str]
) -> dict[str, SourceTensor]:
    path = directory / INDEX
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path} has no weight_map: download it again.")
    files = sorted({_file_name(path, name) for name in weight_map.values()})
    missing = [name for name in files if name not in shards]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CheckpointError(
            f"{directory} lacks {missing[0]}{more}, which {INDEX} lists: download the missing shards."
        )
    tensors: dict[str, SourceTensor] = {}
    for file in files:
        for name, tensor in read_header(directory / file, weights).items():
            if weight_map.get(name) != file:
                raise CheckpointError(
                    f"{directory / file} holds tensor {name!r}, which {INDEX} does not place there: "
                    "shards and index are of different models, so download both again."
                )
            tensors[name] = tensor
    for name, file in weight_map.items():
        if name not in tensors:
            raise CheckpointError(
                f"{directory / file} lacks tensor {name!r}, which {INDEX} places there: download the shard again."
            )
    return tensors


def _file_name(index: Path, name: Any) -> str:
    """A shard's name, refused unless it names a file right beside the index."""
    plain = isinstance(name, str) and name.endswith(".safetensors") and name.isprintable()
    if not plain or "/" in name or "\\" in name or name.startswith("."):
        raise CheckpointError(
            f"{index} names a shard {name!r}, which is no file name in its own directory: "
            "do not use this checkpoint unless you trust where it came from, and download it again."
        )
    return str(name)
