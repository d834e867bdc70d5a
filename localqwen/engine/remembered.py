"""What is remembered of one model file: its plans, what was missing when they were loaded, and what they took."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import llama_cpp

from localqwen import __version__
from localqwen.engine.gguf_file import parts
from localqwen.engine.inventory import Inventory
from localqwen.engine.notebook import Notebook
from localqwen.errors import InvalidModelError
from localqwen.plan import Plan

PLANS, SHORT, AVOIDED, LOADS = "plans", "short", "avoided", "loads"
REMEMBERED_SECONDS = 24 * 3600.0
SAME = 0.05, 512 << 20  # a device is as free as it was within this part, or these bytes


class Remembered:
    """A notebook's pages about the file ``path`` under ``options``, which may be anything with a ``repr``."""

    def __init__(self, notebook: Notebook, path: Path, options: object, draft: Path | None = None) -> None:
        self._notebook = notebook
        self._path = path
        self._options = options
        self._draft = draft

    def corrected(self, inventory: Inventory) -> Inventory:
        """Less the room that was found missing when this model was loaded before."""
        devices = tuple(replace(device, rest=device.rest + self._short(device.name)) for device in inventory.devices)
        return replace(inventory, devices=devices)

    def plan(self, inventory: Inventory) -> Plan | None:
        """An earlier plan for the same, if about as much memory is free as then."""
        data = self._notebook.get(PLANS, self._key(inventory))
        if data is None:
            return None
        try:
            plan, then = Plan.from_json(data["plan"]), dict(data["free"])
        except (TypeError, LookupError, ValueError):
            return None
        used = {share.device: share.used for share in plan.shares}
        for device in (*inventory.devices, inventory.cpu):
            before = then.get(device.name, -1)
            if used.get(device.name, 0) > device.free or abs(device.free - before) > max(SAME[0] * before, SAME[1]):
                return None
        return plan

    def keep(self, inventory: Inventory, plan: Plan) -> None:
        """Take this plan the next time."""
        free = {device.name: device.free for device in (*inventory.devices, inventory.cpu)}
        self._notebook.put(PLANS, self._key(inventory), {"plan": plan.as_json(), "free": free})

    def lacked(self, inventory: Inventory, plan: Plan, device: str) -> None:
        """There was no memory for ``plan`` on ``device``: a layer less there from now on, for a day.

        What the device said to have free is not believed any more, whatever the reason.
        """
        share = next((share for share in plan.devices if share.device == device), None)
        if share is None:
            return
        layer = max(1, (share.weights + share.kv) // max(1, share.count))
        more = max(0, share.free - share.used) + layer
        self._notebook.remove(PLANS, self._key(self.corrected(inventory)))
        self._notebook.put(SHORT, self._short_key(device), [self._short(device) + more, time.time()])

    def avoid_tensors(self) -> None:
        """A split of tensors ended the process: none from now on."""
        self._notebook.put(AVOIDED, self._identity(), "tensor")

    def avoids_tensors(self) -> bool:
        """Whether :meth:`avoid_tensors` was said."""
        return bool(self._notebook.get(AVOIDED, self._identity()))

    def note_load(self, plan: Plan, taken: dict[str, int]) -> None:
        """Note the bytes that ``plan`` really took."""
        record = [[share.device, share.used, taken[share.device]] for share in plan.devices]
        self._notebook.put(LOADS, self._identity(), record)

    def _short(self, device: str) -> int:
        """Bytes that a device was found to lack, of late: it may have been another program's doing."""
        short, when = self._notebook.get(SHORT, self._short_key(device)) or (0, 0.0)
        return int(short) if time.time() - when < REMEMBERED_SECONDS else 0

    def _short_key(self, device: str) -> str:
        return f"{self._identity()} | {device}"

    def _key(self, inventory: Inventory) -> str:
        """Of a plan: file, build, wishes and devices."""
        devices = [
            [device.name, device.description, device.rest, round(device.speed.read), round(device.speed.compute)]
            for device in (*inventory.devices, inventory.cpu)
        ]
        draft = file_identity(self._draft) if self._draft is not None else None
        options = repr(self._options)
        return json.dumps([self._identity(), draft, __version__, llama_cpp.__version__, options, devices])

    def _identity(self) -> str:
        return file_identity(self._path)


def file_identity(path: Path) -> str:
    """Tells files apart. Raises :class:`InvalidModelError` for one that is not whole."""
    try:
        stats = [part.stat() for part in parts(path)]
    except OSError as error:
        raise InvalidModelError(f"{error.filename} cannot be read: {error.strerror}.") from error
    return json.dumps([str(path), [[stat.st_size, stat.st_mtime_ns] for stat in stats]])
