"""Plans how a model is loaded: looks at the machine and the file, searches, and lets llama.cpp check the winner."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import llama_cpp
import psutil

from localqwen import __version__
from localqwen.engine import probe, registry
from localqwen.engine.calibration import calibrated
from localqwen.engine.candidate import Bytes, Candidate, Found, Key, Wishes
from localqwen.engine.context import ContextOptions, parameters
from localqwen.engine.devices import available_memory, physical_cores
from localqwen.engine.draft_places import DraftPlace, draft_places, seconds_with_draft
from localqwen.engine.explain import check_pins, explained, too_large
from localqwen.engine.gguf_file import parts, read_shape
from localqwen.engine.inventory import (
    CUDA_CODE,
    CUDA_REST,
    PROMPT_GRAPH,
    RESTS,
    Inventory,
    Limit,
    identity,
    note_speed,
    take_inventory,
)
from localqwen.engine.machine import Device
from localqwen.engine.model import Model
from localqwen.engine.notebook import Notebook
from localqwen.engine.placement import ALL_LAYERS, Placement
from localqwen.engine.rope import Rope, YarnMode, capacity, rope_for
from localqwen.engine.search import DEFAULT_CONTEXT, Search
from localqwen.engine.shape import Shape
from localqwen.engine.speed import Work
from localqwen.errors import InvalidModelError
from localqwen.plan import Plan, Share

PLANS, SHORT, AVOIDED, LOADS = "plans", "short", "avoided", "loads"
IDLE_THREADS = 4  # with every layer on GPUs, the CPU has next to nothing to do
MOST_REST = 256 << 20
REMEMBERED_SECONDS = 24 * 3600.0
SAME = 0.05, 512 << 20  # a device is as free as it was within this part, or these bytes


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What the user pinned; ``None`` is planned. ``rpc`` are other machines' devices, ``draft`` a second model."""

    wishes: Wishes = field(default_factory=Wishes)
    threads: int | None = None
    limits: tuple[Limit, ...] | None = None
    rpc: tuple[str, ...] = ()
    draft: Path | None = None
    yarn: YarnMode = "auto"


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
            free = {device.name: device.free for device in (*inventory.devices, inventory.cpu)}
            self._notebook.put(PLANS, self._key(inventory), {"plan": plan.as_json(), "free": free})
        return self._carried_out(replace(plan, why=(*plan.why, *inventory.lost)))

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
        self._notebook.put(SHORT, key, [self._short(device) + more, time.time()])

    def died(self, plan: Plan, device: str) -> None:
        """llama.cpp is about to end the process while it loads ``plan``, as it does when a driver has no memory left.

        The next time there is a layer less on ``device``, and no split of tensors if this was one.
        """
        if plan.split_mode == "tensor":
            self._notebook.put(AVOIDED, self.identity, "tensor")
        self.out_of_memory(plan, device)

    def loaded(self, plan: Plan) -> dict[str, int]:
        """It was loaded: note, and return, what it took on each device, by what is free there now."""
        inventory = self.inventory
        before = {
            handle.name: (handle, free) for handle, free in zip(inventory.handles, inventory.unlimited, strict=True)
        }
        taken = {}
        for share in plan.devices:
            handle, free = before[share.device]
            used = free - handle.memory()[0]
            taken[share.device] = used
            rest = used - share.used + share.rest
            # Beyond that it is another program's doing, or the draft model's.
            if handle.backend in CUDA_CODE and plan.exact and not share.draft and 0 <= rest <= MOST_REST:
                self._notebook.put(RESTS, identity(handle), max(CUDA_REST, rest))
        record = [[share.device, share.used, taken[share.device]] for share in plan.devices]
        self._notebook.put(LOADS, self.identity, record)
        return taken

    def measured(self, plan: Plan, prefill: float, decode: float) -> None:
        """A benchmark's tokens per second: the devices' speeds become such that the cost model says the same."""
        inventory = self.inventory
        work = Work(read_shape(self._path), plan.context, plan.kv_type, plan.ubatch)
        used = {share.device for share in plan.devices if share.count}
        devices = [device for device in inventory.devices if device.name in used]
        counts = [plan.shares[-1].count, *(share.count for share in plan.devices if share.count)]
        if plan.split_mode == "layer":
            for device, speed in calibrated(work, inventory.cpu, devices, counts, prefill, decode).items():
                handle = next((one for one in inventory.handles if one.name == device), None)
                note_speed(self._notebook, handle, self._options.threads, speed)
            self.look_again()

    def _searched(self, inventory: Inventory) -> Plan:
        wishes = self._options.wishes
        with Model.open(self._path) as facts:
            native = facts.window.native
            scaling = rope_for(wishes.context or 1, facts.window, self._options.yarn)  # refuses what cannot be
            longest = facts.window.longest if self._options.yarn == "auto" else capacity(scaling, facts.window)
        shape = read_shape(self._path)
        check_pins(wishes, inventory.devices)
        best: tuple[float, Plan] | None = None
        tensors = not self.avoids_tensors()
        context = wishes.context or (longest if wishes.context == 0 else DEFAULT_CONTEXT)

        def count(candidate: Candidate) -> Sequence[Bytes] | None:
            return self._count(inventory, shape, candidate)

        draft = read_shape(self._options.draft) if self._options.draft is not None else None
        for place in draft_places(inventory, draft, context):
            search = Search(shape, place.left.devices, place.left.cpu, wishes, native, longest, tensors)
            found = search.best(count)
            if found is None:
                continue
            plan = self._made(inventory, shape, found, place)
            plan = explained(plan, shape, search, found)
            cost = seconds_with_draft(1 / plan.decode, inventory, draft, place.device)
            if best is None or cost < best[0]:
                best = cost, plan
        if best is None:
            raise too_large(self._path.name, search, count)
        return best[1]

    def _count(self, inventory: Inventory, shape: Shape, candidate: Candidate) -> Sequence[Bytes] | None:
        key = candidate.key
        placement = Placement.of(inventory.handles, candidate.counts[1:], key.split_mode)
        # Positions may be scaled later, but that allocates nothing, and threads neither.
        options = ContextOptions(key.context, 1, Rope(1.0, key.context), key.kv_type, key.ubatch)
        used = placement.devices or ()
        with self._careful(key):
            rows = 1 if key.layout == "tensor" else len(used)  # cards that share every tensor are one device there
            counted = probe.count(self._path, placement.parameters(), parameters(options), rows)
        if counted is None:
            return None
        if key.layout == "tensor":
            # Of weights and KV cache it counts all, of the activations what each card takes.
            shares = shape.shared(len(used), key.context, key.kv_type)
            counted = [*(Bytes(*share, counted[0].compute) for share in shares), counted[-1]]
        # CUDA takes more for prompts than llama.cpp counts.
        beyond = shape.pool_bytes(key.ubatch) + (0 if key.full else PROMPT_GRAPH)
        by_name = {
            handle.name: replace(part, compute=part.compute + beyond) if handle.backend in CUDA_CODE else part
            for handle, part in zip(used, counted, strict=False)
        }
        nothing = Bytes(0, 0, 0)
        return [*(by_name.get(handle.name, nothing) for handle in inventory.handles), counted[-1]]

    @contextmanager
    def _careful(self, key: Key) -> Iterator[None]:
        """Remember a question that may end the process, until it has not."""
        if key.layout != "tensor":
            yield
            return
        self._notebook.put(AVOIDED, self.identity, os.getpid())
        yield
        self._notebook.remove(AVOIDED, self.identity)

    def avoids_tensors(self) -> bool:
        """Whether a split of tensors ended a process before; one that is just trying has not."""
        mark = self._notebook.get(AVOIDED, self.identity)
        return bool(mark) and not (isinstance(mark, int) and psutil.pid_exists(mark))

    def _made(self, inventory: Inventory, shape: Shape, found: Found, place: DraftPlace) -> Plan:
        candidate, key = found.candidate, found.candidate.key
        shares = []

        def share(device: Device, first: int, count: int, part: Bytes) -> Share:
            has_output = first + count > shape.layers
            draft = place.needed if device.name == place.device else 0
            return _share(device, first, count - has_output, part, draft, output=has_output)

        start = candidate.counts[0]
        for device, count, part in zip(inventory.devices, candidate.counts[1:], found.bytes, strict=False):
            if count or device.name == place.device:
                shares.append(share(device, start, count, part))
            start += count
        on_cpu = candidate.counts[0]
        shares.append(share(inventory.cpu, 0, on_cpu, found.bytes[-1]))
        threads = self._options.threads or (physical_cores() if on_cpu else min(IDLE_THREADS, physical_cores()))
        return Plan(
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
            draft_device=place.device,
        )

    def _carried_out(self, plan: Plan) -> Solution:
        handles = {handle.name: handle for handle in self.inventory.handles}
        counts = [share.count for share in plan.devices]
        placement = Placement.of([handles[share.device] for share in plan.devices], counts, plan.split_mode)
        if plan.draft_device in handles:
            draft = Placement.of([handles[plan.draft_device]], [ALL_LAYERS])
        else:
            draft = Placement(0, ())
        return Solution(plan, placement, draft)

    def _corrected(self, inventory: Inventory) -> Inventory:
        """Less the room that was found missing when this model was loaded before."""
        devices = tuple(replace(device, rest=device.rest + self._short(device.name)) for device in inventory.devices)
        return replace(inventory, devices=devices)

    def _short(self, device: str) -> int:
        """Bytes that a device was found to lack, of late: it may have been another program's doing."""
        short, when = self._notebook.get(SHORT, self._short_key(device)) or (0, 0.0)
        return int(short) if time.time() - when < REMEMBERED_SECONDS else 0

    def _known(self, inventory: Inventory) -> Plan | None:
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

    @property
    def identity(self) -> str:
        """What notes about the file are kept by. Raises :class:`InvalidModelError` for one that is not whole."""
        return _identity(self._path)

    def _key(self, inventory: Inventory) -> str:
        """Of a plan: file, build, wishes and devices."""
        devices = [
            [device.name, device.description, device.rest, round(device.speed.read), round(device.speed.compute)]
            for device in (*inventory.devices, inventory.cpu)
        ]
        draft = _identity(self._options.draft) if self._options.draft is not None else None
        options = repr(self._options)
        return json.dumps([self.identity, draft, __version__, llama_cpp.__version__, options, devices])

    def _short_key(self, device: str) -> str:
        return f"{self.identity} | {device}"


def _identity(path: Path) -> str:
    """Tells files apart. Raises :class:`InvalidModelError` for one that is not whole."""
    try:
        stats = [part.stat() for part in parts(path)]
    except OSError as error:
        raise InvalidModelError(f"{error.filename} cannot be read: {error.strerror}.") from error
    return json.dumps([str(path), [[stat.st_size, stat.st_mtime_ns] for stat in stats]])


def _share(device: Device, first: int, layers: int, part: Bytes, draft: int, *, output: bool) -> Share:
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
        draft=draft,
        free=device.free,
    )
