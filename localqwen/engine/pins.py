"""What the user pinned, held against the model and the machine before anything is searched. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from localqwen.engine.candidate import Wishes
from localqwen.engine.machine import Device
from localqwen.engine.search import can_share_tensors
from localqwen.engine.shape import KV_BLOCK
from localqwen.errors import InvalidOptionError, InvalidRequestError


def possible_kv(wishes: Wishes, head_width: int) -> Wishes:
    """The wishes, without KV types that llama.cpp has none of for heads of this width: asking it ends the process.

    Raises :class:`InvalidRequestError` where one was asked for.
    """
    if head_width % KV_BLOCK == 0:
        return wishes
    if wishes.kv_type not in {None, "f16"}:
        raise InvalidRequestError(
            f"--kv-type {wishes.kv_type} needs heads of a multiple of {KV_BLOCK} values, and this model's have "
            f"{head_width}: leave it out."
        )
    return replace(wishes, kv_type="f16")


def check_pins(wishes: Wishes, devices: Sequence[Device], layers: int) -> None:
    """Refuse what contradicts itself, or what no machine like this can do with a model of so many ``layers``.

    Raises :class:`InvalidOptionError` for the one and :class:`InvalidRequestError` for the other.
    """
    if wishes.split_mode == "tensor":
        _check_tensors(wishes, devices, layers)
    if not devices and (wishes.gpu_layers or wishes.tensor_split):
        option = "--gpu-layers" if wishes.gpu_layers else "--tensor-split"
        raise InvalidRequestError(f"No GPU that llama.cpp can use was found: leave out {option}.")
    if wishes.tensor_split is not None and len(wishes.tensor_split) != len(devices):
        raise InvalidRequestError(
            f"--tensor-split has {len(wishes.tensor_split)} parts and there are {len(devices)} devices "
            f"({', '.join(device.name for device in devices)}): give one for each."
        )


def _check_tensors(wishes: Wishes, devices: Sequence[Device], layers: int) -> None:
    if wishes.tensor_split is not None:
        raise InvalidOptionError("--split-mode tensor gives every card an equal part: leave out --tensor-split.")
    if wishes.gpu_layers is not None and wishes.gpu_layers <= layers:
        raise InvalidOptionError(
            f"--split-mode tensor splits all {layers + 1} layers over the cards: leave out --gpu-layers "
            f"{wishes.gpu_layers}."
        )
    if wishes.kv_type not in {None, "f16"}:
        raise InvalidOptionError(
            f"--split-mode tensor takes an f16 KV cache only: leave out --kv-type {wishes.kv_type}."
        )
    if not can_share_tensors(devices, asked=True):
        raise InvalidRequestError("--split-mode tensor needs two or more GPUs of one kind: leave it out.")
