"""What a worker says is free: ggml's RPC server passes on what its devices tell, and a CPU tells all of the RAM.

A device of ggml begins with a table of functions. The one that tells the memory is replaced in this process.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from localqwen.engine.devices import available_memory, memory_limit
from localqwen.engine.inventory import Limit
from localqwen.engine.registry import DeviceError, Handle

log = logging.getLogger(__name__)

_Memory = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t), ctypes.POINTER(ctypes.c_size_t))


class _Device(ctypes.Structure):
    """How ``ggml_backend_device`` of ggml-backend-impl.h begins."""

    _fields_ = (("get_name", ctypes.c_void_p), ("get_description", ctypes.c_void_p), ("get_memory", ctypes.c_void_p))


@dataclass(frozen=True, slots=True)
class Lent:
    """A device to lend, and at most so many bytes of it."""

    handle: Handle
    most: int | None = None


_kept: list[Any] = []  # ctypes callbacks live as long as somebody holds them


def chosen(found: Sequence[Handle], limits: Sequence[Limit] | None) -> list[Lent]:
    """The devices that ``limits`` name, or the GPUs, or else the CPU.

    Raises :class:`DeviceError` for one that is not there.
    """
    if limits is None:
        lent = [handle for handle in found if handle.kind in {"gpu", "igpu"}]
        return [Lent(handle) for handle in lent or [handle for handle in found if handle.kind == "cpu"]]
    names = {handle.name.lower(): handle for handle in found}
    there = ", ".join(handle.name for handle in found)
    for limit in limits:
        if limit.name.lower() not in names:
            raise DeviceError(f"There is no device {limit.name} here ({there}): see `localqwen devices`.")
    return [Lent(names[limit.name.lower()], limit.most) for limit in limits]


def tell_truly(lent: Lent, available: Callable[[], int] = available_memory) -> None:
    """From now on the device tells what another machine may take: no more than is free, and not more than is lent.

    Raises :class:`DeviceError` where this build's devices cannot be told to.
    """
    handle, most = lent.handle, lent.most
    if handle.kind != "cpu" and most is None:
        return  # a card's driver knows
    device = _Device.from_address(handle.address)
    asked = _Memory(device.get_memory)
    taken = _taken(handle, asked)

    @_Memory  # type: ignore[untyped-decorator]
    def memory(_device: int, free: Any, total: Any) -> None:
        free[0] = total[0] = 0
        try:
            room, whole = _ask(asked, handle)
            if handle.kind == "cpu":
                room, whole = available(), min(whole, memory_limit())
            if most is not None:
                room, whole = min(room, max(0, most - taken())), min(whole, most)
            free[0], total[0] = room, whole
        except Exception:  # ctypes would print it and go on
            log.exception("The memory of %s cannot be told", handle.name)

    _kept.append(memory)
    device.get_memory = ctypes.cast(memory, ctypes.c_void_p).value
    if most is not None and handle.memory()[1] > most:
        raise DeviceError(f"{handle.name} of this llama.cpp cannot be lent in part: leave out the :GIB.")


def _taken(handle: Handle, asked: Callable[..., None]) -> Callable[[], int]:
    """Bytes that this process has taken of a device since now: a server frees all of it when its client leaves."""
    if handle.kind == "cpu":
        process = psutil.Process(os.getpid())
        before = process.memory_info().rss
        return lambda: max(0, int(process.memory_info().rss) - before)
    free = _ask(asked, handle)[0]
    return lambda: max(0, free - _ask(asked, handle)[0])


def _ask(asked: Callable[..., None], handle: Handle) -> tuple[int, int]:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    asked(handle.address, ctypes.byref(free), ctypes.byref(total))
    return free.value, total.value
