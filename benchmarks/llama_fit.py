"""What llama.cpp's own fit makes of a model and the devices: ``common_fit_params`` of libllama-common, as its tools do.

It is C++, but takes plain structs. A margin of 1 GiB on each device is its default.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama

from localqwen.engine import native, probe
from localqwen.engine.context import ContextOptions, parameters
from localqwen.engine.placement import ALL_LAYERS
from localqwen.engine.rope import Rope
from localqwen.plan import KvType

SYMBOL = (
    "_Z17common_fit_paramsPKcP18llama_model_paramsP20llama_context_paramsPf"
    "P32llama_model_tensor_buft_overridePmjPK22common_fit_extra_model14ggml_log_level"
)
MARGIN, LEAST_CONTEXT, UBATCH, WARN = 1 << 30, 4096, 512, 3
OVERRIDE_BYTES = 16


def fitted(path: Path, context: int, kv_type: KvType) -> dict[str, Any]:
    """Layers on the devices and on each of them, or why there are none."""
    native.start()
    function = getattr(probe.library(), SYMBOL)
    model = llama.llama_model_default_params()
    options = parameters(ContextOptions(context, 1, Rope(1.0, context), kv_type, UBATCH))
    devices = llama.llama_max_devices()
    split = (ctypes.c_float * devices)()
    overrides = (ctypes.c_char * (OVERRIDE_BYTES * llama.llama_max_tensor_buft_overrides()))()
    margins = (ctypes.c_size_t * devices)(*([MARGIN] * devices))
    status = function(
        os.fsencode(path),
        ctypes.byref(model),
        ctypes.byref(options),
        split,
        overrides,
        margins,
        ctypes.c_uint32(LEAST_CONTEXT),
        None,
        WARN,
    )
    if status:
        return {"error": f"it gives up ({status})"}
    if model.n_gpu_layers < 0:  # as it was: everything fits
        return {"gpu_layers": ALL_LAYERS, "split": []}
    layers = [round(part) for part in split]
    return {
        "gpu_layers": model.n_gpu_layers,
        "split": layers[: max((i for i, n in enumerate(layers) if n), default=0) + 1],
    }
