"""The proof of the tokenizer: llama.cpp and tokenizer.json must agree on a text of many kinds."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from converters import proof
from converters.convert import Progress, convert
from converters.errors import CheckpointError
from converters.proof import TEXT, Proof, compare, expected_tokens
from tests import fixtures
from tests.fixtures.tiny import tiny_checkpoint


@pytest.fixture(autouse=True)
def unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what earlier tests have proven."""
    monkeypatch.setattr(proof, "_proven", set())


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The tiny checkpoint."""
    return tiny_checkpoint(tmp_path / "Tiny-Instruct")


def change(checkpoint: Path, **changes: Any) -> None:
    """Set keys of the model in tokenizer.json."""
    path = checkpoint / "tokenizer.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["model"] |= changes
    path.write_text(json.dumps(document), encoding="utf-8")


def test_text_is_plain_and_normalized_and_of_many_kinds() -> None:
    assert unicodedata.normalize("NFC", TEXT) == TEXT
    assert "<|" not in TEXT
    kinds = {unicodedata.category(char) for char in TEXT}
    assert {"Lu", "Ll", "Lo", "Mn", "Nd", "No", "Nl", "Po", "Sm", "So", "Zs", "Cc", "Cf"} <= kinds


def test_both_forms_of_qwens_tokenizer_mean_the_same() -> None:
    one, other = (expected_tokens(folder(), TEXT) for folder in (fixtures.moe_checkpoint, fixtures.parted_checkpoint))
    assert one == other
    assert len(one) > 250


def test_a_tokenizer_that_llama_cpp_reads_otherwise_stops_the_conversion(checkpoint: Path, tmp_path: Path) -> None:
    # tokenizer.json can say things that a GGUF cannot, such as to prefer whole words to merges.
    change(checkpoint, ignore_merges=True, vocab=_vocabulary(checkpoint) | {"def": 259})
    with pytest.raises(CheckpointError, match=r"other tokens of a test text .* \(from token 0 on\)"):
        convert(checkpoint, tmp_path / "out.gguf")
    assert not list(tmp_path.glob("out.gguf*"))


def _vocabulary(checkpoint: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    return found


def test_a_tokenizer_that_no_library_reads(checkpoint: Path, tmp_path: Path) -> None:
    change(checkpoint, merges=["a c"])
    with pytest.raises(CheckpointError, match=r"The tokenizer in .* cannot be used .*ac"):
        convert(checkpoint, tmp_path / "out.gguf")


def test_a_vocabulary_that_llama_cpp_cannot_load(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "none.gguf").write_bytes(b"GGUF")
    with (
        pytest.raises(CheckpointError, match=r"llama\.cpp cannot read the tokenizer"),
        Proof(tmp_path / "none.gguf", checkpoint, 264) as running,
    ):
        running.check(wait=True)


def test_the_same_vocabulary_is_proven_once(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(checkpoint, tmp_path / "one.gguf")
    monkeypatch.setattr(proof, "expected_tokens", lambda directory, text: [])
    convert(checkpoint, tmp_path / "two.gguf")
    change(checkpoint, dropout=None, unk_token=None, fuse_unk=True)
    with pytest.raises(CheckpointError, match="other tokens"):
        convert(checkpoint, tmp_path / "three.gguf")


def test_the_proof_ends_with_an_interrupted_pass(checkpoint: Path, tmp_path: Path) -> None:
    def stop(step: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(checkpoint, tmp_path / "out.gguf", on_progress=stop)
    convert(checkpoint, tmp_path / "out.gguf")


@pytest.mark.parametrize("found,place", [([], 0), ([1, 2], 2), ([1, 2, 3, 4], 3), ([1, 9, 3], 1)])
def test_the_first_difference_is_named(found: list[int], place: int) -> None:
    compare([1, 2, 3], [1, 2, 3], Path("x"))
    with pytest.raises(CheckpointError, match=rf"in x does \(from token {place} on\)"):
        compare(found, [1, 2, 3], Path("x"))
