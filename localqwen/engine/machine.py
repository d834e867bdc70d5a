"""The devices of a machine as the planner sees them. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from localqwen.plan import DeviceKind

NO_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True)
class Speed:
    """``read`` are bytes of weights per second for one token, ``compute`` bytes times tokens per second for many.

    ``upload`` are bytes per second from RAM to the device, and ``latency`` the seconds of its shortest step.
    """

    read: float
    compute: float
    upload: float
    latency: float


# What a device is taken for where it could not be measured: a laptop's CPU, a small card, a network of 1 Gbit/s.
UNKNOWN: dict[DeviceKind, Speed] = {
    "cpu": Speed(20e9, 400e9, 20e9, 5e-6),
    "gpu": Speed(200e9, 20e12, 10e9, 20e-6),
    "igpu": Speed(50e9, 2e12, 20e9, 50e-6),
    "rpc": Speed(100e9, 5e12, 0.1e9, 500e-6),
    "accel": Speed(20e9, 400e9, 20e9, 5e-6),
}


@dataclass(frozen=True, slots=True)
class Device:
    """``free`` and ``total`` are bytes, ``rest`` those that its driver takes besides what llama.cpp counts.

    No more than ``most`` bytes are taken, whatever is free: more could not be had before.
    """

    name: str
    description: str
    backend: str
    kind: DeviceKind
    free: int
    total: int
    rest: int
    speed: Speed
    most: int = NO_LIMIT

    @property
    def usable(self) -> int:
        """What weights, KV cache and activations may take."""
        return max(0, min(self.free - self.rest, self.most))

    @property
    def shares_ram(self) -> bool:
        """Whether its memory is the CPU's."""
        return self.kind in {"cpu", "igpu"} or self.backend in {"MTL", "Metal"}

    @property
    def offloads(self) -> bool:
        """Whether llama.cpp copies the weights of CPU layers here to compute a long batch."""
        return self.kind == "gpu"
