"""The devices of this machine, with what is free on them and how fast they are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import llama_cpp

from localqwen.engine import bandwidth, registry
from localqwen.engine.devices import available_memory, physical_cores
from localqwen.engine.drivers import driver_version
from localqwen.engine.lost_cards import lost_cards
from localqwen.engine.machine import UNKNOWN, Device, Speed
from localqwen.engine.notebook import Notebook
from localqwen.errors import InvalidRequestError

SPEEDS, RESTS = "speeds", "rests"
# What the driver takes on a card besides what llama.cpp counts, whatever the plan: 80 to 88 MiB on an H100 (76 for
# cuBLAS at the first prompt, 4 for the graph of kernels at the second token), 71 to 87 on H200s. A card that is full to
# the last 10 MiB ends the process when it builds that graph, hence some more.
CUDA_REST = 104 << 20
# Where a card computes prompts for the CPU's layers, their graph takes 66 to 70 MiB when the same one comes again.
PROMPT_GRAPH = 72 << 20
CUDA_CODE = {"CUDA", "ROCm", "MUSA"}  # backends that are built from the same source
UNKNOWN_REST = 128 << 20  # nobody tells what is behind a server, and other drivers were not measured
CPU_REST = 256 << 20  # Python, the server, llama.cpp's own tables, and some air for the rest of the machine
ROOMY = 4 << 30

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limit:
    """A device that the user names, and the most bytes of it to use (``None``: all that is free)."""

    name: str
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """``devices`` that can take layers, in llama.cpp's order, and the CPU.

    ``handles`` are ggml's of the devices, and ``unlimited`` what is free on them whatever the user's limits. ``lost``
    are sentences about cards that cannot be used.
    """

    devices: tuple[Device, ...]
    cpu: Device
    handles: tuple[registry.Handle, ...]
    unlimited: tuple[int, ...]
    lost: tuple[str, ...] = ()


def take_inventory(
    notebook: Notebook,
    limits: Sequence[Limit] | None = None,
    available: Callable[[], int] = available_memory,
    threads: int | None = None,
) -> Inventory:
    """Look at every device, measuring those that are new.

    Raises :class:`InvalidRequestError` for a device of ``limits`` that is not there, and what
    :func:`~localqwen.engine.registry.check_rpc_server` raises.
    """
    found = registry.handles()
    host = next(handle for handle in found if handle.kind == "cpu")
    handles = _chosen(usable(found), limits)
    most = {limit.name.lower(): limit.most for limit in limits or ()}
    threads = threads or physical_cores()
    devices, unlimited = [], []
    for handle in handles:
        if handle.kind == "rpc":
            registry.check_rpc_server(handle.description)  # llama.cpp would end the process on one that is gone
        free, total = handle.memory()
        unlimited.append(free)
        speed = _speed(notebook, handle, threads)
        rest = notebook.get(RESTS, identity(handle)) or _rest(handle)
        device = Device(handle.name, handle.description, handle.backend, handle.kind, free, total, rest, speed)
        limit = most.get(handle.name.lower())
        devices.append(device if limit is None else replace(device, free=min(free, limit)))
    _, total = host.memory()
    free = available()
    limit = most.get(host.name.lower())
    free = free if limit is None else min(free, limit)
    speed = _speed(notebook, host, threads)
    cpu = Device(host.name, host.description, host.backend, "cpu", free, total, CPU_REST, speed)
    lost = tuple(lost_cards(notebook, found))
    return Inventory(tuple(devices), cpu, tuple(handles), tuple(unlimited), lost)


def _rest(handle: registry.Handle) -> int:
    return CUDA_REST if handle.backend in CUDA_CODE else UNKNOWN_REST


def identity(handle: registry.Handle) -> str:
    """Tells devices, and the drivers and builds that run them, apart."""
    # All machines behind SSH tunnels have the same address, and their memory is the only other thing they tell.
    driver = f"{handle.memory()[1]} bytes" if handle.kind == "rpc" else driver_version(handle.backend)
    return " | ".join((handle.backend, handle.name, handle.description, driver, llama_cpp.__version__))


def usable(handles: Sequence[registry.Handle]) -> list[registry.Handle]:
    """Those that llama.cpp would use, in its order: servers, then cards, and an integrated GPU only without a card.

    A card that two backends see is the first one's, and integrated GPUs are those of one backend.
    """
    by_kind = {kind: [handle for handle in handles if handle.kind == kind] for kind in ("rpc", "gpu", "igpu")}
    integrated = [handle for handle in by_kind["igpu"] if handle.backend == by_kind["igpu"][0].backend]
    return by_kind["rpc"] + (_different(by_kind["gpu"]) or integrated)


def _different(cards: Sequence[registry.Handle]) -> list[registry.Handle]:
    if len({card.backend for card in cards}) < 2:
        return list(cards)
    found: list[registry.Handle] = []
    seen: set[str] = set()
    for card in cards:
        address = registry.device_id(card)
        if address is None or address not in seen:
            found.append(card)
        if address is not None:
            seen.add(address)
    return found


def _chosen(handles: list[registry.Handle], limits: Sequence[Limit] | None) -> list[registry.Handle]:
    if limits is None:
        return handles
    names = {handle.name.lower(): handle for handle in handles}
    wanted = list(dict.fromkeys(limit.name.lower() for limit in limits if limit.name.lower() not in {"cpu", "none"}))
    there = ", ".join(handle.name for handle in handles) or "only the CPU"
    for name in wanted:
        if name not in names:
            raise InvalidRequestError(
                f"There is no device {name.upper()} that layers can go to ({there}): see `localqwen devices`."
            )
    return [names[name] for name in wanted]


def _speed(notebook: Notebook, handle: registry.Handle, threads: int) -> Speed:
    known = notebook.get(SPEEDS, _speed_key(handle, threads))
    if isinstance(known, list) and len(known) == 4:
        return Speed(*known)
    rows = bandwidth.ROWS
    if handle.kind == "rpc":
        rows //= 8  # they have to go through the network
    elif handle.kind == "cpu" and available_memory() > ROOMY:
        rows *= 4  # a server's cache is larger than a card's
    try:
        speed = bandwidth.measure(handle, threads, rows)
    except bandwidth.MeasuringError as error:
        log.warning("%s", error)
        return UNKNOWN[handle.kind]
    _put(notebook, _speed_key(handle, threads), speed)
    return speed


def _put(notebook: Notebook, key: str, speed: Speed) -> None:
    notebook.put(SPEEDS, key, [speed.read, speed.compute, speed.upload, speed.latency])


def _speed_key(handle: registry.Handle, threads: int) -> str:
    return f"{identity(handle)} | {threads}" if handle.kind == "cpu" else identity(handle)
