"""Asks llama.cpp itself what a plan takes, without reading a weight: about 0.3 s for a 72B model.

``common_get_device_memory_data`` of libllama-common makes the model and a context with every allocation simulated. It
is C++, but takes and returns plain structs.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama

from localqwen.engine import native
from localqwen.engine.candidate import Bytes

_SYMBOL = (
    "_Z29common_get_device_memory_dataPKcPK18llama_model_paramsPK20llama_context_params"
    "RSt6vectorIP19ggml_backend_deviceSaIS9_EERjSD_SD_14ggml_log_level"
)
_LIBRARIES = ("libllama-common.so", "libllama-common.so.0", "libllama-common.dylib")
_LOG_LEVEL = 4
_one_at_a_time = threading.Lock()  # inside, the process's log goes another way, and two would lose it for good


class _Vector(ctypes.Structure):
    """``std::vector`` as every common library lays it out."""

    _fields_ = (("begin", ctypes.c_void_p), ("end", ctypes.c_void_p), ("room", ctypes.c_void_p))


class _Row(ctypes.Structure):
    """``common_device_memory_data``, in bytes."""

    _fields_ = (
        ("total", ctypes.c_int64),
        ("free", ctypes.c_int64),
        ("model", ctypes.c_size_t),
        ("context", ctypes.c_size_t),
        ("compute", ctypes.c_size_t),
    )


def is_available() -> bool:
    """Whether the installed llama.cpp can be asked."""
    return _function() is not None


def count(
    path: Path, model: llama.llama_model_params, context: llama.llama_context_params, devices: int
) -> list[Bytes] | None:
    """Bytes on each of the ``devices`` in the parameters' order and on the host, or ``None`` if they cannot be had.

    The file must have been opened before with parameters like these: a failure inside ends the process.
    """
    function = _function()
    if function is None:
        return None
    extra, model.use_extra_bufts = model.use_extra_bufts, False  # repacked weights would be left out of the host's row
    found = _Vector()
    numbers = [ctypes.c_uint32() for _ in range(3)]
    native.forget_errors()
    with _one_at_a_time:
        rows = function(
            os.fsencode(path),
            ctypes.byref(model),
            ctypes.byref(context),
            ctypes.byref(found),
            *map(ctypes.byref, numbers),
            _LOG_LEVEL,
        )
        native.take_log()
    model.use_extra_bufts = extra
    size = ctypes.sizeof(_Row)
    table = [_Row.from_address(rows.begin + at) for at in range(0, rows.end - rows.begin, size)]
    result = [Bytes(row.model, row.context, row.compute) for row in table]
    for vector in (rows, found):
        _free(vector.begin)
    return result if len(result) == devices + 1 else None


def _free(address: int | None) -> None:
    """What C++'s new has allocated comes from malloc in every library that Linux and macOS ship."""
    if address:
        free = ctypes.CDLL(None).free
        free.argtypes, free.restype = [ctypes.c_void_p], None
        free(address)


@cache
def library() -> ctypes.CDLL | None:
    """libllama-common of the installed llama.cpp, if it is there."""
    for folder in _folders():
        for name in _LIBRARIES:
            if (folder / name).exists():
                try:
                    # It takes libllama by its SONAME, which is loaded already: there is one copy of everything.
                    return ctypes.CDLL(str(folder / name))
                except OSError:
                    continue
    return None


@cache
def _function() -> Any:
    function = getattr(library(), _SYMBOL, None)
    if function is not None:
        function.restype = _Vector  # ctypes then returns it as the platform does, by whatever register
    return function


def _folders() -> Sequence[Path]:
    package = Path(llama.__file__).parent
    own = os.environ.get("LLAMA_CPP_LIB_PATH")
    return [*([Path(own)] if own else []), package / "lib", package.parent / "lib"]
