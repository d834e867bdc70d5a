"""What a table was measured on."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import llama_cpp


def description() -> str:
    """CPU, cores, memory, GPUs, Python and llama-cpp-python, in one line for the head of a table."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", info, re.MULTILINE)
    sets = " and ".join(name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in info)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{model[1] if model else platform.processor()} ({sets or 'baseline'}), {os.cpu_count()} cores, "
        f"{memory:.0f} GiB, {_gpus()}Python {platform.python_version()}, llama-cpp-python {llama_cpp.__version__}"
    )


def _gpus() -> str:
    if not shutil.which("nvidia-smi"):
        return ""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    lines = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    return "".join(f"{line} driver, " for line in lines)
