"""Quantization kernels: ggml's own, called from the installed llama-cpp-python's library.

Only ``libggml-base`` is loaded: no model code, no backends, and the Python package is not imported. ctypes releases
the GIL during a call, so that threads quantize in parallel. ``converters.lanes`` adds faster ones for K-quants.
"""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from converters.errors import ConversionError
from converters.ggml import GGMLType, row_size

_NAMES = ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll")

Float32 = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


class Kernels:
    """The kernels of one loaded ``libggml-base``; calls are thread-safe."""

    description = "ggml"

    def __init__(self, library: Path) -> None:
        lib = ctypes.CDLL(str(library))
        # Signatures: ggml.h of llama.cpp 0c1e570.
        self._ggml = lib.ggml_quantize_chunk
        self._ggml.restype = ctypes.c_size_t
        self._ggml.argtypes = [
            ctypes.c_int,  # type
            ctypes.c_void_p,  # float32 source
            ctypes.c_void_p,  # destination
            ctypes.c_int64,  # first weight
            ctypes.c_int64,  # rows
            ctypes.c_int64,  # weights per row
            ctypes.c_void_p,  # importance of each column, or NULL
        ]
        self._validate = lib.ggml_validate_row_data
        self._validate.restype = ctypes.c_bool
        self._validate.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]

    def quantize(
        self, kind: GGMLType, source: Float32, target: Bytes, columns: int, importance: Float32 | None = None
    ) -> int:
        """Quantize whole rows.

        Args:
            kind: type to write.
            source: contiguous float32, a multiple of ``columns`` long; all values finite.
            target: receives the bytes, from its start.
            columns: weights per row, a multiple of the type's block.
            importance: ``columns`` contiguous float32, the importance of each column; without it all count alike.

        Returns:
            Number of bytes written.

        Raises:
            ValueError: lengths do not fit (ggml itself would abort the process).
            OverflowError: a value is too large for the type's scale.
        """
        rows, rest = divmod(source.size, columns)
        expected = rows * row_size(kind, columns)
        if rest or target.nbytes < expected or not source.flags.c_contiguous or not target.flags.c_contiguous:
            raise ValueError(f"{source.size} values do not make rows of {columns} in {target.nbytes} bytes")
        if importance is not None and (importance.size != columns or not importance.flags.c_contiguous):
            raise ValueError(f"{importance.size} importances do not fit rows of {columns}")
        self._run(kind, source, target, rows, columns, importance)
        if not self._validate(kind, target.ctypes.data, expected):
            raise OverflowError(f"a value is too large for {kind.name}")
        return expected

    def _run(
        self, kind: GGMLType, source: Float32, target: Bytes, rows: int, columns: int, importance: Float32 | None
    ) -> None:
        """Quantize what ``quantize`` has checked."""
        weights = None if importance is None else importance.ctypes.data
        self._ggml(kind, source.ctypes.data, target.ctypes.data, 0, rows, columns, weights)


def library_path() -> Path:
    """``libggml-base`` inside the installed llama-cpp-python, found without importing it.

    Raises:
        ConversionError: there is none.
    """
    spec = find_spec("llama_cpp")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for name in _NAMES:
            path = Path(folder) / "lib" / name
            if path.exists():
                return path
    raise ConversionError("llama-cpp-python and its libggml-base are not installed: run install.py again.")
