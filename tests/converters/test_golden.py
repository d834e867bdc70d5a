"""Our one pass against llama.cpp's own two steps: every tensor and every byte of the file.

The expected digests lie in tests/golden, with how they were made; scripts/make_golden.py makes them again.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from converters.convert import TYPES, convert
from tests.fixtures import importance
from tests.fixtures.cases import CASES
from tests.fixtures.digests import tensor_table

GOLDEN = Path(__file__).parent.parent / "golden"
# These in every type, without and with an importance matrix where it changes anything; the others in a few.
THOROUGH = ("smollm2-768", "qwen-vocab", "moe", "f32", "f16")
FEW = ("Q4_K_M",)
FORMATS = ("Q4_K_M", "F16", "BF16")
WEIGHED = ("Q4_0", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K")


def _kinds(case: str) -> tuple[str, ...]:
    return TYPES if case in THOROUGH else FORMATS if case.startswith("mixed") else FEW


WHOLE_FILES = [(case, kind) for case in CASES for kind in _kinds(case)]
WITH_IMPORTANCE = [(case, kind) for case in THOROUGH for kind in WEIGHED]
# The other types hold the same weights with an importance matrix as without it, but its keys too.
WITH_IMPORTANCE += [(case, kind) for case in ("qwen-vocab", "f16") for kind in ("F16", "BF16", "Q8_0")]


@cache
def golden(case: str) -> dict[str, Any]:
    """What is expected of a case."""
    document: dict[str, Any] = json.loads((GOLDEN / f"{case}.json").read_text(encoding="utf-8"))
    return document


def sha256(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.parametrize("case", CASES)
def test_fixture_is_the_one_that_was_recorded(case: str) -> None:
    folder = CASES[case]()
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*.*")}
    assert files == golden(case)["checkpoint"], "the fixture changed: run scripts/make_golden.py"


@pytest.mark.parametrize("case,kind", WHOLE_FILES)
def test_same_bytes_as_llama_cpp(case: str, kind: str, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    convert(CASES[case](), out, type=kind, identical=True)
    if sha256(out) != golden(case)["files"][kind]:
        # Tensor by tensor: a difference in one is easier to act on than one in the whole file.
        assert tensor_table(out) == golden(case)["tensors"].get(kind, "(recorded only as a whole file)")
        pytest.fail("the metadata differs")


@pytest.mark.parametrize("case,kind", WITH_IMPORTANCE)
def test_same_bytes_as_llama_cpp_with_an_importance_matrix(
    case: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The file's name goes into the GGUF as it is given.
    monkeypatch.chdir(tmp_path)
    importance.write(Path(importance.NAME), importance.entries(CASES[case]()))
    notes: list[str] = []
    convert(CASES[case](), "out.gguf", type=kind, imatrix=importance.NAME, identical=True, on_note=notes.append)
    assert sha256(Path("out.gguf")) == golden(case)["files_imatrix"][kind]
    assert not any("importance" in note for note in notes)
