"""What a table was measured on."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What is printed is kept there: it is no other program.
RESULTS = "benchmarks/results"


def description(*packages: str) -> str:
    """CPU, cores, memory, GPUs, Python, llama-cpp-python and other packages, and the commit: the head of a table."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", info, re.MULTILINE)
    sets = " and ".join(name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in info)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in ("llama-cpp-python", *packages))
    return (
        f"{model[1] if model else platform.processor()} ({sets or 'baseline'}), {os.cpu_count()} cores, "
        f"{memory:.0f} GiB, {_gpus()}Python {platform.python_version()}, {versions}{commit()}"
    )


def commit() -> str:
    """``, commit 1a2b3c4``, with a plus sign where files differ from it; nothing where git does not know."""
    if not shutil.which("git"):
        return ""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        return ""
    changed = [*git, "status", "--porcelain", "--", ".", f":(exclude){RESULTS}"]
    is_dirty = subprocess.run(changed, capture_output=True, text=True, check=False).stdout.strip()
    return f", commit {head.stdout.strip()}{'+' if is_dirty else ''}"


def _gpus() -> str:
    if not shutil.which("nvidia-smi"):
        return ""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    lines = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    return "".join(f"{line} driver, " for line in lines)
