"""Our own K-quant kernels: ggml's bytes, several times faster.

``_kernels.c`` searches one sub-block per SIMD lane. It is compiled when the package is built; where that was not
possible, or where the installed ggml gives other bytes (its ARM build fuses multiply and add), ggml's kernels are
used, and ``Kernels.description`` says why.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from converters.errors import ConversionError
from converters.ggml import GGMLType, row_size
from converters.quantize import Bytes, Float32, Kernels, library_path

KINDS = (GGMLType.Q4_K, GGMLType.Q5_K, GGMLType.Q6_K)
# enum level of _kernels.c.
LEVELS = ("baseline", "AVX2", "AVX-512")


class LaneKernels(Kernels):
    """K-quants by ``_kernels.c``, everything else by ggml."""

    def __init__(self, ggml: Path, extension: Path, level: int | None = None) -> None:
        """Load both libraries; ``level`` indexes ``LEVELS`` and is the CPU's best when not given."""
        super().__init__(ggml)
        lib = ctypes.CDLL(str(extension))
        best: int = lib.localqwen_cpu_level()
        self._level = best if level is None else min(level, best)
        self.name = LEVELS[self._level]
        self.description = f"{self.name} lanes"
        self._lanes = lib.localqwen_quantize
        self._lanes.restype = ctypes.c_int64
        self._lanes.argtypes = [
            ctypes.c_int,  # type
            ctypes.c_void_p,  # float32 source
            ctypes.c_void_p,  # destination
            ctypes.c_int64,  # rows
            ctypes.c_int64,  # weights per row
            ctypes.c_void_p,  # importance of each column, or NULL
            ctypes.c_int,  # level
            ctypes.c_void_p,  # ggml_quantize_chunk, for the rare super-blocks with a zero scale
        ]
        self._fallback = ctypes.cast(self._ggml, ctypes.c_void_p)

    def _run(
        self, kind: GGMLType, source: Float32, target: Bytes, rows: int, columns: int, importance: Float32 | None
    ) -> None:
        if kind not in KINDS:
            super()._run(kind, source, target, rows, columns, importance)
            return
        weights = None if importance is None else importance.ctypes.data
        data = source.ctypes.data, target.ctypes.data
        self._lanes(kind, *data, rows, columns, weights, self._level, self._fallback)


@cache
def kernels(match_local: bool = False) -> Kernels:
    """The fastest kernels that give the bytes of the x86-64 ggml; with ``match_local`` those of the installed ggml.

    Raises:
        ConversionError: llama-cpp-python or its library is missing.
    """
    path = library_path()
    try:
        ggml = Kernels(path)
    except OSError as error:
        raise ConversionError(f"{path} cannot be loaded ({error}): install llama-cpp-python again.") from error
    if match_local:
        return ggml
    if (extension := extension_path()) is None:
        ggml.description = "ggml (the fast kernels were not compiled: install localqwen where there is a C compiler)"
        return ggml
    lanes = LaneKernels(path, extension)
    if differing := disagreements(lanes, ggml):
        names = ", ".join(kind.name for kind in differing)
        ggml.description = f"ggml (the fast kernels give other bytes for {names} on this machine)"
        return ggml
    return lanes


def extension_path() -> Path | None:
    """The compiled ``_kernels``, or None where the build had no compiler."""
    spec = find_spec("converters._kernels")
    return Path(spec.origin) if spec and spec.origin else None


def disagreements(ours: Kernels, ggml: Kernels) -> list[GGMLType]:
    """The types for which the two give different bytes on a few super-blocks, with or without importances."""
    values, importance = _samples()
    found = []
    for kind in KINDS:
        for weights in (None, importance):
            results = []
            for one in (ours, ggml):
                target = np.zeros(len(values) * row_size(kind, values.shape[1]), np.uint8)
                one.quantize(kind, values, target, values.shape[1], weights)
                results.append(target.tobytes())
            if results[0] != results[1] and kind not in found:
                found.append(kind)
    return found


def _samples() -> tuple[Float32, Float32]:
    """64 rows of two super-blocks in many magnitudes, and importances; about a millisecond per type in ggml."""
    random = np.random.Generator(np.random.PCG64(0))
    values = random.standard_normal((64, 512), np.float32)
    values *= np.logspace(-6, 3, 64, dtype=np.float32)[:, None]
    values[7] = np.abs(values[7])
    values[8, 100:400] = 0
    return values, np.square(random.standard_normal(512, np.float32))
