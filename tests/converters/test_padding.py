"""Padding of a feed-forward width that is no multiple of 256."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.blueprint import Choices, arrange
from converters.config import Config
from converters.convert import convert
from converters.errors import ConversionError
from converters.ggml import FileType, GGMLType, row_size
from converters.layout import OutputTensor, expected
from converters.padding import FeedForward, padded, parse_feed_forward
from tests import llama
from tests.fixtures import importance
from tests.fixtures.tiny import tiny_checkpoint

QWEN2_72B = Config(80, 8192, 29568, 64, 8, 152064, 32768, 1e-6, 1e6, None)
WIDTH = 928  # 3.625 × 256


def outputs(config: Config) -> list[OutputTensor]:
    return [OutputTensor(name, dims, ()) for name, dims in expected(config).values()]


def total(config: Config, mode: FeedForward, file_type: FileType = FileType.Q4_K_M) -> int:
    _, tensors, kinds = arrange(outputs(config), config, Choices(file_type, mode))
    return sum(tensor.rows * row_size(kind, tensor.columns) for tensor, kind in zip(tensors, kinds, strict=True))


@pytest.mark.parametrize(
    ("mode", "size"),
    [
        (FeedForward.IDENTICAL, 47_409_725_440),
        (FeedForward.PADDED, 44_004_474_880),
        (FeedForward.PADDED_PLUS, 45_220_823_040),
        (FeedForward.PADDED_KV, 44_384_583_680),
        (FeedForward.AUTO, 44_004_474_880),
    ],
    ids=lambda value: str(getattr(value, "value", value)),
)
def test_bytes_of_qwen2_72b(mode: FeedForward, size: int) -> None:
    assert total(QWEN2_72B, mode) == size


@given(st.integers(1, 200_000))
def test_padded_width_is_the_next_multiple(width: int) -> None:
    assert padded(width) % 256 == 0
    assert 0 <= padded(width) - width < 256


@given(st.integers(1, 300).map(lambda n: n * 32), st.sampled_from(FileType))
def test_auto_is_never_larger_than_llama_cpps_file(width: int, file_type: FileType) -> None:
    config = Config(2, 256, width, 4, 2, 1024, 2048, 1e-6, 1e4, None)
    assert total(config, FeedForward.AUTO, file_type) <= total(config, FeedForward.IDENTICAL, file_type)


@pytest.mark.parametrize("file_type", [FileType.F16, FileType.BF16, FileType.Q8_0, FileType.Q4_0])
@pytest.mark.parametrize("mode", FeedForward, ids=lambda mode: mode.value)
def test_types_without_super_blocks_are_never_padded(file_type: FileType, mode: FeedForward) -> None:
    taken, tensors, _ = arrange(outputs(QWEN2_72B), QWEN2_72B, Choices(file_type, mode))
    assert taken is FeedForward.IDENTICAL
    assert tensors == outputs(QWEN2_72B)


def test_unknown_mode_lists_the_known_ones() -> None:
    with pytest.raises(ConversionError, match=r"choose one of auto, identical, padded, padded\+, padded-kv"):
        parse_feed_forward("wide")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(
        tmp_path_factory.mktemp("misaligned") / "Misaligned", hidden_size=256, intermediate_size=WIDTH
    )


def converted(checkpoint: Path, folder: Path, mode: str) -> tuple[dict[str, gguf.ReaderTensor], list[str], Path]:
    notes: list[str] = []
    out = folder / f"{mode}.gguf"
    convert(checkpoint, out, ffn=mode, on_note=notes.append)
    return {tensor.name: tensor for tensor in gguf.GGUFReader(out).tensors}, notes, out


def values(tensor: gguf.ReaderTensor) -> npt.NDArray[np.float32]:
    return np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)


def test_padding_adds_exact_zeros_and_changes_nothing_else(checkpoint: Path, tmp_path: Path) -> None:
    plain, _, _ = converted(checkpoint, tmp_path, "identical")
    wide, notes, path = converted(checkpoint, tmp_path, "padded")
    assert notes == [
        "The feed-forward width 928 is padded with zeros to 1024 (--ffn padded): K-quants need multiples of 256; the "
        "model computes the same, and --ffn identical would give llama.cpp's bytes."
    ]
    for name, tensor in wide.items():
        if "ffn_gate" in name or "ffn_up" in name:
            assert np.array_equal(tensor.data[:WIDTH], plain[name].data)
            assert not values(tensor)[WIDTH:].any()
        elif "ffn_down" in name:
            assert tensor.tensor_type in {GGMLType.Q4_K, GGMLType.Q6_K}
            assert not values(tensor)[:, WIDTH:].any()
            # What is stored of the real columns is the weights, as well as their type can.
            error = values(tensor)[:, :WIDTH] - values(plain[name])
            assert np.sqrt(np.mean(error**2)) < 0.12 * 0.05
        else:
            assert np.array_equal(tensor.data, plain[name].data)
    assert gguf.GGUFReader(path).fields["qwen2.feed_forward_length"].contents() == 1024
    with llama.model(path) as loaded:
        assert llama.tokenize(loaded, "Hello")


def test_padded_files_answer_like_the_unpadded_one(checkpoint: Path, tmp_path: Path) -> None:
    """Random weights have no right answer, so logits are compared: padding is less far off than one bit less is."""
    text = "A short text, 一些中文, 1234."
    exact = tmp_path / "exact.gguf"
    convert(checkpoint, exact, "BF16")
    reference = llama.logits(exact, text)
    for mode in ("identical", "padded", "padded+", "padded-kv"):
        _, _, path = converted(checkpoint, tmp_path, mode)
        difference = llama.logits(path, text) - reference
        assert np.sqrt(np.mean(difference**2)) < 0.25 * np.std(reference), mode


def test_importance_matrix_of_the_unpadded_width_applies(checkpoint: Path, tmp_path: Path) -> None:
    matrix = tmp_path / "imatrix.gguf"
    importance.write(matrix, importance.entries(checkpoint))
    without, _, _ = converted(checkpoint, tmp_path, "padded")
    out = tmp_path / "weighed.gguf"
    convert(checkpoint, out, ffn="padded", imatrix=matrix)
    weighed = {tensor.name: tensor for tensor in gguf.GGUFReader(out).tensors}
    for name in ("blk.0.ffn_down.weight", "blk.0.ffn_up.weight"):
        assert weighed[name].tensor_type == without[name].tensor_type
        assert not np.array_equal(weighed[name].data, without[name].data)
    down = values(weighed["blk.0.ffn_down.weight"])
    assert not down[:, WIDTH:].any()
    assert (
        np.corrcoef(down[:, :WIDTH].ravel(), values(without["blk.0.ffn_down.weight"])[:, :WIDTH].ravel())[0, 1] > 0.98
    )


def test_padding_that_would_cost_more_is_not_taken(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "Narrow", hidden_size=256, intermediate_size=544)
    tensors, notes, _ = converted(folder, tmp_path, "auto")
    assert tensors["blk.0.ffn_down.weight"].shape[0] == 544
    assert "would make the file larger" in notes[0]
