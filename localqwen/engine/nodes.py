"""ggml's tensors as the scheduler's callback shows them: read through a struct that is checked before it is trusted.

``struct ggml_tensor`` (ggml.h) is no stable interface, and ggml exports no functions for most of its fields. So a
small graph with known names, shapes and types is built by the installed library itself, and what the struct shows of
it must be exactly that.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from localqwen.engine import native
from localqwen.errors import LocalqwenError

F32, I32 = 0, 26  # enum ggml_type
_OBJECT_BYTES = 32  # GGML_OBJECT_SIZE: what ggml_tensor_overhead() counts beside the tensor
_SAMPLE = (5, 3, 2, 1)


class Tensor(ctypes.Structure):
    """``struct ggml_tensor``: ``ne`` elements and ``nb`` bytes from one to the next, fastest dimension first."""


Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * 4),
    ("nb", ctypes.c_size_t * 4),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16),
    ("flags", ctypes.c_int32),
    ("src", ctypes.POINTER(Tensor) * 10),
    ("view_src", ctypes.c_void_p),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * 64),
    ("extra", ctypes.c_void_p),
    ("padding", ctypes.c_char * 8),
]


class InitParams(ctypes.Structure):
    """``struct ggml_init_params``."""

    _fields_ = (("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


class NodesError(LocalqwenError):
    """The installed llama.cpp has another tensor struct than this module knows."""


class Nodes:
    """Reads nodes of a graph; made once for the process by :func:`nodes`."""

    def __init__(self) -> None:
        """Find the functions and check the struct. Raises :class:`NodesError`."""
        lib = native.LIBLLAMA
        self._get = lib.ggml_backend_tensor_get
        self._get.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
        self._get.restype = None
        self._nbytes = lib.ggml_nbytes
        self._nbytes.argtypes, self._nbytes.restype = [ctypes.c_void_p], ctypes.c_size_t
        lib.ggml_op_name.argtypes, lib.ggml_op_name.restype = [ctypes.c_int], ctypes.c_char_p
        multiplied, routed = _sample(lib)
        self.mul_mat, self.mul_mat_id = multiplied.op, routed.op
        names = [lib.ggml_op_name(op) for op in (self.mul_mat, self.mul_mat_id)]
        if names != [b"MUL_MAT", b"MUL_MAT_ID"]:
            raise _another(f"its operations read {names}")

    def read(self, tensor: Tensor) -> npt.NDArray[Any]:
        """A tensor's float32 or int32 values from wherever they are, ``[d3, d2, d1, d0]``; a copy."""
        size = self._nbytes(ctypes.byref(tensor))
        raw = np.empty(size, np.uint8)
        self._get(ctypes.byref(tensor), raw.ctypes.data, 0, size)
        kind = np.float32 if tensor.type == F32 else np.int32
        # Views have gaps between their rows, and ggml_nbytes counts these in.
        return np.ndarray(tuple(tensor.ne)[::-1], kind, raw, strides=tuple(tensor.nb)[::-1])


@cache
def nodes() -> Nodes:
    """The reader for the installed llama.cpp. Raises :class:`NodesError`."""
    native.start()
    return Nodes()


def at(pointer: int) -> Tensor:
    """The tensor at an address that ggml gave."""
    return ctypes.cast(pointer, ctypes.POINTER(Tensor)).contents


def weight_name(tensor: Tensor) -> str:
    """A weight tensor's name; the scheduler calls its copies ``DEVICE#NAME#NUMBER``."""
    name = bytes(tensor.name).decode("utf-8", "replace")
    parts = name.split("#")
    return parts[1] if len(parts) > 1 else name


def _sample(lib: ctypes.CDLL) -> tuple[Tensor, Tensor]:
    """Copies of a ``MUL_MAT`` and a ``MUL_MAT_ID`` node that ggml made of known tensors, checked field by field."""
    lib.ggml_tensor_overhead.restype = ctypes.c_size_t
    if lib.ggml_tensor_overhead() != ctypes.sizeof(Tensor) + _OBJECT_BYTES:
        raise _another(f"it has {lib.ggml_tensor_overhead() - _OBJECT_BYTES} bytes")
    lib.ggml_init.argtypes, lib.ggml_init.restype = [InitParams], ctypes.c_void_p
    lib.ggml_free.argtypes, lib.ggml_free.restype = [ctypes.c_void_p], None
    new, name = lib.ggml_new_tensor, lib.ggml_set_name
    new.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int64)]
    name.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    lib.ggml_mul_mat.argtypes = [ctypes.c_void_p] * 3
    lib.ggml_mul_mat_id.argtypes = [ctypes.c_void_p] * 4
    for function in (new, name, lib.ggml_mul_mat, lib.ggml_mul_mat_id):
        function.restype = ctypes.c_void_p
    context = lib.ggml_init(InitParams(64 * lib.ggml_tensor_overhead(), None, True))
    try:

        def make(kind: int, *shape: int) -> int:
            made: int = new(context, kind, len(shape), (ctypes.c_int64 * len(shape))(*shape))
            return made

        weights, rows = make(F32, 5, 7, 2, 1), make(F32, *_SAMPLE)
        experts, routed, ids = make(F32, 5, 7, 4), make(F32, 5, 2, 3), make(I32, 2, 3)
        name(weights, b"blk.0.sample.weight")
        one = at(lib.ggml_mul_mat(context, weights, rows))
        other = at(lib.ggml_mul_mat_id(context, experts, routed, ids))
        seen = one.src[1].contents
        facts = [
            (tuple(seen.ne), _SAMPLE),
            (tuple(seen.nb), (4, 20, 60, 120)),
            (tuple(one.ne), (7, 3, 2, 1)),
            ((one.type, seen.type, other.src[2].contents.type), (F32, F32, I32)),
            (_addresses(one, 3), (weights, rows, None)),
            (_addresses(other, 4), (experts, routed, ids, None)),
            (weight_name(one.src[0].contents), "blk.0.sample.weight"),
            (one.view_src, None),
        ]
        for found, expected in facts:
            if found != expected:
                raise _another(f"it reads {found} where {expected} is")
        return Tensor.from_buffer_copy(one), Tensor.from_buffer_copy(other)
    finally:
        lib.ggml_free(context)


def _addresses(tensor: Tensor, count: int) -> tuple[int | None, ...]:
    return tuple(ctypes.cast(tensor.src[i], ctypes.c_void_p).value for i in range(count))


def _another(how: str) -> NodesError:
    return NodesError(
        f"The installed llama.cpp has another tensor struct than this version of localqwen knows ({how}): install "
        "llama-cpp-python in the version that localqwen asks for."
    )
