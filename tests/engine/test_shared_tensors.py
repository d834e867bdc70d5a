"""Cards that share every tensor: two workers hold what was planned, to the byte, and answer."""

from __future__ import annotations

import re
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localqwen.engine.slices import Slices
from tests.fixtures.build import converter_sources, smollm2_768_checkpoint
from tests.fixtures.cache import cached
from tests.server.test_workers import ask, served
from tests.server.workers import PLAIN, worker


def allocated(log: Path) -> list[int]:
    """Bytes of each buffer that a worker was asked for."""
    return [int(size) for size in re.findall(r"\[alloc_buffer\] device: 0, size: (\d+)", log.read_text())]


@pytest.fixture(scope="module")
def wide_gguf() -> Path:
    """The demo's weights in a shape with four KV heads, which two cards can share."""
    checkpoint = smollm2_768_checkpoint()

    def build(target: Path) -> None:
        from converters.convert import convert

        convert(checkpoint, target)

    return cached(
        "SmolLM2-135M-Instruct-768-Q4_K_M.gguf", [*converter_sources(), checkpoint / "model.safetensors"], build
    )


def test_two_workers_share_every_tensor_as_planned(
    wide_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = [tmp_path / f"worker{i}.log" for i in range(2)]
    monkeypatch.setenv("GGML_RPC_DEBUG", "1")
    with ExitStack() as stack:
        endpoints = [stack.enter_context(worker(log, program=PLAIN))[0] for log in logs]
        options = ("--rpc", ",".join(endpoints), "--split-mode", "tensor", "--ctx", "2048", "--ubatch", "128")
        with served(wide_gguf, tmp_path / "serve.log", *options) as url:
            plan = httpx.get(f"{url}/localqwen/plan").json()["plan"]
            assert plan["split_mode"] == "tensor"
            assert plan["exact"]
            answer = ask(url, "What is the capital of Japan?").json()["choices"][0]["message"]["content"]
            assert "Tokyo" in answer
    cards = plan["shares"][:-1]
    assert [share["layers"] + share["output"] for share in cards] == [16, 15]
    for share, log in zip(cards, logs, strict=True):
        sizes = allocated(log)
        assert share["weights"] in sizes
        assert share["kv"] in sizes
        assert share["compute"] in sizes


@given(st.integers(1, 4096), st.integers(1, 256), st.sampled_from([1, 32, 256]), st.integers(1, 8), st.integers(0, 99))
def test_parts_are_whole_and_make_one(length: int, group: int, block: int, cards: int, rotation: int) -> None:
    parts = Slices(1, length, group, block).parts(cards, rotation)
    assert len(parts) == cards
    assert sum(parts) == 1
    assert min(parts) >= 0


@pytest.mark.parametrize(
    ("slices", "cards", "expected"),
    [
        (Slices(1, 8192, 1024, 256), 2, ["1/2", "1/2"]),  # Qwen2-72B's attention: eight groups of heads
        (Slices(1, 8192, 1024, 256), 3, ["1/4", "3/8", "3/8"]),
        (Slices(1, 3584, 896, 256), 2, ["1/2", "1/2"]),  # 7B: a group is 3.5 blocks, so two stay together
        (Slices(1, 896, 448, 32), 2, ["0", "1"]),  # 0.5B: two groups and blocks of 128 have 896 in common
        (Slices(1, 29568, 128, 32), 2, ["115/231", "116/231"]),
    ],
)
def test_parts_are_llama_cpps(slices: Slices, cards: int, expected: list[str]) -> None:
    assert slices.parts(cards, 0) == [Fraction(part) for part in expected]
    assert slices.parts(cards, 1) == [Fraction(expected[-1]), *(Fraction(part) for part in expected[:-1])]
