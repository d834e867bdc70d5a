"""ggml's own quantization kernels, called from the installed llama-cpp-python's library.

Only ``libggml-base`` is loaded: no model code, no backends, and the Python package is not imported. ctypes releases
the GIL during a call, so that threads quantize in parallel.
"""

from __future__ import annotations

import ctypes
from functools import cache
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

    def __init__(self, library: Path) -> None:
        lib = ctypes.CDLL(str(library))
        # Signatures: ggml.h of llama.cpp 0c1e570.
        self._quantize = lib.ggml_quantize_chunk
        self._quantize.restype = ctypes.c_size_t
        self._quantize.argtypes = [
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

    def quantize(self, kind: GGMLType, source: Float32, target: Bytes, columns: int) -> int:
        """Quantize whole rows.

        Args:
            kind: type to write.
            source: contiguous float32, a multiple of ``columns`` long; all values finite.
            target: receives the bytes, from its start.
            columns: weights per row, a multiple of the type's block.

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
        written: int = self._quantize(kind, source.ctypes.data, target.ctypes.data, 0, rows, columns, None)
        if written != expected:
            raise ValueError(f"ggml wrote {written} bytes of {kind.name} instead of {expected}")
        if not self._validate(kind, target.ctypes.data, written):
            raise OverflowError(f"a value is too large for {kind.name}")
        return written


@cache
def kernels() -> Kernels:
    """The kernels of the installed llama-cpp-python.

    Raises:
        ConversionError: the package or its library is missing.
    """
    path = library_path()
    try:
        return Kernels(path)
    except OSError as error:
        raise ConversionError(f"{path} cannot be loaded ({error}): install llama-cpp-python again.") from error


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
