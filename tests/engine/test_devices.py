"""A container's memory limit counts as much as the machine's memory."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from localqwen.engine import devices
from localqwen.engine.devices import available_memory, cgroup_room, memory_limit, own_cgroups, physical_cores
from localqwen.engine.machine import NO_LIMIT


def account(folder: Path, limit: str, use: int, stat: str, names: tuple[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{use}\n")
    (folder / "memory.stat").write_text(stat)


def test_file_cache_counts_as_free_in_version_2(tmp_path: Path) -> None:
    account(tmp_path, "1000", 900, "anon 300\ninactive_file 500\nactive_file 100\n", ("memory.max", "memory.current"))
    assert cgroup_room(tmp_path) == 700


def test_file_cache_counts_as_free_in_version_1(tmp_path: Path) -> None:
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    account(tmp_path, "1000", 900, "total_inactive_file 500\ntotal_active_file 100\n", names)
    assert cgroup_room(tmp_path) == 700


def test_no_limit(tmp_path: Path) -> None:
    account(tmp_path, "max", 900, "anon 300\n", ("memory.max", "memory.current"))
    assert cgroup_room(tmp_path) is None
    assert cgroup_room(tmp_path / "missing") is None


def test_groups_above_limit_too(tmp_path: Path) -> None:
    listing = tmp_path / "cgroup"
    listing.write_text("9:name=systemd:/\n4:memory:/a/b\n0::/user/me\n")
    for folder in ("memory/a/b", "user/me"):
        (tmp_path / folder).mkdir(parents=True)
    found = {str(group.relative_to(tmp_path)) for group in own_cgroups(listing, tmp_path)}
    assert found == {"memory", "memory/a", "memory/a/b", ".", "user", "user/me"}


def test_the_tightest_of_machine_and_groups_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("memory.max", "memory.current")
    for name, limit in (("outer", "3000"), ("inner", "2000"), ("free", "max")):
        account(tmp_path / name, limit, 500, "inactive_file 100\n", names)
    groups = [tmp_path / name for name in ("inner", "outer", "free")]
    monkeypatch.setattr(devices, "own_cgroups", lambda: groups)
    assert available_memory() == 1600
    assert memory_limit() == 2000
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=700))
    assert available_memory() == 700
    monkeypatch.setattr(devices, "own_cgroups", lambda: groups[2:])
    assert memory_limit() == NO_LIMIT


def test_this_machine_has_memory_and_cores() -> None:
    assert available_memory() > 1 << 26
    assert physical_cores() >= 1
