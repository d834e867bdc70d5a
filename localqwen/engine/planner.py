"""Plans how a model is loaded: looks at the machine and the file, searches, and lets llama.cpp check the winner."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from localqwen.engine import probe, registry
from localqwen.engine.as_plan import as_plan
from localqwen.engine.asked import Asked
from localqwen.engine.calibration import calibrated, predicted
from localqwen.engine.candidate import Bytes, Candidate, Found, Wishes
from localqwen.engine.context import ContextOptions, parameters
from localqwen.engine.devices import available_memory, physical_cores
from localqwen.engine.draft_places import DRAFT_GAIN, DraftPlace, about_draft, draft_places, seconds_with_draft
from localqwen.engine.explain import Explainer
from localqwen.engine.gguf_file import read_shape
from localqwen.engine.inventory import (
    CUDA_CODE,
    CUDA_REST,
    PROMPT_GRAPH,
    RESTS,
    Inventory,
    Limit,
    identity,
    take_inventory,
)
from localqwen.engine.machine import Device
from localqwen.engine.model import Model
from localqwen.engine.notebook import Notebook
from localqwen.engine.padding import matrices, padded_shape
from localqwen.engine.pins import check_pins, possible_kv
from localqwen.engine.placement import ALL_LAYERS, Placement
from localqwen.engine.remembered import Remembered
from localqwen.engine.rope import Rope, YarnMode, capacity, rope_for
from localqwen.engine.search import DEFAULT_CONTEXT, Search
from localqwen.engine.shape import Shape
from localqwen.engine.speed import Work
from localqwen.engine.too_large import WITHOUT_DEVICES, Way, too_large
from localqwen.plan import LastLoad, Plan

IDLE_THREADS = 4  # with every layer on GPUs, the CPU has next to nothing to do
MOST_REST = 256 << 20
LEAST_PROMPT = 32  # with fewer tokens llama.cpp computes otherwise: no GPU helps with the CPU's layers
EXPLAINING, REFUSING = 6, 24  # questions to llama.cpp, beyond those of the search, that sentences are worth


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What the user pinned; ``None`` is planned.

    ``rpc`` are other machines' devices, ``draft`` a second model, which the plan may leave out if it ``may_rest``.
    """

    wishes: Wishes = field(default_factory=Wishes)
    threads: int | None = None
    limits: tuple[Limit, ...] | None = None
    rpc: tuple[str, ...] = ()
    draft: Path | None = None
    yarn: YarnMode = "auto"
    draft_may_rest: bool = False


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
        self._remembered = Remembered(notebook, path, options, options.threads, options.draft)
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
        inventory = self._remembered.corrected(self.inventory)
        plan = self._remembered.plan(inventory)
        if plan is None:
            plan = self._searched(inventory)
            self._remembered.keep(inventory, plan)
        return self._carried_out(replace(plan, why=(*plan.why, *inventory.lost)))

    def out_of_memory(self, plan: Plan, device: str) -> None:
        """Loading ``plan`` failed for want of memory on ``device``: plan a layer less there from now on.

        What the device said to have free is not believed any more, whatever the reason.
        """
        self._remembered.lacked(self.inventory, plan, device)

    def died(self, plan: Plan, device: str) -> None:
        """llama.cpp is about to end the process while it loads ``plan``, as it does when a driver has no memory left.

        The next time there is a layer less on ``device``, and no split of tensors if this was one.
        """
        if plan.split_mode == "tensor":
            self._remembered.avoid_tensors(self.inventory)
        self.out_of_memory(plan, device)

    def loaded(self, plan: Plan, reported: Mapping[str, int] | None = None) -> dict[str, int]:
        """It was loaded: note, and return, what it took on each device, by what is free there now.

        ``reported`` are bytes that llama.cpp says to have allocated, for devices that do not tell what is free.
        """
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
        self._remembered.note_load(plan, taken, reported or {})
        return taken

    def expected(self, plan: Plan, prompt: int) -> tuple[float, float]:
        """Tokens per second of a prompt of so many tokens and of the answer's beginning, by the cost model."""
        if plan.split_mode == "tensor":
            return plan.prefill, plan.decode
        return predicted(*self._work(plan, prompt))

    def measured(self, plan: Plan, prompt: int, prefill: float, decode: float) -> None:
        """A benchmark's tokens per second: for this file, the cost model says the same from now on.

        Of a split of tensors nothing is learned, since it is not the cards' speed that makes it differ.
        """
        if plan.split_mode == "layer":
            few = prompt < LEAST_PROMPT
            speeds = calibrated(*self._work(plan, prompt), None if few else prefill, decode)
            self._remembered.note_speeds(self.inventory, speeds)

    def _work(self, plan: Plan, prompt: int) -> tuple[Work, Device, list[Device], list[int]]:
        """What the cost model needs for a plan, and for a prompt of so many tokens."""
        inventory = self._remembered.corrected(self.inventory)
        at_once = prompt / math.ceil(prompt / plan.ubatch)  # the last ubatch may be short of tokens
        work = Work(read_shape(self._path), plan.context, plan.kv_type, at_once)
        used = {share.device for share in plan.devices if share.count}
        devices = [device for device in inventory.devices if device.name in used]
        counts = [plan.shares[-1].count, *(share.count for share in plan.devices if share.count)]
        return work, inventory.cpu, devices, counts

    def last_load(self) -> LastLoad | None:
        """What loading the file took the last time, and what had been projected."""
        return self._remembered.last_load()

    def _searched(self, inventory: Inventory) -> Plan:
        wishes = self._options.wishes
        with Model.open(self._path) as facts:
            native = facts.window.native
            wishes = possible_kv(wishes, facts.head_width)
            scaling = rope_for(wishes.context or 1, facts.window, self._options.yarn)  # refuses what cannot be
            longest = facts.window.longest if self._options.yarn == "auto" else capacity(scaling, facts.window)
        shape = read_shape(self._path)
        check_pins(wishes, inventory.devices, shape.layers)
        best: tuple[float, Plan, Search, Found] | None = None
        tensors = not self._remembered.avoids_tensors(inventory)
        context = wishes.context or (longest if wishes.context == 0 else DEFAULT_CONTEXT)
        count = Asked(lambda candidate: self._count(inventory, shape, candidate))
        draft = read_shape(self._options.draft) if self._options.draft is not None else None
        rests = [DraftPlace(inventory)] if draft is not None and self._options.draft_may_rest else []
        for place in [*rests, *draft_places(inventory, draft, context)]:
            search = Search(shape, place.left.devices, place.left.cpu, wishes, native, longest, tensors)
            found = search.best(count)
            if found is None:
                continue
            threads = self._options.threads or _threads(found.candidate.counts[0])
            plan = as_plan(self._path.name, shape, inventory, found, place, threads)
            cost = seconds_with_draft(1 / plan.decode, inventory, draft, place.device)
            if rests and place.device is not None:
                cost *= DRAFT_GAIN
            if best is None or cost < best[0]:
                best = cost, plan, search, found
        if best is None:
            raise too_large(self._path.name, search, count.at_most(REFUSING), self._ways(inventory, search))
        _, plan, search, found = best
        ways = self._ways(inventory, search)[:1] if self._options.limits is not None else []
        padded = (
            padded_shape(shape, matrices(self._path)) if plan.gpu_layers <= plan.layers and search.devices else None
        )
        plan = Explainer(plan, search, found, count.at_most(EXPLAINING), ways, padded).explained()
        if self._options.draft is not None and rests:
            plan = replace(plan, why=(*plan.why, about_draft(plan, self._options.draft)))
        return plan

    def _ways(self, inventory: Inventory, search: Search) -> list[Way]:
        """The same search without ``--devices``, and without ``--draft``."""
        ways = []
        if self._options.limits is not None:
            whole = take_inventory(self._notebook, None, self._available, self._options.threads)
            whole = self._remembered.corrected(whole)
            roomy = replace(search, devices=whole.devices, cpu=whole.cpu)
            count = Asked(lambda candidate: self._count(whole, search.shape, candidate)).at_most(EXPLAINING)
            ways.append(Way(WITHOUT_DEVICES, roomy, count))
        if self._options.draft is not None:
            alone = replace(search, devices=inventory.devices, cpu=inventory.cpu)
            count = Asked(lambda candidate: self._count(inventory, search.shape, candidate)).at_most(EXPLAINING)
            ways.append(Way("without --draft", alone, count))
        return ways

    def _count(self, inventory: Inventory, shape: Shape, candidate: Candidate) -> Sequence[Bytes] | None:
        key = candidate.key
        placement = Placement.of(inventory.handles, candidate.counts[1:], key.split_mode)
        # Positions may be scaled later, but that allocates nothing, and threads neither.
        options = ContextOptions(key.context, 1, Rope(1.0, key.context), key.kv_type, key.ubatch)
        used = placement.devices or ()
        careful = self._remembered.trying_tensors(inventory) if key.layout == "tensor" else nullcontext()
        with careful:
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

    def _carried_out(self, plan: Plan) -> Solution:
        handles = {handle.name: handle for handle in self.inventory.handles}
        counts = [share.count for share in plan.devices]
        placement = Placement.of([handles[share.device] for share in plan.devices], counts, plan.split_mode)
        if plan.draft_device in handles:
            draft = Placement.of([handles[plan.draft_device]], [ALL_LAYERS])
        else:
            draft = Placement(0, ())
        return Solution(plan, placement, draft)


def _threads(on_cpu: int) -> int:
    """CPU threads for so many layers there."""
    return physical_cores() if on_cpu else min(IDLE_THREADS, physical_cores())
