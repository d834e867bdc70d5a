"""Going on after an interruption, with the same source only; and removing the source on the way."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from converters import resources
from converters.checkpoint import SINGLE
from converters.convert import Progress, convert
from converters.errors import CheckpointError, ConversionError, ResumableError
from converters.journal import read_journal
from converters.source import LocalWeights
from converters.writer import journal_path, part_path
from tests.fixtures.tiny import tiny_checkpoint

SHARD = "model-00001-of-00003.safetensors"


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny checkpoint, cut into a few hundred slabs that are committed one by one."""
    monkeypatch.setattr("converters.slabs.SLAB_WEIGHTS", 640)
    monkeypatch.setattr("converters.journal.LIMIT", 1)
    return tiny_checkpoint(tmp_path / "Tiny-Instruct", shards=3)


@pytest.fixture
def expected(checkpoint: Path, tmp_path: Path) -> bytes:
    """What an undisturbed conversion gives."""
    convert(checkpoint, tmp_path / "expected.gguf")
    return (tmp_path / "expected.gguf").read_bytes()


def stop_at(share: float) -> Callable[[Progress], None]:
    """Ctrl-C after that share of the work."""

    def show(step: Progress) -> None:
        if step.done >= share * step.total:
            raise KeyboardInterrupt

    return show


def interrupted(checkpoint: Path, out: Path, share: float = 0.5, *, delete_shards: bool = False) -> None:
    """A conversion that was stopped in its middle."""
    with pytest.raises(KeyboardInterrupt):
        convert(checkpoint, out, on_progress=stop_at(share), delete_shards=delete_shards)
    assert part_path(out).exists()
    assert not out.exists()


def test_goes_on_where_it_stopped_again_and_again(checkpoint: Path, expected: bytes, tmp_path: Path) -> None:
    out = tmp_path / "x.gguf"
    for share in (0.2, 0.5, 0.9):
        interrupted(checkpoint, out, share)
    steps: list[Progress] = []
    notes: list[str] = []
    convert(checkpoint, out, on_progress=steps.append, on_note=notes.append)
    assert steps[0].done >= 0.9 * steps[0].total
    assert out.read_bytes() == expected
    assert not about_resuming(notes)
    assert [path.name for path in tmp_path.glob("x.gguf*")] == ["x.gguf"]


def about_resuming(notes: list[str]) -> list[str]:
    """Without what every conversion of this checkpoint says about its feed-forward width."""
    return [note for note in notes if not note.startswith("The feed-forward width")]


def test_other_threads_may_go_on(checkpoint: Path, expected: bytes, tmp_path: Path) -> None:
    out = tmp_path / "x.gguf"
    with pytest.raises(KeyboardInterrupt):
        convert(checkpoint, out, threads=1, on_progress=stop_at(0.3))
    convert(checkpoint, out, threads=7)
    assert out.read_bytes() == expected


def another_time(checkpoint: Path) -> None:
    """The same bytes, written later."""
    os.utime(checkpoint / SHARD, (1, 1))


def another_tokenizer(checkpoint: Path) -> None:
    """Metadata that changed while all sizes stayed."""
    path = checkpoint / "config.json"
    path.write_text(path.read_text().replace("1e-06", "2e-06"))


@pytest.mark.parametrize("change", [another_time, another_tokenizer])
def test_changed_source_is_not_continued(change: Callable[[Path], None], checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.gguf"
    interrupted(checkpoint, out)
    change(checkpoint)
    steps: list[Progress] = []
    notes: list[str] = []
    convert(checkpoint, out, on_progress=steps.append, on_note=notes.append)
    assert len(about_resuming(notes)) == 1
    assert "another conversion" in about_resuming(notes)[0]
    assert steps[0].tensor
    convert(checkpoint, tmp_path / "fresh.gguf")
    assert out.read_bytes() == (tmp_path / "fresh.gguf").read_bytes()


def test_another_type_starts_over(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.gguf"
    interrupted(checkpoint, out)
    notes: list[str] = []
    convert(checkpoint, out, type="F16", on_note=notes.append)
    convert(checkpoint, tmp_path / "fresh.gguf", type="F16")
    assert "starting over" in about_resuming(notes)[0]
    assert out.read_bytes() == (tmp_path / "fresh.gguf").read_bytes()


def test_part_without_journal_and_journal_without_part(checkpoint: Path, expected: bytes, tmp_path: Path) -> None:
    for lost in (part_path, journal_path):
        out = tmp_path / "x.gguf"
        interrupted(checkpoint, out)
        lost(out).unlink()
        convert(checkpoint, out)
        assert out.read_bytes() == expected
        out.unlink()


def test_hopeless_failure_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    path = checkpoint / "model-00003-of-00003.safetensors"
    data = np.frombuffer(path.read_bytes(), np.uint16).copy()
    data[-1] = 0x7FC0  # NaN
    path.write_bytes(data.tobytes())
    with pytest.raises(CheckpointError, match="nan"):
        convert(checkpoint, tmp_path / "x.gguf")
    assert not list(tmp_path.glob("x.gguf*"))


def test_full_disk_in_the_middle_keeps_what_is_done(
    checkpoint: Path, expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real, left = tmp_path / "x.gguf", os.pwrite, 150

    def filling(fd: int, data: bytes, offset: int) -> int:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", filling)
    with pytest.raises(ResumableError, match=r"No space left.*same command goes on"):
        convert(checkpoint, out, threads=1)
    monkeypatch.setattr(os, "pwrite", real)
    steps: list[Progress] = []
    convert(checkpoint, out, on_progress=steps.append)
    assert steps[0].done > 0
    assert steps[0].tensor == ""
    assert out.read_bytes() == expected


def test_only_the_remainder_needs_room(
    checkpoint: Path, expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "x.gguf"
    interrupted(checkpoint, out, 0.9)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=len(expected) // 2))
    convert(checkpoint, out)
    assert out.read_bytes() == expected


def test_no_room_for_the_remainder_keeps_what_is_done(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "x.gguf"
    interrupted(checkpoint, out, 0.2)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(ConversionError, match=r"0\.00 GB free"):
        convert(checkpoint, out)
    state = read_journal(journal_path(out))
    assert state is not None
    assert state.done


def test_source_that_changes_while_it_is_read(checkpoint: Path, tmp_path: Path) -> None:
    def touch(step: Progress) -> None:
        os.utime(checkpoint / SHARD, (step.done, step.done))

    with pytest.raises(CheckpointError, match=f"{SHARD} changed while it was read"):
        convert(checkpoint, tmp_path / "x.gguf", on_progress=touch)
    assert not list(tmp_path.glob("x.gguf*"))


def test_source_that_is_replaced_while_it_is_read(checkpoint: Path, tmp_path: Path) -> None:
    def replace(step: Progress) -> None:
        copy = checkpoint / "copy"
        copy.write_bytes((checkpoint / SHARD).read_bytes())
        copy.replace(checkpoint / SHARD)

    with pytest.raises(CheckpointError, match="changed while it was read"):
        convert(checkpoint, tmp_path / "x.gguf", on_progress=replace)


def test_too_little_memory_is_said_before_starting(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "available_memory", lambda: 230 << 20)
    with pytest.raises(ConversionError, match=r"64 threads need about .* MB of memory.*use --threads 4\."):
        convert(checkpoint, tmp_path / "x.gguf", threads=64)
    monkeypatch.setattr(resources, "available_memory", lambda: 1 << 20)
    with pytest.raises(ConversionError, match="close other programs"):
        convert(checkpoint, tmp_path / "x.gguf", threads=1)
    assert not list(tmp_path.glob("x.gguf*"))


def test_available_memory_is_some_of_this_machine() -> None:
    memory = resources.available_memory()
    assert memory is not None
    assert 0 < memory <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class TestDeleteShards:
    """The source goes as it is consumed, and never before it is safe."""

    def test_all_are_gone_in_the_end(self, checkpoint: Path, expected: bytes, tmp_path: Path) -> None:
        out = tmp_path / "x.gguf"
        left: list[int] = []

        def count(step: Progress) -> None:
            left.append(len(list(checkpoint.glob("*.safetensors"))))

        convert(checkpoint, out, delete_shards=True, on_progress=count)
        assert out.read_bytes() == expected
        assert sorted(set(left), reverse=True)[:2] == [3, 2], "they should go on the way, not at the end"
        assert not list(checkpoint.glob("*.safetensors"))
        assert (checkpoint / "config.json").exists()

    def test_interrupted_and_continued(self, checkpoint: Path, expected: bytes, tmp_path: Path) -> None:
        out = tmp_path / "x.gguf"
        interrupted(checkpoint, out, 0.75, delete_shards=True)
        gone = {SHARD} - {path.name for path in checkpoint.iterdir()}
        assert gone == {SHARD}
        convert(checkpoint, out, delete_shards=True)
        assert out.read_bytes() == expected

    def test_what_is_left_of_removed_shards_is_never_dropped(self, checkpoint: Path, tmp_path: Path) -> None:
        out = tmp_path / "x.gguf"
        interrupted(checkpoint, out, 0.75, delete_shards=True)
        kept = part_path(out).read_bytes()
        with pytest.raises(ConversionError, match="source files that it has removed"):
            convert(checkpoint, out, type="F16")
        assert part_path(out).read_bytes() == kept
        (checkpoint / "model-00003-of-00003.safetensors").write_bytes(b"")
        with pytest.raises(CheckpointError):
            convert(checkpoint, out)
        assert part_path(out).read_bytes() == kept

    def test_links_are_refused(self, checkpoint: Path, tmp_path: Path) -> None:
        (checkpoint / SHARD).rename(tmp_path / "blob")
        (checkpoint / SHARD).symlink_to(tmp_path / "blob")
        with pytest.raises(ConversionError, match="is a link"):
            convert(checkpoint, tmp_path / "x.gguf", delete_shards=True)
        assert (tmp_path / "blob").exists()
        assert not list(tmp_path.glob("x.gguf*"))


def test_removed_file_cannot_be_read_beyond_its_header(tmp_path: Path) -> None:
    from converters.source import Consumed

    weights = LocalWeights(tmp_path, {SINGLE: Consumed(100, "i", b"header")})
    target = np.empty(6, np.uint8)
    weights.read(SINGLE, 0, target)
    assert target.tobytes() == b"header"
    assert weights.names() == [SINGLE]
    with pytest.raises(CheckpointError, match="removed by an earlier run"):
        weights.read(SINGLE, 3, target)
