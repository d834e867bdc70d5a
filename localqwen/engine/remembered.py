"""What is remembered of one model file: its plans, what was missing when they were loaded, and what they took."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import llama_cpp
import psutil

from localqwen import __version__
from localqwen.engine.devices import physical_cores
from localqwen.engine.gguf_file import parts
from localqwen.engine.inventory import Inventory, identity
from localqwen.engine.machine import NO_LIMIT, Device, Speed
from localqwen.engine.notebook import Notebook
from localqwen.errors import InvalidModelError
from localqwen.plan import LastLoad, Plan

PLANS, MOST, AVOIDED, LOADS, SHOWN = "plans", "most", "avoided", "loads", "shown"
REMEMBERED_SECONDS = 24 * 3600.0
SAME = 0.05, 512 << 20  # a device is as free as it was within this part, or these bytes


class Remembered:
    """A notebook's pages about the file ``path`` under ``options``, which may be anything with a ``repr``."""

    def __init__(
        self, notebook: Notebook, path: Path, options: object, threads: int | None = None, draft: Path | None = None
    ) -> None:
        """``threads`` are those of the CPU, and ``draft`` a second file that plans make room for."""
        self._notebook = notebook
        self._path = path
        self._options = options
        self._threads = threads or physical_cores()
        self._draft = draft

    def corrected(self, inventory: Inventory) -> Inventory:
        """With no more than could be had when this file was loaded before, and as fast as it was found to be."""
        devices = tuple(
            replace(
                device,
                most=self._most(self._device(inventory, device.name)),
                speed=self._speed(inventory, device),
            )
            for device in inventory.devices
        )
        cpu = replace(inventory.cpu, speed=self._speed(inventory, inventory.cpu))
        return replace(inventory, devices=devices, cpu=cpu)

    def plan(self, inventory: Inventory) -> Plan | None:
        """An earlier plan for the same, if no other can be much better now."""
        data = self._notebook.get(PLANS, self._key(inventory))
        if data is None:
            return None
        try:
            plan, before = Plan.from_json(data["plan"]), dict(data["free"])
        except (TypeError, LookupError, ValueError):
            return None
        if not still_best(plan, before, inventory.devices, inventory.cpu):
            return None
        now = {device.name: device.free for device in (*inventory.devices, inventory.cpu)}
        return replace(plan, shares=tuple(replace(share, free=now[share.device]) for share in plan.shares))

    def keep(self, inventory: Inventory, plan: Plan) -> None:
        """Take this plan the next time."""
        free = {device.name: device.free for device in (*inventory.devices, inventory.cpu)}
        self._notebook.put(PLANS, self._key(inventory), {"plan": plan.as_json(), "free": free})

    def lacked(self, inventory: Inventory, plan: Plan, device: str) -> None:
        """There was no memory for ``plan`` on ``device``: a layer less there from now on, for a day.

        What the device says to have free is not believed any more, whatever the reason.
        """
        share = next((share for share in plan.devices if share.device == device), None)
        if share is None:
            return
        layer = max(1, (share.weights + share.kv) // max(1, share.count))
        self._notebook.remove(PLANS, self._key(self.corrected(inventory)))
        most = max(0, share.used - share.rest - layer)
        self._notebook.put(MOST, self._device(inventory, device), [most, time.time()])

    def avoid_tensors(self, inventory: Inventory) -> None:
        """A split of tensors over these devices ended the process: none from now on, for a day."""
        self._notebook.put(AVOIDED, self._devices(inventory), [time.time(), 0])

    @contextmanager
    def trying_tensors(self, inventory: Inventory) -> Iterator[None]:
        """What is done in the block may end the process; then :meth:`avoid_tensors` has been said."""
        key = self._devices(inventory)
        before = self._notebook.get(AVOIDED, key)
        self._notebook.put(AVOIDED, key, [time.time(), os.getpid()])
        yield
        if before is None:
            self._notebook.remove(AVOIDED, key)
        else:
            self._notebook.put(AVOIDED, key, before)

    def avoids_tensors(self, inventory: Inventory) -> bool:
        """Whether a split over the same devices, with this build, ended a process of late; one that tries has not."""
        when, process = self._notebook.get(AVOIDED, self._devices(inventory)) or (0.0, 0)
        return _is_recent(when) and not psutil.pid_exists(process or -1)

    def note_speeds(self, inventory: Inventory, speeds: Mapping[str, Speed]) -> None:
        """Note how fast this file has shown devices to be, by name; it says nothing about other files."""
        for name, speed in speeds.items():
            self._notebook.put(SHOWN, self._device(inventory, name), list(asdict(speed).values()))

    def note_load(self, plan: Plan, taken: Mapping[str, int], reported: Mapping[str, int] | None = None) -> None:
        """Note the bytes that ``plan`` really took on each device.

        Where a device does not tell, what llama.cpp has ``reported`` is compared with what was planned for it alone.
        """
        rows = []
        for share in plan.shares if plan.devices else ():
            real, said = taken.get(share.device, 0), (reported or {}).get(share.device, 0)
            if real > 0:
                rows.append((share.device, share.used, real))
            elif said > 0:
                rows.append((share.device, share.weights + share.kv + share.compute, said))
        load = LastLoad(time.time(), plan.context, plan.kv_type, plan.ubatch, tuple(rows))
        self._notebook.put(LOADS, self._identity(), load.as_json())

    def last_load(self) -> LastLoad | None:
        """What loading this file took the last time, whatever the options."""
        try:
            return LastLoad.from_json(self._notebook.get(LOADS, self._identity()))
        except (TypeError, LookupError, ValueError):
            return None

    def _most(self, key: str) -> int:
        """Bytes that could be had of a device, of late: it may have been another program's doing."""
        most, when = self._notebook.get(MOST, key) or (NO_LIMIT, 0.0)
        return int(most) if _is_recent(when) else NO_LIMIT

    def _speed(self, inventory: Inventory, device: Device) -> Speed:
        shown = self._notebook.get(SHOWN, self._device(inventory, device.name))
        return Speed(*shown) if isinstance(shown, list) and len(shown) == 4 else device.speed

    def _device(self, inventory: Inventory, name: str) -> str:
        """Tells this file on one device from all others."""
        handle = next((handle for handle in inventory.handles if handle.name == name), None)
        cpu = f"{inventory.cpu.description} | {llama_cpp.__version__} | {self._threads}"
        return f"{self._identity()} | {identity(handle) if handle is not None else f'{name} | {cpu}'}"

    def _devices(self, inventory: Inventory) -> str:
        """Tells this file on all these devices from others."""
        devices = [identity(handle) for handle in inventory.handles]
        return json.dumps([self._identity(), __version__, llama_cpp.__version__, devices])

    def _key(self, inventory: Inventory) -> str:
        """Of a plan: file, build, wishes and devices."""
        devices = [
            [device.name, device.description, device.rest, device.most, *_figures(device.speed)]
            for device in (*inventory.devices, inventory.cpu)
        ]
        draft = file_identity(self._draft) if self._draft is not None else None
        options = repr(self._options)
        return json.dumps([self._identity(), draft, __version__, llama_cpp.__version__, options, devices])

    def _identity(self) -> str:
        return file_identity(self._path)


def _figures(speed: Speed) -> list[str]:
    return [f"{figure:.6g}" for figure in asdict(speed).values()]


def still_best(plan: Plan, before: Mapping[str, int], devices: Sequence[Device], cpu: Device) -> bool:
    """Whether a plan that was made when so many bytes were free fits now, and nothing else can be much better. Pure.

    With less memory nothing better can appear, but what the plan says of its reasons becomes untrue in time.
    """
    full = plan.gpu_layers > plan.layers
    # Where all is on the cards as well as can be, a layer's room more is of no use.
    content = full and plan.kv_type == "f16"
    layers = [(share.weights + share.kv) // share.count for share in plan.shares if share.count]
    used = {share.device: share.used for share in plan.shares}
    for device in (*devices, cpu):
        then = before.get(device.name, -1)
        if then < 0 or used.get(device.name, 0) > device.free:
            return False
        if device is cpu and full:
            continue
        drift = max(SAME[0] * then, SAME[1])
        most = drift if content or device is cpu else min(drift, *layers)
        if device.free - then > most or then - device.free > drift:
            return False
    return True


def _is_recent(when: object) -> bool:
    return isinstance(when, float) and time.time() - when < REMEMBERED_SECONDS


def file_identity(path: Path) -> str:
    """Tells files apart. Raises :class:`InvalidModelError` for one that is not whole."""
    try:
        stats = [part.stat() for part in parts(path)]
    except OSError as error:
        raise InvalidModelError(f"{error.filename} cannot be read: {error.strerror}.") from error
    return json.dumps([str(path), [[stat.st_size, stat.st_mtime_ns] for stat in stats]])
