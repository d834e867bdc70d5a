"""What this machine has left: asked before a long pass, not found out in its middle."""

from __future__ import annotations

import os
from pathlib import Path

from converters.errors import ConversionError

# The interpreter, numpy, and a vocabulary of 152k tokens with its merges.
BASE_BYTES = 160 << 20


def available_cpus() -> int:
    """CPUs that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def available_memory() -> int | None:
    """Bytes that can be used without swapping, the container's limit included; None where that is unknown."""
    found = [amount for amount in (_meminfo(), _cgroup()) if amount is not None]
    return min(found, default=None)


def check_memory(threads: int, thread_bytes: int, shared_bytes: int = 0) -> None:
    """Refuse to start what does not fit.

    Args:
        threads: worker threads.
        thread_bytes: scratch of each.
        shared_bytes: what all need together, such as read-ahead.

    Raises:
        ConversionError: with how many threads it would fit.
    """
    available = available_memory()
    needed = BASE_BYTES + shared_bytes + threads * thread_bytes
    if available is None or needed <= available:
        return
    fitting = (available - BASE_BYTES - shared_bytes) // thread_bytes
    advice = f"use --threads {fitting}" if fitting > 0 else "close other programs"
    raise ConversionError(
        f"{threads} threads need about {needed / 1e6:,.0f} MB of memory, and {available / 1e6:,.0f} MB are free: "
        f"{advice}."
    )


def _meminfo() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _cgroup() -> int | None:
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        # Cached file pages count as used there, but are given back on demand.
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        return None if limit == "max" else int(limit) - used + int(statistics.get("file", 0))
    except (OSError, ValueError):
        return None
