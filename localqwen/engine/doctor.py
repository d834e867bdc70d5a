"""What may be wrong with an installation, and what to do about it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import llama_cpp

from localqwen import paths
from localqwen.engine import drivers, probe, registry
from localqwen.engine.devices import available_memory
from localqwen.engine.lost_cards import gone_cards
from localqwen.engine.native import FOLDER, REINSTALL
from localqwen.engine.notebook import Notebook

OLDEST_DRIVER = 525  # the first for CUDA 12, which llama.cpp's kernels are built with
OTHER_BACKENDS = {"AMD": {"ROCm", "Vulkan"}, "Intel": {"SYCL", "Vulkan"}}
LEAST_DISK = 1 << 30
ANSWER_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    good: bool
    text: str


def findings() -> Iterator[Finding]:
    """Look at everything, the most important first."""
    backends = registry.backends()
    yield Finding(True, f"llama-cpp-python {llama_cpp.__version__} with the backends {', '.join(backends)}.")
    handles = registry.handles()
    gpus = [handle for handle in handles if handle.kind in {"gpu", "igpu"}]
    cards = drivers.cards()
    yield from _nvidia(backends, [handle.name for handle in gpus if handle.backend == "CUDA"], "NVIDIA" in cards)
    yield from _other_cards(backends, cards)
    yield from (Finding(False, text) for text in gone_cards(Notebook(paths.planner_path()), handles))
    for handle in gpus:
        free, total = handle.memory()
        text = f"{handle.name}: {handle.description}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free."
        yield Finding(total > 0, text if total else f"{handle.name} does not tell its memory: update its driver.")
    if not gpus:
        yield Finding(True, "llama.cpp sees no GPU: models run on the CPU.")
    exact = probe.is_available()
    yield Finding(exact, "Plans are counted by llama.cpp." if exact else f"libllama-common is missing: {REINSTALL}.")
    rpc = "RPC" in backends
    yield Finding(rpc, "Other machines' devices can be used." if rpc else f"The RPC backend is missing: {REINSTALL}.")
    yield Finding(True, f"{available_memory() / 1e9:.1f} GB of memory are available.")
    folder = paths.models_dir()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    yield Finding(free > LEAST_DISK, f"{free / 1e9:.1f} GB are free where models are kept, {paths.models_dir()}.")


def _nvidia(backends: list[str], seen: list[str], is_there: bool) -> Iterator[Finding]:
    """What the NVIDIA driver says against what llama.cpp sees, and the bus, where a card may be without a driver."""
    if not shutil.which("nvidia-smi"):
        if is_there and not seen:
            yield Finding(
                False,
                f"There is an NVIDIA card without its driver (nvidia-smi is missing): install NVIDIA's driver "
                f"{OLDEST_DRIVER} or newer and the CUDA toolkit (nvcc), then {REINSTALL}.",
            )
        return
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        yield Finding(False, f"nvidia-smi does not answer within {ANSWER_SECONDS} s: a card may be gone; restart.")
        return
    lines = [line for line in done.stdout.splitlines() if "," in line]
    if done.returncode or not lines:
        yield Finding(False, "nvidia-smi finds no card: install NVIDIA's driver, or restart after an update of it.")
        return
    driver = lines[0].rpartition(",")[2].strip()
    cards = ", ".join(line.rpartition(",")[0] for line in lines)
    if driver.partition(".")[0].isdigit() and int(driver.partition(".")[0]) < OLDEST_DRIVER:
        yield Finding(False, f"The NVIDIA driver {driver} is too old: install {OLDEST_DRIVER} or newer.")
    elif "CUDA" not in backends:
        compiler = "" if shutil.which("nvcc") else "install the CUDA toolkit (nvcc), then "
        yield Finding(False, f"There is {cards}, but this llama.cpp was built without CUDA: {compiler}{REINSTALL}.")
    elif not seen:
        yield Finding(
            False, f"There is {cards}, but llama.cpp cannot use it: check CUDA_VISIBLE_DEVICES, or update the driver."
        )
    else:
        yield Finding(True, f"NVIDIA driver {driver}: {cards}.")


def _other_cards(backends: list[str], cards: list[str]) -> Iterator[Finding]:
    """Cards of other makers for which this build has no backend."""
    for vendor, fitting in OTHER_BACKENDS.items():
        if vendor in cards and not fitting & set(backends):
            # Intel's are mostly part of a CPU that is as fast.
            yield Finding(
                vendor == "Intel",
                f"There is a graphics card of {vendor}, and this llama.cpp was built without a backend for it: to use "
                f"it, install the Vulkan SDK and run `CMAKE_ARGS=-DGGML_VULKAN=ON python3 install.py` in {FOLDER}.",
            )
