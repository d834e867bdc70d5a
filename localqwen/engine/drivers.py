"""Which driver runs a GPU, and which cards the machine has whatever llama.cpp sees of them. Reads files of Linux."""

from __future__ import annotations

import platform
from pathlib import Path

NVIDIA = Path("proc/driver/nvidia/version")
AMD = (Path("sys/module/amdgpu/version"), Path("opt/rocm/.info/version"))
VULKAN = (Path("etc/vulkan/icd.d"), Path("usr/share/vulkan/icd.d"))
PCI = Path("sys/bus/pci/devices")
DISPLAY_CLASSES = ("0x0300", "0x0302", "0x0380")  # VGA, 3D and other display controllers
VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
ROOT = Path("/")


def driver_version(backend: str, root: Path = ROOT) -> str:
    """What changes when the driver of a backend's devices does, as far as it can be had; empty where it cannot."""
    if backend == "CUDA":
        return _line(root / NVIDIA)
    if backend == "ROCm":
        return " ".join([*(_line(root / part) for part in AMD), platform.release()]).strip()
    if backend in {"Vulkan", "SYCL"}:
        # Mesa's drivers come with a file for the loader, which an update writes anew; the kernel has the other half.
        found = sorted(file for folder in VULKAN for file in (root / folder).glob("*.json"))
        stamps = [f"{file.name} {file.stat().st_mtime_ns}" for file in found]
        return " ".join([_line(root / NVIDIA), *stamps, platform.release()]).strip()
    if backend in {"MTL", "Metal"}:
        return platform.mac_ver()[0]
    return ""


def cards(root: Path = ROOT) -> list[str]:
    """The vendors of the graphics cards on the PCI bus, one for each card; those of unknown vendors are left out."""
    found = []
    for device in sorted((root / PCI).glob("*")):
        vendor = VENDORS.get(_line(device / "vendor"))
        if vendor is not None and _line(device / "class").startswith(DISPLAY_CLASSES):
            found.append(vendor)
    return found


def _line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").partition("\n")[0].strip()
    except OSError:
        return ""
