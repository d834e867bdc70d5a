"""States on disk with the real demo model: bit for bit or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from llama_cpp import llama_get_logits_ith

from localqwen.engine.context import Batch, Context, ContextOptions
from localqwen.engine.model import Model
from localqwen.engine.rope import Rope
from localqwen.engine.states import Saved, SavedStates, model_digest

PLAIN = Rope(1.0, 8192)
IDENTITY = {"model": "a digest", "kv": ["f16", "f16"]}
GIB = 1 << 30


@pytest.fixture(scope="module")
def model(demo_gguf: Path) -> Iterator[Model]:
    with Model.load(demo_gguf) as loaded:
        yield loaded


@pytest.fixture
def context(model: Model) -> Iterator[Context]:
    context = Context(model, ContextOptions(1024, 2, PLAIN))
    yield context
    context.close()


@pytest.fixture(scope="module")
def tokens(model: Model) -> list[int]:
    return model.tokenize("A keeper of a lighthouse counts the ships that pass at night. " * 5)


def logits(context: Context, sequence: int, tokens: list[int], start: int) -> npt.NDArray[np.float32]:
    batch = Batch()
    row = batch.add(sequence, tokens, start, 1)
    context.decode(batch)
    pointer = llama_get_logits_ith(context.handle, row + len(tokens) - 1)
    result = np.ctypeslib.as_array(pointer, (context.model.vocabulary_size,)).copy()
    batch.close()
    return result


def states(folder: Path, limit: int = GIB) -> SavedStates:
    return SavedStates(folder, limit, IDENTITY)


def saved(folder: Path, context: Context, tokens: list[int]) -> Saved:
    logits(context, 0, tokens, 0)
    kept = states(folder)
    assert kept.save(context, 0, tokens, 1 << 20)
    state, length = states(folder).best(context.options.rope, [*tokens, 1])  # as a later process finds it
    assert state is not None
    assert length == len(tokens)
    return state


def test_restored_logits_are_the_same_bits(tmp_path: Path, context: Context, model: Model, tokens: list[int]) -> None:
    state = saved(tmp_path, context, tokens)
    expected = logits(context, 0, [7], len(tokens))
    other = Context(model, ContextOptions(2048, 2, PLAIN))
    assert states(tmp_path).restore(other, 3, state)
    assert other.length(3) == len(tokens)
    assert np.array_equal(logits(other, 3, [7], len(tokens)), expected)
    other.close()


def test_growing_keeps_the_bits(context: Context, tokens: list[int]) -> None:
    logits(context, 2, tokens, 0)
    expected = logits(context, 2, [7], len(tokens))
    context.truncate(2, len(tokens))
    context.grow(4096)
    assert context.options.size == 4096
    assert context.length(2) == len(tokens)
    assert np.array_equal(logits(context, 2, [7], len(tokens)), expected)


def test_another_scaling_another_model_and_other_tokens_are_not_found(
    tmp_path: Path, context: Context, tokens: list[int]
) -> None:
    saved(tmp_path, context, tokens)
    assert states(tmp_path).best(Rope(2.0, 8192), tokens) == (None, 0)
    assert SavedStates(tmp_path, GIB, {**IDENTITY, "model": "another"}).best(PLAIN, tokens) == (None, 0)
    assert states(tmp_path).best(PLAIN, [tokens[0] + 1, *tokens]) == (None, 0)
    assert states(tmp_path).best(PLAIN, [*tokens[:10], 1])[1] == 10


@pytest.mark.parametrize("place", [0, 30, 60, 200, 5000, -1])
def test_a_changed_byte_is_noticed(tmp_path: Path, context: Context, tokens: list[int], place: int) -> None:
    state = saved(tmp_path, context, tokens)
    data = bytearray(state.path.read_bytes())
    data[place] ^= 1
    state.path.write_bytes(data)
    assert not states(tmp_path).restore(context, 1, state)
    assert context.length(1) == 0
    assert not state.path.exists()


@pytest.mark.parametrize("length", [0, 5, 40, 300, -1000])
def test_a_cut_file_is_noticed(tmp_path: Path, context: Context, tokens: list[int], length: int) -> None:
    state = saved(tmp_path, context, tokens)
    state.path.write_bytes(state.path.read_bytes()[:length])
    later = states(tmp_path)
    found, _ = later.best(PLAIN, tokens)
    assert found is None or not later.restore(context, 1, found)
    assert context.length(1) == 0


def test_a_missing_file_is_no_failure(tmp_path: Path, context: Context, tokens: list[int]) -> None:
    state = saved(tmp_path, context, tokens)
    kept = states(tmp_path)
    state.path.unlink()
    assert not kept.restore(context, 1, state)


def test_the_oldest_files_go_first(tmp_path: Path, context: Context, tokens: list[int]) -> None:
    first = saved(tmp_path, context, [*tokens[:-1], 1])
    size = first.path.stat().st_size
    os.utime(first.path, (1, 1))
    foreign = tmp_path / "another-model.state"
    foreign.write_bytes(bytes(size))
    os.utime(foreign, (2, 2))
    context.truncate(0, 0)
    logits(context, 0, tokens, 0)
    kept = states(tmp_path, limit=2 * size + 4096)
    assert kept.save(context, 0, tokens, size)
    assert not first.path.exists()
    assert foreign.exists()
    assert kept.best(PLAIN, tokens)[1] == len(tokens)
    assert not kept.save(context, 0, [*tokens[:-1], 2], 3 * size)  # more than may ever be there
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * size + 4096


def test_what_is_on_disk_is_not_written_again(tmp_path: Path, context: Context, tokens: list[int]) -> None:
    state = saved(tmp_path, context, tokens)
    os.utime(state.path, (1, 1))
    kept = states(tmp_path)
    written = state.path.stat().st_ino
    for size in (len(tokens), len(tokens) - 10):
        assert kept.save(context, 0, tokens[:size], 1 << 20)
    assert state.path.stat().st_ino == written
    assert state.path.stat().st_mtime > 1  # it was used, and is not the next to go
    assert len(list(tmp_path.iterdir())) == 1


def test_a_longer_conversation_replaces_its_beginning(tmp_path: Path, context: Context, tokens: list[int]) -> None:
    short = saved(tmp_path, context, tokens)
    logits(context, 0, [5, 6], len(tokens))
    kept = states(tmp_path)
    assert kept.save(context, 0, [*tokens, 5, 6], 1 << 20)
    assert not short.path.exists()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_somebody_removed_is_written_again(tmp_path: Path, context: Context, tokens: list[int]) -> None:
    logits(context, 0, tokens, 0)
    kept = states(tmp_path)
    for _ in range(2):
        assert kept.save(context, 0, tokens, 1 << 20)
        state, length = kept.best(PLAIN, tokens)
        assert state is not None
        assert length == len(tokens)
        state.path.unlink()


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    dead = tmp_path / f"x.state.{child.pid}.part"
    mine = tmp_path / f"x.state.{os.getpid()}.part"
    for path in (dead, mine):
        path.write_bytes(b"half")
    states(tmp_path)
    assert not dead.exists()
    assert mine.exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, context: Context, tokens: list[int]) -> None:
    logits(context, 0, tokens, 0)
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    assert not states(blocked / "states").save(context, 0, tokens, 1 << 20)


def test_models_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(bytes(30 << 20))
    one = model_digest([path])
    with path.open("r+b") as file:
        file.seek((30 << 20) - 1)
        file.write(b"x")
    assert model_digest([path]) != one
