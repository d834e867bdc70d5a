"""``localqwen inspect`` as a person and as a script uses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from click.testing import CliRunner

from converters.convert import convert
from localqwen.cli.inspect import command
from localqwen.errors import LocalqwenError
from localqwen.inspection import CheckpointFacts, GGUFFacts, inspect
from tests.cli.test_convert import localqwen
from tests.fixtures import qwen_vocab_checkpoint, smollm2_checkpoint
from tests.fixtures.tiny import edit_json, tiny_checkpoint

EVIL = "evil\x1b[2J\x07\x9b31m\u202e"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The tiny checkpoint in two shards."""
    return tiny_checkpoint(tmp_path / "Tiny-Instruct", shards=2)


def shown(*arguments: str | Path) -> str:
    """What the command prints."""
    done = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def as_json(*arguments: str | Path) -> dict[str, Any]:
    """What the command prints with --json."""
    document: dict[str, Any] = json.loads(shown(*arguments, "--json"))
    return document


def test_an_installed_gguf_by_its_name(demo_home: Path) -> None:
    done = localqwen("inspect", "smollm2-135m-instruct-q4_k_m")
    assert done.returncode == 0, done.stderr
    assert "qwen2" in done.stdout
    assert "134.5 million weights" in done.stdout
    assert "tokenizer.ggml.tokens = 49152 str: " in done.stdout
    assert "<|im_start|>" in done.stdout.partition("chat template:")[2]


def test_a_gguf_in_json(demo_gguf: Path) -> None:
    facts = as_json(demo_gguf, "--tensors")
    reader = gguf.GGUFReader(demo_gguf)
    assert facts["tensors"] == len(reader.tensors) == len(facts["tensor_table"])
    assert facts["weights"] == sum(int(tensor.n_elements) for tensor in reader.tensors)
    assert facts["size"] == demo_gguf.stat().st_size
    assert facts["bits_per_weight"] == pytest.approx(facts["size"] * 8 / facts["weights"], abs=1e-4)
    for ours, theirs in zip(facts["tensor_table"], reader.tensors, strict=True):
        assert (ours["name"], ours["type"]) == (theirs.name, theirs.tensor_type.name)
        assert ours["bytes"] == theirs.n_bytes
    assert facts["metadata"]["tokenizer.ggml.tokens"]["count"] == 49152
    assert facts["problems"] == []


def test_window_and_yarn(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.gguf"
    convert(checkpoint, out, type="Q8_0", yarn=4)
    assert "window: 512 tokens, yarn by 4 from 512, to 2048 tokens" in shown(out)
    convert(checkpoint, out, type="Q8_0", overwrite=True)
    assert "window: 512 tokens, no YaRN" in shown(out)


def test_a_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    facts = as_json(checkpoint, "--tensors")
    convert(checkpoint, tmp_path / "x.gguf")
    assert facts["q4_k_m_size"] == (tmp_path / "x.gguf").stat().st_size
    assert facts["feed_forward_misaligned"] is True
    assert len(facts["shards"]) == 2
    assert facts["parameters"] == sum(np.prod(tensor["shape"]) for tensor in facts["tensor_table"])
    assert set(facts["types"]) == {"BF16"}
    text = shown(checkpoint, "--tensors")
    assert "feed-forward width: 96, no multiple of 256" in text
    assert "model.layers.1.mlp.down_proj.weight" in text
    assert "hidden_size = 64" in text


def test_an_aligned_checkpoint() -> None:
    facts = inspect(smollm2_checkpoint())
    assert isinstance(facts, CheckpointFacts)
    assert (facts.feed_forward, facts.misaligned) == (1536, False)


def test_one_file_of_a_checkpoint() -> None:
    folder = qwen_vocab_checkpoint()
    whole = inspect(folder)
    assert isinstance(whole, CheckpointFacts)
    parts = [inspect(path) for path in sorted(folder.glob("*.safetensors"))]
    assert sum(part.parameters for part in parts if isinstance(part, CheckpointFacts)) == whole.parameters


def test_checkpoints_that_cannot_be_converted_are_shown_with_the_reason(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", architectures=["GemmaForCausalLM"])
    assert "cannot be converted" in shown(checkpoint)
    assert as_json(checkpoint)["parameters"] > 0
    edit_json(checkpoint / "config.json", quantization_config={"quant_method": "gptq"})
    assert "already quantized (gptq)" in shown(checkpoint)


def test_a_file_that_is_cut_off_says_how_much_is_missing(demo_gguf: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.gguf"
    data = demo_gguf.read_bytes()
    short.write_bytes(data[:-2_000_000])
    done = localqwen("inspect", short)
    assert done.returncode == 1
    assert "2.0 MB are missing" in done.stderr
    assert "tensors: " in done.stdout


def test_overlaps_bad_offsets_and_unknown_types_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf")
    data = bytearray(path.read_bytes())
    at = data.rindex(b"second") + len(b"second") + 4 + 8
    data[at : at + 12] = (200).to_bytes(4, "little") + (16).to_bytes(8, "little")
    path.write_bytes(data)
    facts = inspect(path)
    assert isinstance(facts, GGUFFacts)
    assert any("overlaps" in problem for problem in facts.problems)
    assert any("alignment" in problem for problem in facts.problems)
    assert facts.tensors[1].type == "type 200"
    assert facts.tensors[1].nbytes is None


def write(path: Path, text: str = "plain") -> Path:
    """A small GGUF whose texts are ``text``."""
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_string(f"key {text}", f"value {text}")
    writer.add_array("list", [text, text])
    writer.add_chat_template(f"{{{{ {text} }}}}\nsecond line")
    writer.add_tensor(f"first {text}", np.ones(16, np.float32))
    writer.add_tensor("second", np.ones(16, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("options", [[], ["--tensors"], ["--json", "--tensors"]])
def test_no_control_character_of_a_file_reaches_the_terminal(options: list[str], tmp_path: Path) -> None:
    out = shown(write(tmp_path / "x.gguf", EVIL), *options)
    assert "evil" in out
    assert all(char.isprintable() or char == "\n" for char in out)


@pytest.mark.parametrize("options", [[], ["--tensors"], ["--json"]])
def test_no_control_character_of_a_checkpoint_reaches_the_terminal(options: list[str], checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", **{"architectures": [EVIL], f"key {EVIL}": [EVIL]})
    out = shown(checkpoint, *options)
    assert "evil" in out
    assert all(char.isprintable() or char == "\n" for char in out)


def test_long_configs_are_cut(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", **{f"key{i}": "x" * 10_000 for i in range(1000)})
    out = shown(checkpoint)
    assert len(out) < 50_000
    assert "more" in out.splitlines()[-1]


def test_failures_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"nonsense")
    for target in (tmp_path / "none", tmp_path / "x.gguf", tmp_path):
        done = CliRunner().invoke(command, [str(target)])
        assert isinstance(done.exception, LocalqwenError)
        assert len(str(done.exception).splitlines()) == 1
