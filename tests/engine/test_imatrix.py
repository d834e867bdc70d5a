"""Importance matrices through the real llama.cpp: against llama-imatrix, and against what numpy computes."""

from __future__ import annotations

import ctypes
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
import pytest

from converters.imatrix_writer import write_imatrix
from localqwen.engine import nodes
from localqwen.engine.imatrix import CollectionStoppedError, Collector, Options, batch_size, collect, tokenize
from localqwen.engine.importance import Accumulator
from localqwen.engine.model import Model
from tests.fixtures.imatrix_cases import CASES, TEXT, Case, tiny_moe_gguf

GOLDEN = Path(__file__).parent.parent / "golden"


def load(path: Path) -> Model:
    """A model on the CPU."""
    return Model.load(path)


def measure(case: Case, on_chunk: Callable[[int], None] = lambda _: None) -> Accumulator:
    """Collect as a case says."""
    with load(case.model()) as model:
        tokens = tokenize(model, TEXT.read_text(encoding="utf-8").removesuffix("\n"))
        with Collector(model, Options(case.ctx, 2, case.process_output)) as collector:
            assert collect(collector, tokens, case.chunks, on_chunk) == case.chunks
            return collector.sums


def save(sums: Accumulator, path: Path, ctx: int) -> Path:
    """Write the sums as the golden's text was called."""
    entries = {name: (entry.values, entry.counts) for name, entry in sums.entries.items()}
    write_imatrix(path, entries, ["text.txt"], sums.chunks(ctx), ctx, overwrite=False)
    return path


def sha256(data: bytes) -> str:
    """Digest."""
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", CASES)
def test_same_as_llama_imatrix(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    golden: dict[str, Any] = json.loads((GOLDEN / f"imatrix-{name}.json").read_text(encoding="utf-8"))
    remake = "run scripts/make_imatrix_golden.py"
    assert sha256(case.model().read_bytes()) == golden["model"], f"the model changed: {remake}"
    assert sha256(TEXT.read_bytes()) == golden["text"], f"the text changed: {remake}"
    assert batch_size(case.ctx) == case.batch
    sums = measure(case)
    assert sorted(sums.entries) == sorted(golden["entries"])
    for entry, (_, total, counts) in golden["entries"].items():
        found = sums.entries[entry]
        # Other CPUs round elsewhere, which hardly shows in a sum; an expert's tokens may go to its neighbour.
        assert found.values.sum(dtype=np.float64) == pytest.approx(total, rel=0.02), entry
        np.testing.assert_allclose(found.counts, counts, atol=0 if len(counts) == 1 else 6, err_msg=entry)
    if (llama_cpp.__version__, llama_cpp.llama_print_system_info().decode()) != (golden["llama_cpp"], golden["cpu"]):
        return  # other kernels, other bits
    for entry, (digest, _, counts) in golden["entries"].items():
        assert sha256(sums.entries[entry].values.tobytes()) == digest, entry
        assert sums.entries[entry].counts.tolist() == counts
    assert sha256(save(sums, tmp_path / "x.gguf", case.ctx).read_bytes()) == golden["file"]


def test_the_first_layers_sums_are_those_of_numpy(demo_gguf: Path) -> None:
    """What goes into the first layer's projections depends on nothing but embedding and norm."""
    ctx = 64
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(demo_gguf).tensors[:20]}
    embedding = gguf.quants.dequantize(tensors["token_embd.weight"].data, tensors["token_embd.weight"].tensor_type)
    norm = np.array(tensors["blk.0.attn_norm.weight"].data)
    with load(demo_gguf) as model:
        tokens = tokenize(model, TEXT.read_text(encoding="utf-8"))[: 2 * ctx]
        eps = float(model.metadata("qwen2.attention.layer_norm_rms_epsilon") or 0)
        with Collector(model, Options(ctx, 2)) as collector:
            collect(collector, tokens, 2, lambda _: None)
            sums = collector.sums
    rows = embedding[tokens].astype(np.float64)
    rows *= norm / np.sqrt(np.square(rows).mean(axis=1, keepdims=True) + eps)
    expected = np.square(rows).sum(axis=0)
    for name in ("attn_q", "attn_k", "attn_v"):
        entry = sums.entries[f"blk.0.{name}.weight"]
        np.testing.assert_allclose(entry.values[0], expected, rtol=1e-4)
        assert entry.counts.tolist() == [2 * ctx]
    # All seven matrices of all layers, the last one's too.
    assert len(sums.entries) == 7 * 30


def test_experts_sums_add_up() -> None:
    sums = measure(CASES["experts"])
    routed = sums.entries["blk.1.ffn_gate_exps.weight"]
    dense = sums.entries["blk.1.ffn_gate_shexp.weight"]
    tokens = 128 * 5
    assert routed.values.shape == (6, 64)
    assert routed.counts.sum() == 2 * tokens
    assert dense.counts.tolist() == [tokens]
    # Every token goes to two of the experts and to the shared one, with the same row.
    np.testing.assert_allclose(routed.values.sum(axis=0), 2 * dense.values[0], rtol=1e-4)


def test_stopping_leaves_the_sums_of_the_finished_chunks() -> None:
    with load(tiny_moe_gguf()) as model, Collector(model, Options(128, 2)) as collector:
        tokens = tokenize(model, TEXT.read_text(encoding="utf-8"))
        collector.add(tokens[:128])
        before = collector.sums.copy()
        seen = 0
        original = collector._collect

        def stop_in_the_middle(node: nodes.Tensor) -> None:
            nonlocal seen
            original(node)
            seen += 1
            if seen == 7:
                collector.stop()

        collector._collect = stop_in_the_middle  # type: ignore[method-assign]
        with pytest.raises(CollectionStoppedError):
            collector.add(tokens[128:256])
        assert seen == 7
        for name, entry in collector.sums.entries.items():
            assert entry.values.tobytes() == before.entries[name].values.tobytes()
            assert entry.counts.tolist() == before.entries[name].counts.tolist()


def test_an_error_in_the_callback_comes_out_and_the_next_chunk_works() -> None:
    with load(tiny_moe_gguf()) as model, Collector(model, Options(128, 2)) as collector:
        tokens = tokenize(model, TEXT.read_text(encoding="utf-8"))
        original = collector._collect

        def fail(node: nodes.Tensor) -> None:
            raise MemoryError("as in life")

        collector._collect = fail  # type: ignore[method-assign]
        with pytest.raises(MemoryError, match="as in life"):
            collector.add(tokens[:128])
        assert not collector.sums.entries
        collector._collect = original  # type: ignore[method-assign]
        collector.add(tokens[:128])
        with Collector(model, Options(128, 2)) as fresh:
            fresh.add(tokens[:128])
            for name, entry in fresh.sums.entries.items():
                assert entry.values.tobytes() == collector.sums.entries[name].values.tobytes()


def test_threads_do_not_change_the_bits() -> None:
    results = []
    with load(tiny_moe_gguf()) as model:
        tokens = tokenize(model, TEXT.read_text(encoding="utf-8"))
        for threads in (1, 2, 5):
            with Collector(model, Options(128, threads)) as collector:
                collector.add(tokens[:128])
                results.append({name: entry.values.tobytes() for name, entry in collector.sums.entries.items()})
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("change", ["size", "order"])
def test_another_struct_is_noticed(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fields: list[Any] = list(nodes.Tensor._fields_)
    if change == "size":
        fields.append(("more", ctypes.c_int64))
    else:
        fields[2], fields[3] = fields[3], fields[2]  # ne and nb

    class Other(ctypes.Structure):
        pass

    source = next(i for i, field in enumerate(fields) if field[0] == "src")
    fields[source] = ("src", ctypes.POINTER(Other) * 10)
    Other._fields_ = fields
    monkeypatch.setattr(nodes, "Tensor", Other)
    with pytest.raises(nodes.NodesError, match="llama-cpp-python"):
        nodes.Nodes()


def test_names_of_copies_on_devices() -> None:
    for name, expected in {
        b"blk.0.attn_k.weight": "blk.0.attn_k.weight",
        b"CUDA0#blk.0.attn_k.weight#0": "blk.0.attn_k.weight",
        b"CUDA0#blk.0.attn_k.weight": "blk.0.attn_k.weight",
    }.items():
        assert nodes.weight_name(nodes.Tensor(name=name)) == expected
