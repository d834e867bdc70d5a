"""What is used of each device's memory, as this process sees it."""

from __future__ import annotations

import psutil

from localqwen.device_memory import DeviceMemory
from localqwen.engine import registry
from localqwen.engine.devices import available_memory, memory_limit
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


def _ram() -> tuple[int, int]:
    total = min(int(psutil.virtual_memory().total), memory_limit())
    return max(0, total - available_memory()), total


def _card(share: Share, handle: registry.Handle | None) -> tuple[int, int]:
    if handle is None or handle.kind == "rpc":  # its one connection is busy with the model
        return share.used, share.free
    free, total = handle.memory()
    return max(0, total - free), total
