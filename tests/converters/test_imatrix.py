"""Importance matrices: both forms, what they do to a conversion, and what can be wrong with them."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.blueprint import Choices, lay_out
from converters.checkpoint import open_checkpoint
from converters.convert import convert
from converters.errors import ConversionError
from converters.ggml import FileType, GGMLType, row_size
from converters.imatrix import ImportanceMatrix, read_imatrix
from converters.importance import GROUPS, floored
from converters.padding import FeedForward
from converters.quantize import Kernels, library_path
from tests import fixtures
from tests.fixtures import importance
from tests.fixtures.tiny import tiny_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The tiny checkpoint."""
    return tiny_checkpoint(tmp_path / "Tiny-Instruct")


@pytest.fixture
def file(tmp_path: Path, checkpoint: Path) -> Path:
    """An importance matrix for it."""
    path = tmp_path / importance.NAME
    importance.write(path, importance.entries(checkpoint))
    return path


def ones(columns: int = 64, **changes: float) -> importance.Entries:
    """One tensor's entry whose columns (by their number after ``c``) are what ``changes`` says, otherwise 1."""
    sums = np.ones((1, columns), np.float32)
    for key, value in changes.items():
        sums[0, int(key.removeprefix("c"))] = value
    return {"blk.0.attn_q.weight": (sums, np.ones(1, np.float32))}


def test_importance_is_the_mean_and_one_where_nothing_was_seen(tmp_path: Path) -> None:
    sums = np.array([[6, 9], [4, 8], [5, 5]], np.float32)
    importance.write(tmp_path / "x", {"blk.0.ffn_up_exps.weight": (sums, np.array([3, 4, 0], np.float32))})
    matrix = read_imatrix(str(tmp_path / "x"))
    vector = matrix.vector("blk.0.ffn_up_exps.weight", 2, 3)
    assert vector is not None
    assert vector.tolist() == [[2, 3], [1, 2], [1, 1]]
    assert (matrix.name, matrix.datasets, matrix.chunks, len(matrix)) == (
        str(tmp_path / "x"),
        ("calibration.txt",),
        7,
        1,
    )


def test_the_older_form_says_the_same(checkpoint: Path, file: Path, tmp_path: Path) -> None:
    importance.write_legacy(tmp_path / "imatrix.dat", importance.entries(checkpoint))
    new, old = read_imatrix(str(file)), read_imatrix(str(tmp_path / "imatrix.dat"))
    assert (old.datasets, old.chunks, len(old)) == (new.datasets, new.chunks, len(new))
    for name in importance.entries(checkpoint):
        columns = 96 if "ffn_down" in name else 64
        one, other = new.vector(name, columns), old.vector(name, columns)
        assert one is not None and other is not None
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_the_oldest_form_ends_after_its_entries(tmp_path: Path) -> None:
    name = b"blk.0.attn_q.weight"
    (tmp_path / "x").write_bytes(struct.pack("<ii19sii2f", 1, 19, name, 0, 2, 1, 2))
    matrix = read_imatrix(str(tmp_path / "x"))
    assert (matrix.datasets, matrix.chunks) == ((), 0)
    vector = matrix.vector(name.decode(), 2)
    assert vector is not None and vector.tolist() == [[1, 2]]


def test_padding_adds_columns_that_matter_nothing() -> None:
    matrix = ImportanceMatrix("x", {"t": np.array([[1, 2], [3, 4]], np.float32)}, (), 0)
    vector = matrix.vector("t", 2, 2, padded=4)
    assert vector is not None and vector.flags.c_contiguous
    assert vector.tolist() == [[1, 2, 0, 0], [3, 4, 0, 0]]
    assert matrix.vector("other", 2) is None
    with pytest.raises(ConversionError, match=r"x holds 4 importances for t, which has 8: it was made for another"):
        matrix.vector("t", 4, 2, padded=4)


def test_keys_are_those_of_llama_quantize(checkpoint: Path, file: Path, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "out.gguf", "Q4_0", imatrix=file)
    fields = list(gguf.GGUFReader(tmp_path / "out.gguf").fields.values())[-4:]
    assert {field.name: field.contents() for field in fields} == {
        "quantize.imatrix.file": str(file)[:127],
        "quantize.imatrix.dataset": "calibration.txt",
        "quantize.imatrix.entries_count": 14,
        "quantize.imatrix.chunks_count": 7,
    }


@pytest.mark.parametrize("kind", [kind for kind in GGMLType if kind not in (GGMLType.F32, GGMLType.F16, GGMLType.BF16)])
def test_groups_are_those_that_ggml_turns_into_zeros(kind: GGMLType) -> None:
    weights = np.random.default_rng(0).standard_normal(512).astype(np.float32)
    for size in (8, 16, 32, 64, 128, 256):
        vector = np.ones((1, 512), np.float32)
        vector[0, :size] = 0
        lifted, count = floored(vector, kind)
        for importances, lost in ((vector, count > 0), (lifted, False)):
            target = np.empty(row_size(kind, 512), np.uint8)
            Kernels(library_path()).quantize(kind, weights, target, 512, importances[0])
            stored = gguf.quants.dequantize(target, gguf.GGMLQuantizationType(kind))
            assert (not stored[:size].any()) == lost
        assert count == (size // GROUPS[kind] if kind in GROUPS else 0)
        assert np.array_equal(lifted[0, size:], vector[0, size:])


def test_columns_that_no_text_reached_are_kept_and_said(checkpoint: Path, tmp_path: Path) -> None:
    data = dict(importance.entries(checkpoint))
    dead = np.concatenate([np.zeros((1, 32), np.float32), np.ones((1, 32), np.float32)], axis=1)
    data["blk.0.attn_q.weight"] = (dead, np.ones(1, np.float32))
    importance.write(tmp_path / "x", data)
    stored = {}
    for identical in (False, True):
        notes: list[str] = []
        out = tmp_path / f"{identical}.gguf"
        convert(checkpoint, out, "Q4_0", imatrix=tmp_path / "x", identical=identical, on_note=notes.append)
        tensor = next(t for t in gguf.GGUFReader(out).tensors if t.name == "blk.0.attn_q.weight")
        stored[identical] = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert len(notes) == 1
        assert "no importance at all to 1 groups of columns in blk.0.attn_q.weight" in notes[0]
        assert ("become zeros" in notes[0]) == identical
    assert not stored[True][:, :32].any()
    assert stored[False][:, :32].any(axis=1).all()
    assert np.array_equal(stored[True][:, 32:], stored[False][:, 32:])


def test_another_importance_matrix_is_another_conversion(checkpoint: Path, file: Path, tmp_path: Path) -> None:
    def stop(step: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out.gguf"
    with pytest.raises(KeyboardInterrupt):
        convert(checkpoint, out, "Q4_0", imatrix=file, on_progress=stop)
    data = {name: (sums * 2 + 1, counts) for name, (sums, counts) in importance.entries(checkpoint).items()}
    importance.write(file, data)
    notes: list[str] = []
    convert(checkpoint, out, "Q4_0", imatrix=file, on_note=notes.append)
    assert "starting over" in notes[0]
    convert(checkpoint, tmp_path / "fresh.gguf", "Q4_0", imatrix=file)
    assert out.read_bytes() == (tmp_path / "fresh.gguf").read_bytes()


def test_missing_tensors_are_said_and_foreign_files_refused(checkpoint: Path, tmp_path: Path) -> None:
    importance.write(tmp_path / "few", ones())
    notes: list[str] = []
    convert(checkpoint, tmp_path / "out.gguf", "Q4_0", imatrix=tmp_path / "few", on_note=notes.append)
    assert [note.partition(" holds nothing for ")[2] for note in notes] == [
        "blk.0.attn_k.weight and 12 more tensors: quantized without importances."
    ]
    importance.write(tmp_path / "none", {"blk.9.attn_q.weight": ones()["blk.0.attn_q.weight"]})
    importance.write(tmp_path / "wide", ones(128))
    for name, words in (("none", "holds nothing for the tensors of this model"), ("wide", "made for another model")):
        with pytest.raises(ConversionError, match=words):
            convert(checkpoint, tmp_path / "foreign.gguf", "Q4_0", imatrix=tmp_path / name)
    assert not list(tmp_path.glob("foreign*"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1])
def test_values_that_make_no_sense(value: float, tmp_path: Path) -> None:
    importance.write(tmp_path / "x", ones(c3=value))
    with pytest.raises(ConversionError, match=r"infinite, undefined or negative importances for blk\.0\.attn_q"):
        read_imatrix(str(tmp_path / "x"))


def test_files_that_are_none(checkpoint: Path, file: Path, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "model.gguf", "Q4_0")
    (tmp_path / "empty").touch()
    (tmp_path / "claims").write_bytes(struct.pack("<ii", 1, 2**31 - 1))
    (tmp_path / "cut").write_bytes(file.read_bytes()[:-100])
    for name in ("model.gguf", "empty", "claims", "cut", "Tiny-Instruct/config.json"):
        with pytest.raises(ConversionError, match="no importance matrix, or a damaged one"):
            read_imatrix(str(tmp_path / name))
    for name in ("nothing", "Tiny-Instruct"):
        with pytest.raises(ConversionError, match="Cannot read"):
            read_imatrix(str(tmp_path / name))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_bytes_are_an_importance_matrix_or_an_error(data: st.DataObject, file: Path, tmp_path: Path) -> None:
    whole = bytearray(file.read_bytes() if data.draw(st.booleans()) else b"\1\0\0\0" + bytes(60))
    for place in data.draw(st.lists(st.integers(0, min(len(whole), 4000) - 1), max_size=6)):
        whole[place] = data.draw(st.integers(0, 255))
    (tmp_path / "fuzzed").write_bytes(whole)
    try:
        read_imatrix(str(tmp_path / "fuzzed"))
    except ConversionError as error:
        assert str(tmp_path / "fuzzed") in str(error)


def test_types_without_blocks_only_tell_of_it(checkpoint: Path, file: Path, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "with.gguf", "F16", imatrix=file)
    convert(checkpoint, tmp_path / "without.gguf", "F16")
    one, other = (gguf.GGUFReader(tmp_path / name) for name in ("with.gguf", "without.gguf"))
    assert all(np.array_equal(a.data, b.data) for a, b in zip(one.tensors, other.tensors, strict=True))
    assert set(one.fields) - set(other.fields) == {
        f"quantize.imatrix.{key}" for key in ("file", "dataset", "entries_count", "chunks_count")
    }


def test_unpadded_importances_serve_a_padded_width(tmp_path: Path) -> None:
    checkpoint = fixtures.qwen_vocab_checkpoint()
    importance.write(tmp_path / "x", importance.entries(checkpoint))
    choices = Choices(FileType.Q4_K_M, FeedForward.PADDED, matrix=read_imatrix(str(tmp_path / "x")))
    blueprint = lay_out(open_checkpoint(checkpoint), choices)
    vector = blueprint.importance["blk.1.ffn_down.weight"]
    assert vector.shape == (1, 1024)
    assert vector[0, :800].all()
    assert not vector[0, 800:].any()
    assert not any("no importance" in note for note in blueprint.notes)
