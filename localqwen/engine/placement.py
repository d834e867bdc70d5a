"""A plan's layers in llama.cpp's parameters."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import llama_cpp.llama_cpp as llama

from localqwen.engine.registry import Handle
from localqwen.plan import SplitMode

ALL_LAYERS = 9999


@dataclass(frozen=True, slots=True)
class Placement:
    """``counts`` layers on each of ``devices``, the output matrix as one of the last one's; the first stay on the CPU.

    Without devices, llama.cpp takes all there are.
    """

    gpu_layers: int = 0
    devices: tuple[Handle, ...] | None = None
    counts: tuple[int, ...] = ()
    split_mode: SplitMode = "layer"

    @classmethod
    def of(cls, handles: Sequence[Handle], counts: Sequence[int], split_mode: SplitMode = "layer") -> Placement:
        """``counts`` of layers on ``handles``; those with none are left out, since each would take memory."""
        used = [(handle, count) for handle, count in zip(handles, counts, strict=True) if count]
        return cls(sum(counts), tuple(handle for handle, _ in used), tuple(count for _, count in used), split_mode)

    def parameters(self) -> llama.llama_model_params:
        """llama.cpp's parameters; they own the arrays that they point to."""
        params = llama.llama_model_default_params()
        params.n_gpu_layers = self.gpu_layers
        if self.devices is not None:
            devices = (ctypes.c_void_p * (len(self.devices) + 1))(*(handle.address for handle in self.devices), None)
            # What shares every tensor is alike, and a layer more or less of one would only be rounded.
            shares = [1] * len(self.counts) if self.split_mode == "tensor" else self.counts
            split = (ctypes.c_float * llama.llama_max_devices())(*shares)
            params.devices = ctypes.cast(devices, ctypes.c_void_p)
            params.tensor_split = ctypes.cast(split, ctypes.POINTER(ctypes.c_float))
            params.split_mode = llama.LLAMA_SPLIT_MODE_LAYER
            if self.split_mode == "tensor":
                params.split_mode = llama.LLAMA_SPLIT_MODE_TENSOR
            params.own = (devices, split)
        return params


CPU_ONLY = Placement()
