"""How much memory there is."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from localqwen.engine.machine import NO_LIMIT

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
# Files of version 2 and of version 1: limit, use, and the line of memory.stat that says what of the use is file cache.
ACCOUNTS = (
    ("memory.max", "memory.current", ("inactive_file", "active_file")),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
)


def available_memory() -> int:
    """Bytes of RAM that a model may take: what the machine has free, or the container if that is less."""
    free = int(psutil.virtual_memory().available)
    return min([free, *(room for group in own_cgroups() if (room := cgroup_room(group)) is not None)])


def memory_limit() -> int:
    """The most bytes of RAM that this process's control groups allow; a number beyond any machine without a limit."""
    limits = [NO_LIMIT]
    for group in own_cgroups():
        for name, _, _ in ACCOUNTS:
            try:
                limits.append(int((group / name).read_text()))
            except (OSError, ValueError):
                continue
    return min(limits)


def physical_cores() -> int:
    """Cores this process may use. Hyper-threads share a core's arithmetic units, so they do not count."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or allowed, allowed))


def own_cgroups(listing: Path = OWN_CGROUP, root: Path = CGROUPS) -> list[Path]:
    """The folders of this process's memory control groups and of all groups above them, which limit it too."""
    try:
        lines = listing.read_text().splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "memory" if controllers else root
        # In a container the listing may name a folder that only the host sees; its own is then the top one.
        group = top / name.strip("/")
        folders += [folder for folder in (group, *group.parents) if folder.is_relative_to(top) and folder.is_dir()]
    return folders


def cgroup_room(group: Path) -> int | None:
    """Bytes that a control group may still take, or ``None`` if it sets no limit.

    The kernel drops file cache to make room, and that is where memory-mapped weights lie, so it counts as free.
    """
    for limit_name, use_name, cache_names in ACCOUNTS:
        try:
            limit = int((group / limit_name).read_text())  # "max" is no number: no limit
            use = int((group / use_name).read_text())
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        return max(0, limit - use + sum(int(stat.get(name, 0)) for name in cache_names))
    return None
