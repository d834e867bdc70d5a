"""What is in a GGUF file, and files that are none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from converters.convert import convert
from localqwen.engine.model import LoadCancelledError, Model
from localqwen.errors import InvalidModelError
from tests import fixtures


@pytest.fixture(scope="module")
def demo(demo_gguf: Path) -> Model:
    return Model.open(demo_gguf)


def test_facts_of_the_demo(demo: Model) -> None:
    assert demo.architecture == "qwen2"
    assert demo.window.native == 8192
    assert demo.layers == 30
    assert demo.kv_width == 192
    assert "<|im_start|>" in demo.control_tokens
    assert demo.chat_template


@pytest.mark.parametrize(
    "text", ["", "Hello, world", "日本語 🙂", " " * 300, "-" * 300, "<|im_start|>system", "a\x00b"]
)
def test_plain_text_survives_tokenizing(demo: Model, text: str) -> None:
    tokens = demo.tokenize(text)
    assert b"".join(map(demo.piece, tokens)).decode() == text
    assert not set(tokens) & set(demo.control_tokens.values())


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Qwen2's real vocabulary with few weights."""
    out = tmp_path_factory.mktemp("qwen") / "qwen.gguf"
    convert(fixtures.qwen_vocab_checkpoint(), out, type="Q4_0")
    return Model.open(out)


def test_qwen2s_long_tokens_keep_their_bytes(qwen: Model) -> None:
    pieces = {token: qwen.piece(token) for token in range(qwen.vocabulary_size)}
    # Longer than llama_cpp's own buffer: rows of spaces, of dashes, of equals signs.
    long = [token for token, piece in pieces.items() if len(piece) > 32]
    assert len(long) == 240
    for token in long:
        assert b"".join(map(pieces.get, qwen.tokenize(pieces[token].decode()))) == pieces[token]  # type: ignore[arg-type]


@pytest.mark.parametrize("filling", [" ", "-", "=", "*", "─", "\n", " \n"])
def test_rules_and_indents_of_any_length_survive_qwen2s_tokens(qwen: Model, filling: str) -> None:
    for length in range(1, 200, 7):
        text = f"a{filling * length}b"
        assert b"".join(map(qwen.piece, qwen.tokenize(text))).decode() == text


def test_control_tokens_are_read_only_where_they_are_asked_for(demo: Model) -> None:
    start = demo.control_tokens["<|im_start|>"]
    assert demo.tokenize("<|im_start|>user", special=True)[0] == start
    assert start not in demo.tokenize("<|im_start|>user")
    assert demo.piece(start) == b""


def test_no_gguf(tmp_path: Path) -> None:
    path = tmp_path / "notes.gguf"
    path.write_text("Dear diary")
    with pytest.raises(InvalidModelError, match=r"notes\.gguf is no GGUF file: .*localqwen convert"):
        Model.open(path)


@pytest.mark.parametrize("size", [4, 100, 5_000_000])
def test_cut_off(tmp_path: Path, demo_gguf: Path, size: int) -> None:
    path = tmp_path / "cut.gguf"
    with demo_gguf.open("rb") as file:
        path.write_bytes(file.read(size))
    with pytest.raises(InvalidModelError, match=r"cut\.gguf .*again"):
        Model.open(path)


def test_unreadable(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="cannot be read"):
        Model.open(tmp_path / "missing.gguf")


def test_loading_can_be_cancelled(demo_gguf: Path) -> None:
    with pytest.raises(LoadCancelledError):
        Model.load(demo_gguf, on_progress=lambda progress: False)


def test_an_assertion_is_put_into_words(demo_gguf: Path) -> None:
    code = (
        "import sys, llama_cpp.llama_cpp as llama\n"
        "from pathlib import Path\n"
        "from localqwen.engine.context import Context, ContextOptions\n"
        "from localqwen.engine.model import Model\n"
        "from localqwen.engine.rope import Rope\n"
        "model = Model.load(Path(sys.argv[1]))\n"
        "context = Context(model, ContextOptions(256, 1, Rope(1.0, 8192)))\n"
        "llama.llama_memory_seq_rm(llama.llama_get_memory(context.handle), 100000, 0, -1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(demo_gguf)], capture_output=True, text=True, check=False)
    assert done.returncode == -6
    assert "localqwen: llama.cpp stopped on an internal check, " in done.stderr
    assert "GGML_ASSERT" in done.stderr
