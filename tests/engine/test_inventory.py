"""Which devices there are to plan with, and when they are measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import pytest

from localqwen.engine import bandwidth, drivers, inventory, registry
from localqwen.engine.inventory import CUDA_REST, UNKNOWN_REST, take_inventory
from localqwen.engine.machine import Speed
from localqwen.engine.notebook import Notebook
from localqwen.engine.registry import Handle
from tests.engine.machines import GIB

CPU = Handle(1, "CPU", "Processor", "CPU", "cpu")
CARD = Handle(2, "CUDA0", "Card", "CUDA", "gpu")
SAME_CARD = Handle(3, "Vulkan0", "Card (other name)", "Vulkan", "gpu")
OTHER_CARD = Handle(4, "Vulkan1", "Second card", "Vulkan", "gpu")
INTEGRATED = Handle(5, "Vulkan2", "Graphics", "Vulkan", "igpu")
SAME_INTEGRATED = Handle(6, "SYCL0", "Graphics", "SYCL", "igpu")
SERVER = Handle(7, "RPC0", "127.0.0.1:50052", "RPC", "rpc")
IDS = {CARD: "0000:01:00.0", SAME_CARD: "0000:01:00.0", OTHER_CARD: "0000:02:00.0"}


class Bench:
    """Devices that are there by word alone, and which of them were measured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.measured: list[str] = []
        self.found: list[Handle] = [CARD, CPU]
        self.total = 24 * GIB
        self.notebook = Notebook(path)
        monkeypatch.setattr(registry, "handles", lambda: self.found)
        monkeypatch.setattr(registry, "device_id", IDS.get)
        monkeypatch.setattr(registry, "check_rpc_server", lambda _: None)
        monkeypatch.setattr(Handle, "memory", lambda _: (self.total // 2, self.total))
        monkeypatch.setattr(bandwidth, "measure", self._measure)

    def look(self, threads: int = 2) -> Sequence[str]:
        """The names of the devices that layers can go to; ``measured`` are those that were new."""
        self.measured.clear()
        return [device.name for device in take_inventory(self.notebook, threads=threads).devices]

    def _measure(self, device: Handle, _threads: int, _rows: int = 0) -> Speed:
        self.measured.append(device.name)
        return Speed(1e11, 1e13, 1e10, 1e-5)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    return Bench(monkeypatch, tmp_path / "planner.json")


def test_a_device_is_measured_once(bench: Bench) -> None:
    assert bench.look() == ["CUDA0"]
    assert bench.measured == ["CUDA0", "CPU"]
    bench.look()
    assert bench.measured == []
    bench.look(threads=4)
    assert bench.measured == ["CPU"], "with other threads it is another device"


def test_a_new_driver_is_measured(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "driver_version", lambda backend: f"{backend} 550")
    bench.look()
    bench.look()
    assert bench.measured == []
    monkeypatch.setattr(inventory, "driver_version", lambda backend: "CUDA 560" if backend == "CUDA" else "CPU 550")
    bench.look()
    assert bench.measured == ["CUDA0"]


def test_a_new_build_is_measured(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.look()
    monkeypatch.setattr(llama_cpp, "__version__", "9.9.9")
    bench.look()
    assert bench.measured == ["CUDA0", "CPU"]


def test_behind_a_server_is_another_machine_when_its_memory_is_another(bench: Bench) -> None:
    bench.found = [SERVER, CPU]
    bench.look()
    bench.total = 48 * GIB
    bench.look()
    assert bench.measured == ["RPC0"]


def test_a_card_that_two_backends_see_counts_once(bench: Bench) -> None:
    bench.found = [CARD, SAME_CARD, OTHER_CARD, CPU]
    assert bench.look() == ["CUDA0", "Vulkan1"]


def test_cards_without_an_address_all_count(bench: Bench) -> None:
    unknown = [Handle(8, "CUDA1", "Card", "CUDA", "gpu"), Handle(9, "Vulkan3", "Card", "Vulkan", "gpu")]
    bench.found = [*unknown, CPU]
    assert bench.look() == ["CUDA1", "Vulkan3"]


def test_integrated_graphics_are_those_of_one_backend_and_only_without_a_card(bench: Bench) -> None:
    bench.found = [INTEGRATED, SAME_INTEGRATED, CPU]
    assert bench.look() == ["Vulkan2"]
    bench.found = [CARD, INTEGRATED, SERVER, CPU]
    assert bench.look() == ["RPC0", "CUDA0"]


def test_every_driver_gets_some_room(bench: Bench) -> None:
    rocm = Handle(10, "ROCm0", "Card", "ROCm", "gpu")
    bench.found = [CARD, rocm, OTHER_CARD, SERVER, CPU]
    rests = {device.backend: device.rest for device in take_inventory(bench.notebook, threads=2).devices}
    assert rests == {"RPC": UNKNOWN_REST, "CUDA": CUDA_REST, "ROCm": CUDA_REST, "Vulkan": UNKNOWN_REST}


def test_a_real_device_has_no_address_but_can_be_asked() -> None:
    (host,) = [handle for handle in registry.handles() if handle.kind == "cpu"]
    assert registry.device_id(host) is None


def test_drivers_tell_their_versions_apart(tmp_path: Path) -> None:
    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert drivers.driver_version("CUDA", tmp_path) == ""
    write("proc/driver/nvidia/version", "NVRM version: 550.54\nGCC version: 12\n")
    assert drivers.driver_version("CUDA", tmp_path) == "NVRM version: 550.54"
    before = drivers.driver_version("ROCm", tmp_path)
    write("opt/rocm/.info/version", "6.2.0-66\n")
    assert drivers.driver_version("ROCm", tmp_path) != before
    before = drivers.driver_version("Vulkan", tmp_path)
    write("usr/share/vulkan/icd.d/radeon_icd.json", "{}")
    assert drivers.driver_version("Vulkan", tmp_path) != before
    assert drivers.driver_version("CPU", tmp_path) == ""


def test_cards_are_found_on_the_bus(tmp_path: Path) -> None:
    devices = (
        ("0000:00:00.0", "0x8086", "0x060000"),
        ("0000:01:00.0", "0x10de", "0x030200"),
        ("x", "0x1af4", "0x0300"),
    )
    for name, vendor, kind in devices:
        folder = tmp_path / "sys/bus/pci/devices" / name
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(f"{vendor}\n")
        (folder / "class").write_text(f"{kind}\n")
    assert drivers.cards(tmp_path) == ["NVIDIA"], "no bridge, and no emulated screen"
    assert drivers.cards(tmp_path / "nothing") == []
