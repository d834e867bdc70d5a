"""What is used of each device's memory, as this process sees it."""

from __future__ import annotations

import psutil

from localqwen.device_memory import DeviceMemory
from localqwen.engine import registry
from localqwen.engine.devices import available_memory, memory_limit
from localqwen.engine.inventory import usable
from localqwen.events import Planned
from localqwen.plan import Share


def device_memory(planned: Planned) -> tuple[DeviceMemory, ...]:
    """The devices of a plan in its order, the CPU as the last. Takes a moment: not for the event loop."""
    handles = {handle.name: handle for handle in registry.handles()}
    taken = dict(planned.taken)
    found = []
    for share in planned.plan.shares:
        handle = handles.get(share.device)
        used, total = _ram() if share.kind == "cpu" else _card(share, handle)
        mine = taken.get(share.device, share.used)
        found.append(DeviceMemory(share.device, share.description, share.kind, used, total, mine))
    return tuple(found)


def machine_devices(planned: Planned | None) -> list[dict[str, str | int]]:
    """Every device that models can go to, the CPU as the last, with what is free: as `localqwen devices --json`.

    A server on another machine is busy with the model, so what the plan left there counts. Takes a moment.
    """
    found = registry.handles()
    shares = {share.device: share for share in planned.plan.shares} if planned is not None else {}
    devices: list[dict[str, str | int]] = []
    for handle in [*usable(found), *(handle for handle in found if handle.kind == "cpu")]:
        if handle.kind == "cpu":
            used, total = _ram()
        elif handle.kind != "rpc":
            free, total = handle.memory()
            used = total - free
        elif (share := shares.get(handle.name)) is not None:
            used, total = share.used, share.free
        else:
            continue
        names = {"name": handle.name, "description": handle.description, "backend": handle.backend}
        devices.append({**names, "kind": handle.kind, "free": max(0, total - used), "total": total})
    return devices


def _ram() -> tuple[int, int]:
    total = min(int(psutil.virtual_memory().total), memory_limit())
    return max(0, total - available_memory()), total


def _card(share: Share, handle: registry.Handle | None) -> tuple[int, int]:
    if handle is None or handle.kind == "rpc":  # its one connection is busy with the model
        return share.used, share.free
    free, total = handle.memory()
    return max(0, total - free), total
