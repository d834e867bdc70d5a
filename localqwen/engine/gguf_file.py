"""Reads the sizes of a GGUF file's tensors through ggml's own reader, which needs no weights in memory."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from localqwen.engine import native
from localqwen.engine.shape import Shape
from localqwen.engine.slices import LayerSlices, Slices
from localqwen.errors import InvalidModelError

_LAYER = re.compile(r"blk\.(\d+)\.")
_EXPERTS = re.compile(r"_exps\.")
# What llama.cpp divides where cards share every tensor; the biases of the two outputs are on each.
_ATTENTION = re.compile(r"attn_(?:[qkv]\.(?:weight|bias)|output\.weight)$")
_FEED_FORWARD = re.compile(r"ffn_(?:(?:up|gate)(?:_exps)?\.(?:weight|bias)|down(?:_exps)?\.weight)$")
_PART = re.compile(r"-00001-of-(\d{5})\.gguf$")
WHOLE_ROWS = 128  # of a feed-forward
_INTEGERS = {0: "u8", 1: "i8", 2: "u16", 3: "i16", 4: "u32", 5: "i32", 10: "u64", 11: "i64"}  # enum gguf_type
_WIDTHS = {"8": ctypes.c_uint8, "16": ctypes.c_uint16, "32": ctypes.c_uint32, "64": ctypes.c_uint64}


@dataclass(frozen=True, slots=True)
class _Tensor:
    """``kind`` is an ``enum ggml_type``."""

    name: str
    nbytes: int
    kind: int

    @property
    def block(self) -> int:
        """Values that the quantization keeps together."""
        function = native.LIBLLAMA.ggml_blck_size
        function.argtypes, function.restype = [ctypes.c_int], ctypes.c_int64
        return int(function(self.kind))

    def rows(self, columns: int) -> int:
        """How many rows of so many values it has."""
        function = native.LIBLLAMA.ggml_row_size
        function.argtypes, function.restype = [ctypes.c_int, ctypes.c_int64], ctypes.c_size_t
        return self.nbytes // max(1, int(function(self.kind, columns)))


class _InitParams(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))


class _Reader:
    """An open file."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        lib = native.LIBLLAMA
        for name, arguments, result in (
            ("gguf_find_key", [ctypes.c_char_p], ctypes.c_int64),
            ("gguf_get_kv_type", [ctypes.c_int64], ctypes.c_int),
            ("gguf_get_val_str", [ctypes.c_int64], ctypes.c_char_p),
            ("gguf_get_n_tensors", [], ctypes.c_int64),
            ("gguf_get_tensor_name", [ctypes.c_int64], ctypes.c_char_p),
            ("gguf_get_tensor_size", [ctypes.c_int64], ctypes.c_size_t),
            ("gguf_get_tensor_type", [ctypes.c_int64], ctypes.c_int),
        ):
            function = getattr(lib, name)
            function.argtypes, function.restype = [ctypes.c_void_p, *arguments], result
        for kind in _INTEGERS.values():
            function = getattr(lib, f"gguf_get_val_{kind}")
            function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_int64], _WIDTHS[kind[1:]]

    def text(self, key: str) -> str:
        """A text, or nothing."""
        at = native.LIBLLAMA.gguf_find_key(self._handle, key.encode())
        if at < 0 or native.LIBLLAMA.gguf_get_kv_type(self._handle, at) != 8:
            return ""
        value: bytes = native.LIBLLAMA.gguf_get_val_str(self._handle, at)
        return value.decode("utf-8", "replace")

    def integer(self, key: str) -> int:
        """A number, or 0."""
        at = native.LIBLLAMA.gguf_find_key(self._handle, key.encode())
        kind = _INTEGERS.get(native.LIBLLAMA.gguf_get_kv_type(self._handle, at)) if at >= 0 else None
        return int(getattr(native.LIBLLAMA, f"gguf_get_val_{kind}")(self._handle, at)) if kind else 0

    def tensors(self) -> Iterator[_Tensor]:
        """All of them."""
        lib = native.LIBLLAMA
        for i in range(lib.gguf_get_n_tensors(self._handle)):
            yield _Tensor(
                lib.gguf_get_tensor_name(self._handle, i).decode("utf-8", "replace"),
                lib.gguf_get_tensor_size(self._handle, i),
                lib.gguf_get_tensor_type(self._handle, i),
            )


@contextmanager
def opened(path: Path) -> Iterator[_Reader]:
    """The file's head. Raises :class:`InvalidModelError`."""
    native.start()
    lib = native.LIBLLAMA
    lib.gguf_init_from_file.argtypes = [ctypes.c_char_p, _InitParams]
    lib.gguf_init_from_file.restype = ctypes.c_void_p
    lib.gguf_free.argtypes, lib.gguf_free.restype = [ctypes.c_void_p], None
    handle = lib.gguf_init_from_file(os.fsencode(path), _InitParams(True, None))
    if not handle:
        raise InvalidModelError(f"{path} cannot be read as a GGUF file: copy, download or convert it again.")
    try:
        yield _Reader(handle)
    finally:
        lib.gguf_free(handle)


def read_shape(path: Path) -> Shape:
    """The shape of a model, of all its files where it is split. Raises :class:`InvalidModelError`."""
    with opened(path) as reader:
        architecture = reader.text("general.architecture")

        def number(key: str) -> int:
            return reader.integer(f"{architecture}.{key}")

        layers, heads, hidden = number("block_count"), number("attention.head_count"), number("embedding_length")
        experts, used = number("expert_count"), number("expert_used_count")
        kv_heads = number("attention.head_count_kv") or heads
        head = number("attention.key_length") or hidden // max(heads, 1)
        tensors = list(reader.tensors())
        feed_forward = max(number("feed_forward_length"), number("expert_shared_feed_forward_length"))
        divided = number("expert_feed_forward_length") or number("feed_forward_length")
    for part in parts(path)[1:]:
        with opened(part) as reader:
            tensors += reader.tensors()
    by_layer: list[list[_Tensor]] = [[] for _ in range(layers)]
    embeddings: dict[str, _Tensor] = {}
    others = 0
    for tensor in tensors:
        if (match := _LAYER.match(tensor.name)) and int(match[1]) < layers:
            by_layer[int(match[1])].append(tensor)
        elif tensor.name in {"token_embd.weight", "output.weight"}:
            embeddings[tensor.name] = tensor
        else:
            others += tensor.nbytes  # the last norm, which lies with the output
    input_, output = embeddings.get("token_embd.weight"), embeddings.get("output.weight")
    input_bytes = input_.nbytes if input_ is not None else 0
    group = heads // max(kv_heads, 1) * head
    return Shape(
        layer_bytes=tuple(sum(tensor.nbytes for tensor in layer) for layer in by_layer),
        layer_reads=tuple(int(sum(_read(tensor, used, experts) for tensor in layer)) for layer in by_layer),
        output_bytes=(output.nbytes if output is not None else input_bytes) + others,
        input_bytes=input_bytes,
        tied=output is None,
        hidden=hidden,
        feed_forward=feed_forward,
        kv_width=kv_heads * head,
        slices=tuple(
            LayerSlices(
                _slices(layer, _ATTENTION, "attn_output.", heads * head, group),
                _slices(layer, _FEED_FORWARD, "ffn_down", divided, WHOLE_ROWS),
            )
            for layer in by_layer
        ),
        # A tied one is the input's copy, which nobody divides.
        output_slices=Slices(output.nbytes, output.rows(hidden)) if output is not None else None,
    )


def _read(tensor: _Tensor, used: int, experts: int) -> float:
    """Bytes that a token reads of it."""
    return tensor.nbytes * used / experts if experts and _EXPERTS.search(tensor.name) else tensor.nbytes


def _slices(layer: list[_Tensor], pattern: re.Pattern[str], last: str, length: int, group: int) -> Slices:
    """What ``pattern`` finds, cut as the tensor ``last`` is."""
    found = [tensor for tensor in layer if pattern.search(tensor.name)]
    block = next((tensor.block for tensor in found if f".{last}" in tensor.name), 1)
    return Slices(sum(tensor.nbytes for tensor in found), max(length, 1), max(group, 1), block)


def parts(path: Path) -> list[Path]:
    """All files of a model, the given one first."""
    match = _PART.search(path.name)
    if not match:
        return [path]
    count = int(match[1])
    return [path.with_name(f"{path.name[: match.start()]}-{i:05d}-of-{count:05d}.gguf") for i in range(1, count + 1)]
