"""Plans how a model is loaded: looks at the machine and the file, searches, and lets llama.cpp check the winner."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import llama_cpp

from localqwen.engine import probe, registry
from localqwen.engine.candidate import Bytes, Candidate, Found, Wishes
from localqwen.engine.context import ContextOptions, parameters
from localqwen.engine.devices import available_memory, physical_cores
from localqwen.engine.draft_places import draft_layers, draft_places, seconds_with_draft
from localqwen.engine.explain import explained, too_large
from localqwen.engine.gguf_file import parts, read_shape
from localqwen.engine.inventory import RESTS, Inventory, Limit, identity, take_inventory
from localqwen.engine.machine import Device
from localqwen.engine.model import Model
from localqwen.engine.notebook import Notebook
from localqwen.engine.placement import Placement
from localqwen.engine.rope import Rope
from localqwen.engine.search import Search
from localqwen.engine.shape import Shape
from localqwen.errors import InvalidRequestError
from localqwen.plan import Plan, Share

PLANS, SHORT, AVOIDED, FACTORS, LOADS = "plans", "short", "avoided", "factors", "loads"
IDLE_THREADS = 4  # with every layer on GPUs, the CPU has next to nothing to do
SAME = 0.05, 512 << 20  # a device is as free as it was within this part, or these bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What the user pinned; ``None`` is planned. ``rpc`` are other machines' devices, ``draft`` a second model."""

    wishes: Wishes = field(default_factory=Wishes)
    threads: int | None = None
    limits: tuple[Limit, ...] | None = None
    rpc: tuple[str, ...] = ()
    draft: Path | None = None
    stretched: bool = True  # whether YaRN may take the context beyond the native window


@dataclass(frozen=True, slots=True)
class Solution:
    """A plan, and what carries it out."""

    plan: Plan
    placement: Placement
    draft_placement: Placement


class Planner:
    """Plans for one model file. Only the process that will load it (or a short-lived one) may plan."""

    def __init__(
        self,
        path: Path,
        options: PlanOptions,
        notebook: Notebook,
        available: Callable[[], int] = available_memory,
    ) -> None:
        """``available`` tells the bytes of RAM that may be used."""
        self._path = path
        self._options = options
        self._notebook = notebook
        self._available = available
        self._inventory: Inventory | None = None

    @property
    def inventory(self) -> Inventory:
        """The devices. Raises as :func:`take_inventory`."""
        if self._inventory is None:
            registry.add_rpc_servers(self._options.rpc)
            options = self._options
            self._inventory = take_inventory(self._notebook, options.limits, self._available, options.threads)
        return self._inventory

    def look_again(self) -> None:
        """Forget what was free."""
        self._inventory = None

    def plan(self) -> Solution:
        """The fastest plan that fits.

        Raises :class:`~localqwen.errors.OutOfMemoryError` when nothing does, with what is missing where, and what
        opening the file and asking the devices raises.
        """
        inventory = self._corrected(self.inventory)
        plan = self._known(inventory)
        if plan is None:
            plan = self._searched(inventory)
            self._notebook.put(PLANS, self._key(inventory), plan.as_json())
        return self._carried_out(plan)

    def out_of_memory(self, plan: Plan, device: str) -> None:
        """Loading ``plan`` failed for want of memory on ``device``: plan a layer less there from now on.

        What the device said to have free is not believed any more, whatever the reason.
        """
        share = next((share for share in plan.devices if share.device == device), None)
        if share is None:
            return
        layer = max(1, (share.weights + share.kv) // max(1, share.count))
        key = self._short_key(device)
        more = max(0, share.free - share.used) + layer
        self._notebook.remove(PLANS, self._key(self._corrected(self.inventory)))
        self._notebook.put(SHORT, key, (self._notebook.get(SHORT, key) or 0) + more)

    def died(self, plan: Plan, device: str) -> None:
        """llama.cpp is about to end the process while it loads ``plan``, as it does when a driver has no memory left.

        The next time there is a layer less on ``device``, and no split of tensors if this was one.
        """
        if plan.split_mode == "tensor":
            self._notebook.put(AVOIDED, self._identity(), "tensor")
        self.out_of_memory(plan, device)

    def loaded(self, plan: Plan) -> dict[str, int]:
        """It was loaded: note, and return, what it took on each device, by what is free there now."""
        inventory = self.inventory
        known = zip(inventory.handles, inventory.devices, inventory.unlimited, strict=True)
        before = {handle.name: (handle, device, free) for handle, device, free in known}
        taken = {}
        for share in plan.devices:
            handle, device, free = before[share.device]
            used = free - handle.memory()[0]
            taken[share.device] = used
            if handle.backend == "CUDA" and plan.exact:
                rest = used - share.used + share.rest
                if 0 <= rest <= 1 << 30:
                    self._notebook.put(RESTS, identity(handle), max(device.rest, rest))
        record = [[share.device, share.used, taken[share.device]] for share in plan.devices]
        self._notebook.put(LOADS, self._identity(), record)
        return taken

    def measured(self, plan: Plan, prefill: float, decode: float) -> None:
        """A benchmark's tokens per second, by which later predictions for these devices are scaled."""
        factors = self._notebook.get(FACTORS, self._devices_key(plan)) or [1.0, 1.0]
        new = [factors[0] * prefill / plan.prefill, factors[1] * decode / plan.decode]
        self._notebook.put(FACTORS, self._devices_key(plan), new)
        self._notebook.remove(PLANS, self._key(self._corrected(self.inventory)))

    def _searched(self, inventory: Inventory) -> Plan:
        shape = read_shape(self._path)
        with Model.open(self._path) as facts:
            native = facts.window.native
            longest = facts.window.longest if self._options.stretched else native
        wishes = self._options.wishes
        if not inventory.devices and wishes.gpu_layers:
            raise InvalidRequestError("No GPU that llama.cpp can use was found: leave out --gpu-layers.")
        best: tuple[float, Plan] | None = None
        for reserved, where in draft_places(inventory, self._options.draft, wishes.context):
            tensors = not self._notebook.get(AVOIDED, self._identity())
            search = Search(shape, reserved.devices, reserved.cpu, wishes, native, longest, tensors)
            found = search.best(lambda candidate, search=search: self._count(inventory, candidate))  # type: ignore[misc]
            if found is None:
                continue
            plan = self._made(inventory, shape, found, where)
            plan = explained(plan, shape, search, found)
            cost = seconds_with_draft(1 / plan.decode, inventory, self._options.draft, where)
            if best is None or cost < best[0]:
                best = cost, plan
        if best is None:
            raise too_large(self._path.name, Search(shape, inventory.devices, inventory.cpu, wishes, native, longest))
        return best[1]

    def _count(self, inventory: Inventory, candidate: Candidate) -> Sequence[Bytes] | None:
        key = candidate.key
        if key.split_mode == "tensor":
            return None
        placement = Placement.of(inventory.handles, candidate.counts[1:])
        # Positions may be scaled later, but that allocates nothing, and threads neither.
        options = ContextOptions(key.context, 1, Rope(1.0, key.context), key.kv_type, key.ubatch)
        used = placement.devices or ()
        counted = probe.count(self._path, placement.parameters(), parameters(options), len(used))
        if counted is None:
            return None
        by_name = {handle.name: part for handle, part in zip(used, counted, strict=False)}
        nothing = Bytes(0, 0, 0)
        return [*(by_name.get(handle.name, nothing) for handle in inventory.handles), counted[-1]]

    def _made(self, inventory: Inventory, shape: Shape, found: Found, draft_device: str | None) -> Plan:
        candidate, key = found.candidate, found.candidate.key
        shares = []
        start = candidate.counts[0]
        for device, count, part in zip(inventory.devices, candidate.counts[1:], found.bytes, strict=False):
            if count:
                has_output = start + count > shape.layers
                shares.append(_share(device, start, count - has_output, part, output=has_output))
            start += count
        on_cpu = candidate.counts[0]
        has_output = on_cpu > shape.layers
        shares.append(_share(inventory.cpu, 0, on_cpu - has_output, found.bytes[-1], output=has_output))
        threads = self._options.threads or (physical_cores() if on_cpu else min(IDLE_THREADS, physical_cores()))
        plan = Plan(
            model=self._path.name,
            layers=shape.layers,
            context=key.context,
            kv_type=key.kv_type,
            ubatch=key.ubatch,
            split_mode=key.split_mode,
            threads=threads,
            shares=tuple(shares),
            prefill=1 / candidate.prefill,
            decode=1 / candidate.decode,
            exact=found.exact,
            draft_device=draft_device,
        )
        prefill, decode = self._notebook.get(FACTORS, self._devices_key(plan)) or (1.0, 1.0)
        return replace(plan, prefill=plan.prefill * prefill, decode=plan.decode * decode)

    def _carried_out(self, plan: Plan) -> Solution:
        handles = {handle.name: handle for handle in self.inventory.handles}
        counts = [share.count for share in plan.devices]
        placement = Placement.of([handles[share.device] for share in plan.devices], counts, plan.split_mode)
        if plan.draft_device in handles:
            draft = Placement.of([handles[plan.draft_device]], [draft_layers(self._options.draft)])
        else:
            draft = Placement(0, ())
        return Solution(plan, placement, draft)

    def _corrected(self, inventory: Inventory) -> Inventory:
        """Less the room that was found missing when this model was loaded before."""
        devices = tuple(
            replace(device, rest=device.rest + (self._notebook.get(SHORT, self._short_key(device.name)) or 0))
            for device in inventory.devices
        )
        return replace(inventory, devices=devices)

    def _known(self, inventory: Inventory) -> Plan | None:
        """An earlier plan for the same, if about as much memory is free as then."""
        data = self._notebook.get(PLANS, self._key(inventory))
        if data is None:
            return None
        try:
            plan = Plan.from_json(data)
        except (TypeError, LookupError):
            return None
        devices = {device.name: device for device in (*inventory.devices, inventory.cpu)}
        for share in plan.shares:
            device = devices[share.device]
            close = max(SAME[0] * share.free, SAME[1])
            if share.used > device.free or abs(device.free - share.free) > close:
                return None
        return plan

    def _identity(self) -> str:
        stats = [part.stat() for part in parts(self._path)]
        return json.dumps([str(self._path), [[stat.st_size, stat.st_mtime_ns] for stat in stats]])

    def _key(self, inventory: Inventory) -> str:
        """Of a plan: file, build, wishes and devices."""
        devices = [[device.name, device.description, device.rest] for device in inventory.devices]
        return json.dumps([self._identity(), llama_cpp.__version__, repr(self._options), devices, inventory.cpu.rest])

    def _short_key(self, device: str) -> str:
        return f"{self._identity()} | {device}"

    @staticmethod
    def _devices_key(plan: Plan) -> str:
        return json.dumps([[share.device, share.description] for share in plan.shares if share.count])


def _share(device: Device, first: int, layers: int, part: Bytes, *, output: bool) -> Share:
    return Share(
        device=device.name,
        description=device.description,
        kind=device.kind,
        first=first,
        layers=layers,
        output=output,
        weights=part.weights,
        kv=part.kv,
        compute=part.compute,
        rest=device.rest,
        free=device.free,
    )
