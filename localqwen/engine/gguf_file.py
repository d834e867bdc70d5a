"""Reads the sizes of a GGUF file's tensors through ggml's own reader, which needs no weights in memory."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localqwen.engine import native
from localqwen.engine.shape import Shape
from localqwen.errors import InvalidModelError

_LAYER = re.compile(r"blk\.(\d+)\.")
_EXPERTS = re.compile(r"_exps\.")
_PART = re.compile(r"-00001-of-(\d{5})\.gguf$")
_INTEGERS = {0: "u8", 1: "i8", 2: "u16", 3: "i16", 4: "u32", 5: "i32", 10: "u64", 11: "i64"}  # enum gguf_type
_WIDTHS = {"8": ctypes.c_uint8, "16": ctypes.c_uint16, "32": ctypes.c_uint32, "64": ctypes.c_uint64}


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

    def tensors(self) -> Iterator[tuple[str, int]]:
        """Names and bytes."""
        lib = native.LIBLLAMA
        for i in range(lib.gguf_get_n_tensors(self._handle)):
            yield (
                lib.gguf_get_tensor_name(self._handle, i).decode("utf-8", "replace"),
                lib.gguf_get_tensor_size(self._handle, i),
            )


@contextmanager
def _opened(path: Path) -> Iterator[_Reader]:
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
    with _opened(path) as reader:
        architecture = reader.text("general.architecture")

        def number(key: str) -> int:
            return reader.integer(f"{architecture}.{key}")

        layers, heads, hidden = number("block_count"), number("attention.head_count"), number("embedding_length")
        experts, used = number("expert_count"), number("expert_used_count")
        kv_heads = number("attention.head_count_kv") or heads
        head = number("attention.key_length") or hidden // max(heads, 1)
        sizes = list(reader.tensors())
        feed_forward = max(number("feed_forward_length"), number("expert_shared_feed_forward_length"))
    for part in parts(path)[1:]:
        with _opened(part) as reader:
            sizes += reader.tensors()
    layer_bytes, layer_reads = [0] * layers, [0.0] * layers
    embeddings = {"token_embd.weight": 0, "output.weight": 0}
    others = 0
    for name, size in sizes:
        if (match := _LAYER.match(name)) and int(match[1]) < layers:
            layer_bytes[int(match[1])] += size
            layer_reads[int(match[1])] += size * used / experts if _EXPERTS.search(name) and experts else size
        elif name in embeddings:
            embeddings[name] = size
        else:
            others += size  # the last norm, which lies with the output
    tied = not embeddings["output.weight"]
    return Shape(
        layer_bytes=tuple(layer_bytes),
        layer_reads=tuple(map(int, layer_reads)),
        output_bytes=(embeddings["output.weight"] or embeddings["token_embd.weight"]) + others,
        input_bytes=embeddings["token_embd.weight"],
        tied=tied,
        hidden=hidden,
        feed_forward=feed_forward,
        kv_width=kv_heads * head,
    )


def parts(path: Path) -> list[Path]:
    """All files of a model, the given one first."""
    match = _PART.search(path.name)
    if not match:
        return [path]
    count = int(match[1])
    return [path.with_name(f"{path.name[: match.start()]}-{i:05d}-of-{count:05d}.gguf") for i in range(1, count + 1)]
