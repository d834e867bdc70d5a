"""Reading GGUF headers: the same as the gguf package says, and nothing but our own error on anything hostile."""

from __future__ import annotations

import struct
import tempfile
import tracemalloc
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters import gguf_reader
from converters.errors import GGUFError
from converters.gguf_reader import FIRST, Array, read_gguf


def text(value: str) -> bytes:
    """A GGUF string."""
    return struct.pack("<Q", len(value.encode())) + value.encode()


def start(tensors: int, pairs: int, version: int = 3) -> bytes:
    """The first bytes of a GGUF."""
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs)


def pair(key: str, kind: int, value: bytes) -> bytes:
    """A metadata pair."""
    return text(key) + struct.pack("<I", kind) + value


def array(kind: int, count: int, body: bytes = b"") -> bytes:
    """An array's bytes, with a count that need not be true."""
    return struct.pack("<IQ", kind, count) + body


@cache
def sample() -> bytes:
    """A small file with every kind of value."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.gguf"
        writer = gguf.GGUFWriter(path, "qwen2")
        writer.add_uint8("u8", 255)
        writer.add_int64("i64", -(1 << 62))
        writer.add_float64("f64", 0.1)
        writer.add_bool("yes", True)
        writer.add_string("text", "Grüße \x1b[2J 你好")
        writer.add_array("tokens", [f"token {i}" for i in range(300)])
        writer.add_array("numbers", list(range(5000)))
        writer.add_array("one", [1.5])
        writer.add_tensor("a.weight", np.ones((3, 64), np.float32))
        writer.add_tensor("b.weight", np.ones(7, np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def read(data: bytes, folder: Path) -> gguf_reader.Header:
    """Read bytes as a file."""
    path = folder / "x.gguf"
    path.write_bytes(data)
    return read_gguf(path)


def test_reads_what_the_gguf_package_reads(tmp_path: Path) -> None:
    header = read(sample(), tmp_path)
    reader = gguf.GGUFReader(tmp_path / "x.gguf")
    theirs = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert list(header.metadata) == list(theirs)
    for key, value in header.metadata.items():
        if isinstance(value, Array):
            assert value.count == len(theirs[key])
            assert list(value.first) == theirs[key][:FIRST]
        else:
            assert value == theirs[key]
    for ours, other in zip(header.tensors, reader.tensors, strict=True):
        assert (ours.name, ours.kind) == (other.name, other.tensor_type)
        assert ours.dims == tuple(int(size) for size in other.shape[::-1])
        assert header.data + ours.offset == other.data_offset


def test_reads_the_demo_model(demo_gguf: Path) -> None:
    header = read_gguf(demo_gguf)
    tokens = header.metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, Array)
    assert tokens.count == 49152
    assert header.data + header.tensors[-1].offset < header.size


def test_long_texts_are_cut(tmp_path: Path) -> None:
    long = "x" * (gguf_reader.MAX_TEXT + 5000)
    body = pair("long", 8, text(long)) + pair("many", 9, array(8, 2, text(long) + text("b"))) + pair("n", 0, b"\7")
    metadata = read(start(0, 3) + body, tmp_path).metadata
    assert metadata["long"] == long[: gguf_reader.MAX_TEXT] + "…"
    assert metadata["many"] == Array("str", 2, ("x" * gguf_reader.FIRST_TEXT + "…", "b"))
    assert metadata["n"] == 7


TENSOR = text("t") + struct.pack("<IqIQ", 1, 4, 0, 0)
HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no GGUF"),
    "short": (b"GG", "no GGUF"),
    "another format": (b"PK\3\4" + bytes(100), "no GGUF"),
    "version 1": (start(0, 0, 1), "version 1"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "only magic": (b"GGUF", "cut off"),
    "billions of keys": (start(0, 1 << 60), "metadata keys"),
    "billions of tensors": (start(1 << 60, 0), "tensors"),
    "huge string": (start(0, 1) + pair("a", 8, struct.pack("<Q", 1 << 63)), "cut off"),
    "huge key": (start(0, 1) + struct.pack("<Q", 1 << 62), "a metadata key"),
    "huge array": (start(0, 1) + pair("a", 9, array(0, 1 << 62)), "elements"),
    "array beyond the end": (start(0, 1) + pair("a", 9, array(0, 1 << 20)), "cut off"),
    "strings beyond the end": (start(0, 1) + pair("a", 9, array(8, 1 << 20)), "cut off"),
    "array of arrays": (start(0, 1) + pair("a", 9, array(9, 1)), "unknown type"),
    "unknown type": (start(0, 1) + pair("a", 99, b""), "unknown type"),
    "key twice": (start(0, 2) + pair("a", 0, b"\1") * 2, "twice"),
    "alignment 3": (start(0, 1) + pair("general.alignment", 4, struct.pack("<I", 3)), "power of two"),
    "alignment 0": (start(0, 1) + pair("general.alignment", 4, struct.pack("<I", 0)), "power of two"),
    "alignment text": (start(0, 1) + pair("general.alignment", 8, text("32")), "power of two"),
    "five dimensions": (start(1, 0) + text("t") + struct.pack("<I", 5) + bytes(60), "5 dimensions"),
    "negative dimension": (start(1, 0) + text("t") + struct.pack("<IqIQ", 1, -4, 0, 0), "impossible"),
    "overflow": (start(1, 0) + text("t") + struct.pack("<IqqIQ", 2, 1 << 40, 1 << 40, 0, 0), "impossible"),
    "tensor twice": (start(2, 0) + TENSOR * 2, "same name"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    data, words = HOSTILE[case]
    with pytest.raises(GGUFError, match=words) as caught:
        read(data, tmp_path)
    assert "x.gguf" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    # As much text as the pairs can carry: refused before it is all in memory.
    body = b"".join(pair(f"k{i}", 8, text("x" * 60_000)) for i in range(1000))
    tracemalloc.start()
    try:
        with pytest.raises(GGUFError, match="of text"):
            read(start(0, 1000) + body, tmp_path)
        # The file itself was built in memory before.
        assert tracemalloc.get_traced_memory()[1] < len(body) * 2 + 3 * gguf_reader.MAX_ALL_TEXT
    finally:
        tracemalloc.stop()


def test_all_arrays_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_reader, "MAX_ELEMENTS", 1000)
    body = b"".join(pair(f"a{i}", 9, array(0, 300, bytes(300))) for i in range(5))
    with pytest.raises(GGUFError, match="elements"):
        read(start(0, 5) + body, tmp_path)


def test_missing_files_folders_and_pipes(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none.gguf", tmp_path, tmp_path / "pipe"):
        with pytest.raises(GGUFError, match="give a GGUF"):
            read_gguf(path)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_bytes_give_our_own_error_or_a_header(data: st.DataObject) -> None:
    damaged = bytearray(sample())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, min(len(damaged), 14_000) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    check(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))


VALUES: st.SearchStrategy[bytes] = st.one_of(
    st.binary(max_size=24), st.builds(array, st.integers(0, 14), st.integers(0, 1 << 64 - 1), st.binary(max_size=40))
)


@settings(deadline=None)
@given(
    st.lists(st.builds(pair, st.text(max_size=5), st.integers(0, 14), VALUES), max_size=4),
    st.integers(0, 5),
    st.binary(max_size=80),
)
def test_made_up_headers_give_our_own_error_or_a_header(pairs: list[bytes], tensors: int, rest: bytes) -> None:
    check(start(tensors, len(pairs)) + b"".join(pairs) + rest)


def check(data: bytes) -> None:
    """What reading gives is a header that fits the file, or our own error."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            header: Any = read(data, Path(folder))
        except GGUFError:
            return
    assert header.size == len(data)
    assert all(tensor.weights >= 0 for tensor in header.tensors)
