"""How fast a device is at what a model makes it do, by a short benchmark.

The work is llama.cpp's own: a matrix of Q4_K weights times a vector (decode, which reads every weight once) and times
a ubatch (prefill), through ggml's scheduler-free compute call.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from localqwen.engine import native
from localqwen.engine.machine import Speed
from localqwen.engine.nodes import F32, InitParams
from localqwen.engine.registry import Handle
from localqwen.errors import LocalqwenError

COLUMNS = 8192
ROWS = 32768  # 144 MiB of Q4_K: more than a GPU's cache
Q4_K = 12  # enum ggml_type
TOKENS = 512
ENOUGH_SECONDS = 0.02
MOST_RUNS = 32
GRAPH_NODES = 16


class MeasuringError(LocalqwenError):
    """A device could not run the benchmark."""


def measure(device: Handle, threads: int, rows: int = ROWS) -> Speed:
    """Run the benchmark, in about a second on a CPU. Raises :class:`MeasuringError`, such as for want of memory."""
    bench = _Bench(device, threads, rows)
    try:
        upload = bench.upload()
        latency = bench.seconds(rows=32, tokens=1)
        decode = _without(bench.seconds(rows, 1), latency)
        # On a CPU the whole matrix would take seconds, so as much as takes long enough to be measured.
        for part in (rows >> 6, rows >> 4, rows >> 2, rows):
            prefill = _without(bench.seconds(part, TOKENS, runs=2), latency)
            if prefill > ENOUGH_SECONDS:
                break
        row = bench.nbytes / rows
        return Speed(bench.nbytes / decode, part * row * TOKENS / prefill, upload, latency)
    finally:
        bench.close()


def _without(seconds: float, latency: float) -> float:
    return max(seconds - latency, seconds / 2)


class _Bench:
    def __init__(self, device: Handle, threads: int, rows: int) -> None:
        self._stack = ExitStack()
        try:
            self._open(device, threads, rows)
        except BaseException:
            self._stack.close()
            raise

    def close(self) -> None:
        self._stack.close()

    def _open(self, device: Handle, threads: int, rows: int) -> None:
        self._is_remote = device.kind == "rpc"
        self._backend = _call("ggml_backend_dev_init", _P, device.address, None)
        if not self._backend:
            raise MeasuringError(f"{device.name} cannot be used: update its driver, or leave it out with --devices.")
        self._stack.callback(_call, "ggml_backend_free", None, self._backend)
        _set_threads(device, self._backend, threads)
        self._context = _call("ggml_init", _P, InitParams(1 << 20, None, True), kinds=[InitParams])
        self._stack.callback(_call, "ggml_free", None, self._context)
        self._weights = _new(self._context, Q4_K, COLUMNS, rows)
        self._input = _new(self._context, F32, COLUMNS, TOKENS)
        self._row = _call("ggml_row_size", ctypes.c_size_t, Q4_K, COLUMNS, kinds=[ctypes.c_int, ctypes.c_int64])
        self._graphs: dict[tuple[int, int], tuple[int, int]] = {}
        for part in {32, rows >> 6, rows >> 4, rows >> 2, rows}:
            for tokens in (1, TOKENS):
                self._graphs[part, tokens] = self._graph(part, tokens)
        buffer = _call("ggml_backend_alloc_ctx_tensors", _P, self._context, self._backend)
        if not buffer:
            raise MeasuringError(f"{device.name} has too little memory free to be measured.")
        self._stack.callback(_call, "ggml_backend_buffer_free", None, buffer)
        self.nbytes: int = _call("ggml_nbytes", ctypes.c_size_t, self._weights)
        self._source = np.ones(self.nbytes, np.uint8)  # zeros would all lie in one page of the kernel's
        self._set(self._input, np.zeros(COLUMNS * TOKENS, np.float32))

    def upload(self) -> float:
        """Bytes per second from RAM, of the second copy: the first one finds the memory."""
        self._set(self._weights, self._source)
        self._wait(self._weights)
        started = time.perf_counter()
        self._set(self._weights, self._source)
        self._wait(self._weights)
        return self.nbytes / (time.perf_counter() - started)

    def seconds(self, rows: int, tokens: int, runs: int = MOST_RUNS) -> float:
        """The shortest of several runs, so that what else the machine does counts little."""
        graph, product = self._graphs[rows, tokens]
        times: list[float] = []
        while len(times) < 2 or (len(times) < runs and sum(times) < 10 * ENOUGH_SECONDS):
            started = time.perf_counter()
            status = _call("ggml_backend_graph_compute", ctypes.c_int, self._backend, graph)
            self._wait(product)
            times.append(time.perf_counter() - started)
            if status:
                raise MeasuringError(f"The device could not compute (status {status}).")
        return min(times[1:])

    def _wait(self, tensor: int) -> None:
        """Until another machine has done what it was told: ggml's own waiting ends when it has been told.

        Reading anything back takes an answer, which comes after all that was asked before.
        """
        if self._is_remote:
            kinds = [_P, _P, ctypes.c_size_t, ctypes.c_size_t]
            _call("ggml_backend_tensor_get", None, tensor, ctypes.byref(ctypes.c_uint32()), 0, 4, kinds=kinds)

    def _graph(self, rows: int, tokens: int) -> tuple[int, int]:
        """A product with so many rows, as a graph and the tensor that it ends in."""
        view = [_P, _P, ctypes.c_int64, ctypes.c_int64, ctypes.c_size_t, ctypes.c_size_t]
        weights = _call("ggml_view_2d", _P, self._context, self._weights, COLUMNS, rows, self._row, 0, kinds=view)
        vectors = _call("ggml_view_2d", _P, self._context, self._input, COLUMNS, tokens, 4 * COLUMNS, 0, kinds=view)
        product: int = _call("ggml_mul_mat", _P, self._context, weights, vectors)
        sizes = [_P, ctypes.c_size_t, ctypes.c_bool]
        graph: int = _call("ggml_new_graph_custom", _P, self._context, GRAPH_NODES, False, kinds=sizes)
        _call("ggml_build_forward_expand", None, graph, product)
        return graph, product

    @staticmethod
    def _set(tensor: int, values: np.ndarray[Any, Any]) -> None:
        kinds = [_P, _P, ctypes.c_size_t, ctypes.c_size_t]
        _call("ggml_backend_tensor_set", None, tensor, values.ctypes.data, 0, values.nbytes, kinds=kinds)


_P = ctypes.c_void_p


def _call(name: str, result: Any, *arguments: Any, kinds: list[Any] | None = None) -> Any:
    function: Callable[..., Any] = ctypes.CFUNCTYPE(result, *(kinds or [_P] * len(arguments)))((name, native.LIBLLAMA))
    return function(*arguments)


def _new(context: int, kind: int, columns: int, rows: int) -> int:
    kinds = [_P, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return int(_call("ggml_new_tensor_2d", _P, context, kind, columns, rows, kinds=kinds))


def _set_threads(device: Handle, backend: int, threads: int) -> None:
    registry = _call("ggml_backend_dev_backend_reg", _P, device.address)
    name = b"ggml_backend_set_n_threads"
    address = _call("ggml_backend_reg_get_proc_address", _P, registry, name, kinds=[_P, ctypes.c_char_p])
    if address:
        ctypes.CFUNCTYPE(None, _P, ctypes.c_int)(address)(backend, threads)
