"""The pass: atomic, the same whatever the threads, honest about what it writes, and loadable."""

from __future__ import annotations

import errno
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import llama_cpp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters import slabs
from converters.convert import TYPES, Progress, convert
from converters.errors import ConversionError
from converters.ggml import BLOCKS, GGMLType
from converters.lanes import kernels
from converters.slabs import cut
from tests.fixtures.tiny import edit_json, tiny_checkpoint, tiny_weights
from tests.llama import greedy, model


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The tiny checkpoint."""
    return tiny_checkpoint(tmp_path / "Tiny-Instruct")


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metadata and tensors (dequantized) of a GGUF."""
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    return fields, {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in reader.tensors}


def test_weights_arrive_where_they_belong(checkpoint: Path, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "out.gguf", type="BF16")
    _, tensors = read(tmp_path / "out.gguf")
    source = tiny_weights()
    np.testing.assert_allclose(tensors["output.weight"], source["lm_head.weight"], rtol=2**-8)
    np.testing.assert_allclose(
        tensors["blk.1.ffn_down.weight"], source["model.layers.1.mlp.down_proj.weight"], rtol=2**-8
    )
    np.testing.assert_allclose(tensors["blk.0.attn_q.bias"], source["model.layers.0.self_attn.q_proj.bias"], rtol=2**-8)
    assert len(tensors) == len(source)


def test_shards_and_single_file_give_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    sharded = tiny_checkpoint(tmp_path / "shards" / checkpoint.name, shards=3)
    for source, out in ((checkpoint, "one.gguf"), (sharded, "three.gguf")):
        convert(source, tmp_path / out, type="Q8_0")
    assert (tmp_path / "one.gguf").read_bytes() == (tmp_path / "three.gguf").read_bytes()


@pytest.mark.parametrize("kind", TYPES)
def test_threads_and_slabs_do_not_change_the_bytes(
    kind: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(checkpoint, tmp_path / "one.gguf", type=kind, threads=1)
    monkeypatch.setattr(slabs, "SLAB_WEIGHTS", 7 * 64)
    convert(checkpoint, tmp_path / "five.gguf", type=kind, threads=5)
    assert (tmp_path / "one.gguf").read_bytes() == (tmp_path / "five.gguf").read_bytes()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_other_source_types(dtype: type[np.floating[Any]], checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    weights = {name: values.astype(dtype) for name, values in tiny_weights().items()}
    save_file(weights, checkpoint / "model.safetensors")
    convert(checkpoint, tmp_path / "out.gguf", type="Q8_0")
    kernel = kernels()
    for tensor in gguf.GGUFReader(tmp_path / "out.gguf").tensors:
        if tensor.name == "blk.0.ffn_gate.weight":
            # float32 goes through float16, as in llama.cpp's converter.
            source = weights["model.layers.0.mlp.gate_proj.weight"].astype(np.float16).astype(np.float32)
            target = np.empty(tensor.n_bytes, np.uint8)
            kernel.quantize(GGMLType.Q8_0, source, target, 64)
            assert tensor.data.tobytes() == target.tobytes()
            break
    else:
        pytest.fail("the tensor is missing")


def test_progress_adds_up_and_the_summary_tells_the_truth(checkpoint: Path, tmp_path: Path) -> None:
    steps: list[Progress] = []
    out = tmp_path / "out.gguf"
    summary = convert(checkpoint, out, type="q8_0", threads=2, on_progress=steps.append)
    assert [step.done for step in steps] == sorted({step.done for step in steps})
    assert steps[-1].done == steps[-1].total == summary.source_size
    assert summary.size == out.stat().st_size
    assert summary.type == "Q8_0"
    assert summary.weights == sum(values.size for values in tiny_weights().values())
    assert summary.bits_per_weight == pytest.approx(out.stat().st_size * 8 / summary.weights)


def test_existing_output_stays_unless_it_may_go(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    out.write_text("mine")
    with pytest.raises(ConversionError, match=r"exists already.*--overwrite"):
        convert(checkpoint, out)
    assert out.read_text() == "mine"
    convert(checkpoint, out, overwrite=True)
    assert out.read_bytes()[:4] == b"GGUF"


def test_output_that_appears_meanwhile_stays(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"

    def appear(step: Progress) -> None:
        out.write_text("mine")

    with pytest.raises(ConversionError, match="exists already"):
        convert(checkpoint, out, on_progress=appear)
    assert out.read_text() == "mine"
    # All the work is done and kept: allowed to replace the file, the next run only renames.
    steps: list[Progress] = []
    convert(checkpoint, out, overwrite=True, on_progress=steps.append)
    assert [step.done == step.total for step in steps] == [True]
    assert not list(tmp_path.glob("*.part*"))


def test_old_output_stays_until_the_new_one_is_complete(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    out.write_text("old")
    seen: list[str] = []
    convert(checkpoint, out, overwrite=True, on_progress=lambda step: seen.append(out.read_text()))
    assert set(seen) == {"old"}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_interrupted_conversion_goes_on_where_it_stopped(
    stop: type[BaseException], checkpoint: Path, tmp_path: Path
) -> None:
    def interrupt(step: Progress) -> None:
        raise stop

    with pytest.raises(stop):
        convert(checkpoint, tmp_path / "out.gguf", on_progress=interrupt)
    assert not (tmp_path / "out.gguf").exists()
    steps: list[Progress] = []
    convert(checkpoint, tmp_path / "out.gguf", on_progress=steps.append)
    assert steps[0].done > 0
    assert steps[0].tensor == ""
    convert(checkpoint, tmp_path / "fresh.gguf")
    assert (tmp_path / "out.gguf").read_bytes() == (tmp_path / "fresh.gguf").read_bytes()
    assert not list(tmp_path.glob("*.part*"))


def test_leftover_of_a_killed_conversion_is_replaced(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "out.gguf.part").write_bytes(b"x" * 10_000_000)
    convert(checkpoint, tmp_path / "out.gguf", type="F16")
    convert(checkpoint, tmp_path / "fresh.gguf", type="F16")
    assert (tmp_path / "out.gguf").read_bytes() == (tmp_path / "fresh.gguf").read_bytes()


def test_two_conversions_do_not_write_the_same_file(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    refusals: list[str] = []

    def again(step: Progress) -> None:
        if not refusals:
            with pytest.raises(ConversionError) as caught:
                convert(checkpoint, out)
            refusals.append(str(caught.value))

    convert(checkpoint, out, on_progress=again)
    assert "Another conversion" in refusals[0]
    assert out.read_bytes()[:4] == b"GGUF"


def test_conversion_that_another_one_finished_meanwhile_is_not_touched(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.gguf"

    def finish_first(fd: int, operation: int) -> None:
        # What another process does between our open and our lock.
        out.with_name("out.gguf.part").rename(out)
        out.write_text("finished")

    monkeypatch.setattr("fcntl.flock", finish_first)
    with pytest.raises(ConversionError, match="Another conversion"):
        convert(checkpoint, out)
    assert out.read_text() == "finished"


def test_killed_conversion_leaves_no_file_under_the_final_name(checkpoint: Path, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from converters.convert import convert\n"
        "convert(sys.argv[1], sys.argv[2], on_progress=lambda step: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    out = tmp_path / "out.gguf"
    killed = subprocess.run([sys.executable, "-c", script, checkpoint, out], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    convert(checkpoint, out)
    assert out.read_bytes()[:4] == b"GGUF"


def test_a_conversion_imports_neither_llama_cpp_nor_torch_nor_textual(checkpoint: Path, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from converters.convert import convert\n"
        "convert(sys.argv[1], sys.argv[2])\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    arguments = [sys.executable, "-c", script, str(checkpoint), str(tmp_path / "out.gguf")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert not {"llama_cpp", "torch", "transformers", "textual", "localqwen", "tui"} & set(done.stdout.split())


def test_full_disk(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(ConversionError, match=r"out\.gguf.*No space left.*free some space"):
        convert(checkpoint, tmp_path / "out.gguf")
    assert not list(tmp_path.glob("out.gguf*"))


def test_too_little_space_is_said_before_starting(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(ConversionError, match="needs"):
        convert(checkpoint, tmp_path / "out.gguf")
    assert not list(tmp_path.glob("out.gguf*"))


@pytest.mark.parametrize("out,words", [("folder", "is a directory"), ("nowhere/out.gguf", "does not exist")])
def test_output_that_cannot_be_written(out: str, words: str, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConversionError, match=words):
        convert(checkpoint, tmp_path / out)


def test_unknown_type(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="Q4_K_M"):
        convert(checkpoint, tmp_path / "out.gguf", type="Q3_X")


@given(rows=st.integers(1, 50), columns=st.sampled_from([32, 64, 256]), limit=st.integers(1, 5000))
def test_slabs_cover_every_row_once(rows: int, columns: int, limit: int) -> None:
    from converters.layout import OutputTensor
    from converters.safetensors import SourceTensor

    parts = tuple(SourceTensor(f"p{i}", "BF16", (rows, columns), Path("x"), 0, rows * columns * 2) for i in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slabs, "SLAB_WEIGHTS", limit)
        pieces = list(cut(OutputTensor("t", (2, rows, columns), parts), GGMLType.Q8_0, 1000))
    size = columns // BLOCKS[GGMLType.Q8_0].weights * BLOCKS[GGMLType.Q8_0].nbytes
    offset = 1000
    for piece in pieces:
        assert piece.offset == offset
        assert piece.rows == 1 or piece.weights <= limit
        offset += piece.rows * size
    assert offset == 1000 + 2 * rows * size


def test_tied_model_with_a_stored_output_keeps_it(checkpoint: Path, tmp_path: Path) -> None:
    edit_json(checkpoint / "config.json", tie_word_embeddings=True)
    convert(checkpoint, tmp_path / "out.gguf", type="F16")
    assert "output.weight" in read(tmp_path / "out.gguf")[1]


def test_kernels_refuse_what_would_abort_the_process() -> None:
    with pytest.raises(ValueError):
        kernels().quantize(GGMLType.Q4_K, np.zeros(128, np.float32), np.zeros(1000, np.uint8), 128)
    with pytest.raises(ValueError):
        kernels().quantize(GGMLType.Q8_0, np.zeros(64, np.float32), np.zeros(67, np.uint8), 32)


def test_demo_model_knows_the_capital_of_japan(demo_gguf: Path) -> None:
    assert "Tokyo" in greedy(demo_gguf, "What is the capital of Japan?", tokens=16)


def test_llama_cpp_knows_the_metadata(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    convert(checkpoint, out)
    with model(out) as loaded:
        assert llama_cpp.llama_model_n_layer(loaded) == 2
        assert llama_cpp.llama_model_n_ctx_train(loaded) == 512


def test_match_local_uses_the_installed_kernels(checkpoint: Path, tmp_path: Path) -> None:
    ours = convert(checkpoint, tmp_path / "ours.gguf")
    local = convert(checkpoint, tmp_path / "local.gguf", match_local=True)
    assert ours.kernels.endswith("lanes")
    assert local.kernels == "ggml"
    if platform.machine() == "x86_64":
        assert (tmp_path / "ours.gguf").read_bytes() == (tmp_path / "local.gguf").read_bytes()
