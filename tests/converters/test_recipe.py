"""The recipe: pure rules, checked against themselves and against llama.cpp's quantizer."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import gguf
import llama_cpp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters import metadata as keys
from converters.config import Config, Experts
from converters.ggml import BLOCKS, FileType, GGMLType, row_size
from converters.gguf_format import Metadata, TensorInfo, align, encode_header
from converters.layout import file_order, outputs
from converters.recipe import Shape, assign, more_bits
from tests.llama import silence

FILE_TYPES = st.sampled_from(FileType)
K_QUANTS = (GGMLType.Q4_K, GGMLType.Q5_K, GGMLType.Q6_K)

# The shapes of the published sizes, and some that meet rules of their own: layers, hidden, feed-forward, heads,
# key-value heads, vocabulary.
SIZES = {
    "0.5B": (24, 896, 4864, 14, 2, 151936),
    "1.5B": (28, 1536, 8960, 12, 2, 151936),
    "7B": (28, 3584, 18944, 28, 4, 152064),
    "32B": (64, 5120, 27648, 40, 8, 152064),
    "72B": (80, 8192, 29568, 64, 8, 152064),
}
MIXTURES = {
    "57B-A14B": ((28, 3584, 18944, 28, 4, 151936), Experts(64, 8, 2560, 20480)),
    "1.5-MoE-A2.7B": ((24, 2048, 5632, 16, 16, 151936), Experts(60, 4, 1408, 5632)),
    "8 experts": ((16, 512, 1024, 8, 2, 1024), Experts(8, 2, 256, 512)),
    "one expert": ((16, 512, 1024, 8, 2, 1024), Experts(1, 1, 256, 512)),
    "80 layers": ((80, 512, 1024, 8, 2, 1024), Experts(4, 1, 256, 512)),
}


def shapes(config: Config, *, tied: bool) -> list[Shape]:
    """All tensors of a model in file order."""
    tensors = [Shape(name, wanted.dims) for name, wanted in outputs(config).items()]
    return sorted((t for t in tensors if not (tied and t.name == "output.weight")), key=lambda t: file_order(t.name))


def config(*shape: int, experts: Experts | None = None) -> Config:
    """A config of that shape (see SIZES)."""
    layers, hidden, feed_forward, heads, kv_heads, vocabulary = shape
    return Config(layers, hidden, feed_forward, heads, kv_heads, vocabulary, 32768, 1e-6, 1e6, None, experts)


@given(
    layers=st.integers(1, 90),
    heads=st.integers(1, 8),
    feed_forward=st.integers(1, 3000),
    vocabulary=st.integers(1, 3000),
    tied=st.booleans(),
    file_type=FILE_TYPES,
)
def test_every_tensor_gets_a_type_that_fits_its_rows(
    layers: int, heads: int, feed_forward: int, vocabulary: int, tied: bool, file_type: FileType
) -> None:
    tensors = shapes(config(layers, heads * 64, feed_forward, heads, heads, vocabulary), tied=tied)
    for tensor, kind in zip(tensors, assign(tensors, file_type, layers), strict=True):
        assert tensor.dims[-1] % BLOCKS[kind].weights == 0
        assert row_size(kind, tensor.dims[-1]) > 0
        if len(tensor.dims) == 1:
            assert kind is GGMLType.F32


@given(count=st.integers(1, 200))
def test_medium_mixtures_give_more_bits_to_both_ends_and_every_third_between(count: int) -> None:
    chosen = [more_bits(index, count) for index in range(count)]
    assert all(chosen[: count // 8])
    assert all(chosen[7 * count // 8 :])
    between = chosen[count // 8 : 7 * count // 8]
    assert between[2::3] == [True] * len(between[2::3])
    assert sum(between) == len(between[2::3])


def test_tied_embedding_is_stored_as_the_output_it_is_used_for() -> None:
    model = config(*SIZES["1.5B"])
    for tied in (True, False):
        tensors = shapes(model, tied=tied)
        kinds = dict(zip([t.name for t in tensors], assign(tensors, FileType.Q4_K_M, model.layers), strict=True))
        assert kinds["token_embd.weight"] is (GGMLType.Q6_K if tied else GGMLType.Q4_K)


def test_72b_falls_back_where_its_feed_forward_does_not_divide_and_raises_attn_v() -> None:
    model = config(*SIZES["72B"])
    tensors = shapes(model, tied=False)
    kinds = assign(tensors, FileType.Q4_K_M, model.layers)
    down = [kind for tensor, kind in zip(tensors, kinds, strict=True) if "ffn_down" in tensor.name]
    values = [kind for tensor, kind in zip(tensors, kinds, strict=True) if "attn_v.weight" in tensor.name]
    assert (down.count(GGMLType.Q8_0), down.count(GGMLType.Q5_0)) == (40, 40)
    assert (values.count(GGMLType.Q6_K), values.count(GGMLType.Q5_K)) == (40, 40)
    total = sum(align(_nbytes(tensor, kind)) for tensor, kind in zip(tensors, kinds, strict=True))
    assert total == 47_409_725_440


def test_types_are_those_of_ggml() -> None:
    for kind in GGMLType:
        assert gguf.GGMLQuantizationType[kind.name] == kind
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind.name]] == BLOCKS[kind]
    for file_type in FileType:
        assert gguf.LlamaFileType[f"MOSTLY_{file_type.name}"] == file_type


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("importance", [True, False])
def test_same_recipe_as_llama_cpp(size: str, tied: bool, importance: bool, tmp_path: Path) -> None:
    _compare(config(*SIZES[size]), tmp_path / "source.gguf", tied=tied, importance=importance)


@pytest.mark.parametrize("size", MIXTURES)
@pytest.mark.parametrize("importance", [True, False])
def test_same_recipe_as_llama_cpp_with_experts(size: str, importance: bool, tmp_path: Path) -> None:
    shape, experts = MIXTURES[size]
    _compare(config(*shape, experts=experts), tmp_path / "source.gguf", tied=False, importance=importance)


def _compare(model: Config, source: Path, *, tied: bool, importance: bool) -> None:
    tensors = shapes(model, tied=tied)
    _write_sparse(source, model, tensors)
    experts = model.experts.count if model.experts else 0
    for file_type in FileType:
        found = assign(tensors, file_type, model.layers, experts=experts, importance=importance)
        expected = _dry_run(source, file_type, importance=importance)
        assert {tensor.name: kind for tensor, kind in zip(tensors, found, strict=True)} == expected


def _nbytes(tensor: Shape, kind: GGMLType) -> int:
    rows = 1
    for size in tensor.dims[:-1]:
        rows *= size
    return rows * row_size(kind, tensor.dims[-1])


def _write_sparse(path: Path, model: Config, tensors: list[Shape]) -> None:
    """A GGUF in float32 with the right header and a hole for data: llama.cpp's dry run reads no weights."""
    metadata = Metadata()
    metadata.string("general.architecture", model.architecture)
    keys.model(metadata, model)
    infos, offset = [], 0
    for tensor in tensors:
        infos.append(TensorInfo(tensor.name, tensor.dims, GGMLType.F32, offset))
        offset += align(_nbytes(tensor, GGMLType.F32))
    header = encode_header(metadata, infos)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + offset)


def _dry_run(source: Path, file_type: FileType, *, importance: bool) -> dict[str, GGMLType]:
    """What llama.cpp's quantizer says that it would do, read from its log."""
    lines: list[str] = []
    log = llama_cpp.llama_log_callback(lambda level, text, user_data: lines.append(text.decode()))
    llama_cpp.llama_log_set(log, ctypes.c_void_p(0))
    try:
        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype = int(file_type)
        parameters.dry_run = True
        end = llama_cpp.llama_model_imatrix_data()
        if importance:
            # One that names no tensor counts as given, and a dry run looks at no values.
            parameters.imatrix = ctypes.pointer(end)
        status = llama_cpp.llama_model_quantize(str(source).encode(), b"unused", ctypes.byref(parameters))
        assert status == 0
    finally:
        silence()
    kinds = {}
    pattern = r"\[ *\d+/ *\d+\] (\S+) +- \[[^]]*\], type = +(\w+), size = [^\n]*?(?:\((\w+)\))?\n"
    for name, old, new in re.findall(pattern, "".join(lines)):
        kinds[name] = GGMLType[(new or old).upper()]
    return kinds
