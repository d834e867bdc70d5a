"""vocab.json with merges.txt, and template files: what transformers and llama.cpp's converter make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import pytest

from converters.convert import convert
from converters.errors import CheckpointError
from converters.tokenizer import TokenType
from converters.tokenizer_files import read_tokenizer
from tests.fixtures.tiny import edit_json, tiny_checkpoint, write_json
from tests.fixtures.variants import part_tokenizer

KINDS = {"[PAD256]": TokenType.UNUSED, "ab": TokenType.NORMAL}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The tiny checkpoint with vocab.json and merges.txt."""
    target = tiny_checkpoint(tmp_path / "Tiny-Instruct")
    part_tokenizer(target)
    return target


def fields(checkpoint: Path) -> dict[str, Any]:
    """Metadata of the converted checkpoint."""
    out = checkpoint.with_name("out.gguf")
    convert(checkpoint, out, "F16", overwrite=True)
    return {name: field.contents() for name, field in gguf.GGUFReader(out).fields.items()}


@pytest.mark.parametrize(
    "added,expected",
    [
        # As transformers 4.57 and 5.23 do: the token that Qwen2Tokenizer ends texts with is there in any case.
        (None, ["[PAD256]", "<|endoftext|>", "ab"]),
        ({"<|im_end|>": 257, "<|endoftext|>": 256}, ["<|endoftext|>", "<|im_end|>", "ab"]),
    ],
)
def test_added_tokens_without_settings(added: dict[str, int] | None, expected: list[str], checkpoint: Path) -> None:
    (checkpoint / "tokenizer_config.json").unlink()
    if added is not None:
        write_json(checkpoint / "added_tokens.json", added)
    found = fields(checkpoint)
    assert found["tokenizer.ggml.tokens"][256:259] == expected
    assert found["tokenizer.ggml.token_type"][256:259] == [KINDS.get(token, 3) for token in expected]
    assert found["tokenizer.ggml.pre"] == "qwen2"
    assert "tokenizer.ggml.add_bos_token" not in found


def test_lines_that_are_no_merges_are_passed_over(checkpoint: Path) -> None:
    (checkpoint / "merges.txt").write_text("#version\n\n#x\n  a   b \na b c\n", encoding="utf-8")
    assert read_tokenizer(checkpoint).merges == ["a b"]


def test_templates_in_files(checkpoint: Path) -> None:
    folder = checkpoint / "additional_chat_templates"
    folder.mkdir()
    (folder / "tool-use.jinja").write_text("T", encoding="utf-8")
    assert "tokenizer.chat_templates" not in fields(checkpoint)
    (checkpoint / "chat_template.jinja").write_text("D", encoding="utf-8")
    (folder / "rag.jinja").write_text("R", encoding="utf-8")
    found = fields(checkpoint)
    assert found["tokenizer.chat_templates"] == ["rag", "tool_use"]
    names = ("", ".rag", ".tool_use")
    assert [found[f"tokenizer.chat_template{name}"] for name in names] == ["D", "R", "T"]
    (folder / "rag.jinja").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match=r"rag\.jinja"):
        fields(checkpoint)
    edit_json(checkpoint / "tokenizer_config.json", chat_template="S")
    (folder / "rag.jinja").unlink()
    found = fields(checkpoint)
    assert found["tokenizer.chat_template"] == "S"
    assert "tokenizer.chat_templates" not in found


def test_what_is_missing_or_another_tokenizer(checkpoint: Path) -> None:
    edit_json(checkpoint / "tokenizer_config.json", tokenizer_class="GPT2Tokenizer")
    with pytest.raises(CheckpointError, match="names the tokenizer 'GPT2Tokenizer'"):
        fields(checkpoint)
    edit_json(checkpoint / "tokenizer_config.json", tokenizer_class="Qwen2Tokenizer")
    (checkpoint / "merges.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match=r"merges\.txt"):
        fields(checkpoint)
    (checkpoint / "merges.txt").unlink()
    with pytest.raises(CheckpointError, match=r"neither tokenizer\.json nor vocab\.json with merges\.txt"):
        fields(checkpoint)
