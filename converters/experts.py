"""The experts of a Mixture-of-Experts checkpoint, whichever way they are stored.

Published checkpoints hold three matrices per expert; some tools stack a layer's experts into two tensors
(``experts.gate_up_proj`` and ``experts.down_proj``). The stacked form is cut into the published one, by names and
offsets only: ``gate_up_proj`` is [experts, gate rows then up rows, hidden], ``down_proj`` [experts, hidden, width]
(``Qwen2MoeModel.modify_tensors`` in llama.cpp's ``conversion/qwen.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from converters.config import Config
from converters.errors import CheckpointError
from converters.safetensors import ITEM_SIZES, SourceTensor, unsupported

_STACKED = re.compile(r"(model\.layers\.\d+\.mlp)\.experts\.(gate_up_proj|down_proj)(?:\.weight)?")


def expert_names(feed_forward: str, count: int) -> Iterator[str]:
    """The modules of all experts of the feed-forward part called ``feed_forward``."""
    return (f"{feed_forward}.experts.{expert}" for expert in range(count))


def unfused(tensors: Mapping[str, SourceTensor], config: Config, path: Path) -> dict[str, SourceTensor]:
    """``tensors`` with stacked experts as one tensor per expert and matrix; others stay as they are.

    Raises:
        CheckpointError: a stacked tensor has another shape than ``config`` (at ``path``) says, or a type that cannot
            be converted.
    """
    found: dict[str, SourceTensor] = {}
    for name, tensor in tensors.items():
        match = _STACKED.fullmatch(name) if config.experts else None
        if match is None:
            found[name] = tensor
        else:
            found |= _cut(tensor, match[1], match[2], config, path)
    return found


def _cut(tensor: SourceTensor, module: str, kind: str, config: Config, path: Path) -> dict[str, SourceTensor]:
    experts, hidden = config.experts, config.hidden
    assert experts is not None
    matrices = ("down_proj",) if kind == "down_proj" else ("gate_proj", "up_proj")
    shape = (hidden, experts.width) if kind == "down_proj" else (experts.width, hidden)
    whole = (experts.count, shape[0] * len(matrices), shape[1])
    if tensor.shape != whole:
        raise CheckpointError(
            f"{tensor.path} holds {tensor.name!r} with shape {list(tensor.shape)}, but {path} calls for "
            f"{list(whole)}: both must be of the same model."
        )
    if tensor.dtype not in ITEM_SIZES:
        raise unsupported(tensor.path, tensor.name, tensor.dtype)
    found, offset, nbytes = {}, tensor.offset, shape[0] * shape[1] * tensor.item_size
    for name in expert_names(module, experts.count):
        for matrix in matrices:
            found[f"{name}.{matrix}.weight"] = replace(tensor, shape=shape, offset=offset, nbytes=nbytes)
            offset += nbytes
    return found
