"""Why a plan is not better, and what would help: sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from localqwen.engine.candidate import Bytes, Candidate, Count, Found, Wishes
from localqwen.engine.search import Search
from localqwen.engine.shape import Shape
from localqwen.engine.too_large import WITHOUT_DEVICES, Way
from localqwen.plan import KvType, Plan
from localqwen.plan_picture import mib

WORTH = 1.05  # times as fast, for a suggestion
ANOTHER = "another GPU"


@dataclass(frozen=True, slots=True)
class Explainer:
    """``search`` has found ``found``, which is ``plan``.

    ``count`` asks llama.cpp, ``ways`` are other searches with the words for what has to be done for them, and
    ``padded`` the shape of the same model with a feed-forward width that K-quants divide, where it has none.
    """

    plan: Plan
    search: Search
    found: Found
    count: Count
    ways: Sequence[Way] = ()
    padded: Shape | None = None

    def explained(self) -> Plan:
        """The plan with its sentences."""
        return replace(self.plan, why=tuple(self._why()), help=tuple(self._help()))

    def _why(self) -> Iterator[str]:
        yield self._why_there()
        plan, search = self.plan, self.search
        longest = search.contexts()[0]
        if plan.context < longest:
            other = self._best(replace(search.wishes, context=longest))
            if other is None:
                yield f"A context of {longest} tokens does not fit."
            else:
                longer = other.candidate.score / self.found.candidate.score
                yield f"With a context of {longest} tokens a turn would take about {longer:.2f} times as long."
        if plan.kv_type != "f16" and search.wishes.kv_type is None:
            yield self._why_rounded()

    def _why_there(self) -> str:
        """Why the layers are where they are."""
        plan, search = self.plan, self.search
        layer, total = self._layer(), plan.layers + 1
        if not search.devices:
            return self._why_no_gpu()
        if plan.gpu_layers == total:
            shape = search.shape
            reads = sum([*shape.layer_reads, shape.output_bytes])
            return (
                f"All {total} layers are on {_names(plan)}: a token of the answer takes as long as reading "
                f"{reads / 1e9:.1f} GB there."
            )
        if search.wishes.gpu_layers is not None:
            return f"{plan.gpu_layers} of {total} layers are on GPUs, as --gpu-layers asks."
        if not plan.gpu_layers:
            return self._why_none_there(layer)
        said = f"{plan.gpu_layers} of {total} layers are on {_names(plan)}"
        left = {share.device: max(0, share.free - share.used) for share in plan.devices}
        if max(left.values()) > layer:
            return f"{said}: with one more a turn would take longer."
        listed = ", ".join(f"{name} has {mib(room)} left" for name, room in left.items())
        return f"{said}: one more takes up to {mib(layer)}, and {listed}."

    def _why_no_gpu(self) -> str:
        if any(way.words == WITHOUT_DEVICES for way in self.ways):
            return "--devices leaves no GPU, so the CPU has all layers."
        return (
            "There is no GPU to use, so the CPU has all layers: `localqwen doctor` says whether one is there that "
            "cannot be used."
        )

    def _why_none_there(self, layer: int) -> str:
        search = self.search
        free = ", ".join(f"{device.name} has {mib(device.usable)}" for device in search.devices)
        if self._hopeful(replace(search.wishes, gpu_layers=1)) is None:
            return f"The CPU has all layers: one takes up to {mib(layer)} besides its activations, and {free}."
        return f"The CPU has all layers: with some elsewhere ({free}) a turn would take longer."

    def _why_rounded(self) -> str:
        plan = self.plan
        finer: KvType = "f16"
        other = self._best(replace(self.search.wishes, context=plan.context, kv_type=finer))
        if other is None:
            return f"The KV cache is {plan.kv_type}: {finer} does not fit."
        return f"The KV cache is {plan.kv_type}: with {finer}, {self._outcome(other)}."

    def _help(self) -> Iterator[str]:
        plan, wishes = self.plan, self.search.wishes
        kept = replace(wishes, context=plan.context, kv_type=plan.kv_type)
        for words, changed in (
            (f"With --ctx {plan.context // 2}", replace(kept, context=plan.context // 2)),
            ("With --kv-type q8_0", replace(kept, kv_type="q8_0")),
            ("With --kv-type f16", replace(kept, kv_type="f16")),
            ("Without --gpu-layers", replace(kept, gpu_layers=None)),
            ("Without --tensor-split", replace(kept, tensor_split=None)),
            ("Without --split-mode", replace(kept, split_mode=None)),
            ("Without --ubatch", replace(kept, ubatch=None)),
        ):
            other = self._best(changed) if changed != kept else None
            if other is not None and self._is_worth(other):
                yield f"{words}: {self._outcome(other)}."
        for way in self.ways:
            other = way.search.best(way.count)
            if other is not None and self._is_worth(other):
                yield f"{way.words.capitalize()}: {self._outcome(other, way.search)}."
        if self.padded is not None and (sentence := self._padding(self.padded)):
            yield sentence
        if sentence := self._another_gpu():
            yield sentence

    def _padding(self, padded: Shape) -> str:
        """What a padded file saves, and makes of the speed."""
        search = self.search
        other = replace(search, shape=padded, wishes=replace(search.wishes, context=self.plan.context))

        def count(candidate: Candidate) -> Sequence[Bytes] | None:
            # There is no such file to ask about, but its activations are this one's but for a few columns.
            counted = self.count(candidate)
            if counted is None:
                return None
            sizes = zip(other.estimate(candidate), counted, strict=True)
            return [replace(said, compute=real.compute) for said, real in sizes]

        saved = 1 - padded.weights / search.shape.weights
        found = other.best(count)
        if saved <= 0 or found is None:
            return ""
        return (
            f"A file that `localqwen convert` pads: its weights are {saved:.1%} smaller, since K-quants need a "
            f"feed-forward width that is a multiple of 256, and here it is {search.shape.feed_forward}; "
            f"{self._outcome(found)}."
        )

    def _another_gpu(self) -> str:
        """How much memory the layers that are not on GPUs would need there."""
        plan, search = self.plan, self.search
        missing = plan.layers + 1 - plan.gpu_layers
        if not missing or search.wishes.gpu_layers is not None or search.wishes.tensor_split is not None:
            return ""
        shape, devices = search.shape, search.devices
        needed = sum([*shape.layer_bytes, shape.output_bytes][:missing])
        needed += min(missing, shape.layers) * shape.kv_bytes(plan.context, plan.kv_type)
        needed += 3 * shape.compute_bytes(plan.context, plan.ubatch)  # as GPUs that take turns allocate
        if not devices:
            return f"A GPU with {needed / 2**30:.1f} GiB free would hold the layers."
        best = max(devices, key=lambda device: device.speed.read)
        card = replace(best, name=ANOTHER, free=needed + best.rest)
        wishes = replace(search.wishes, context=plan.context, kv_type=plan.kv_type, ubatch=plan.ubatch)
        more = replace(search, devices=[*devices, card], wishes=wishes, tensors=False)
        found = more.best(more.estimate)
        size = (
            f"Another GPU like {best.name} with {(needed + best.rest) / 2**30:.1f} GiB free would hold the other layers"
        )
        return f"{size}: {self._outcome(found, more)}." if found is not None else f"{size}."

    def _best(self, wishes: Wishes) -> Found | None:
        """What there would be with other wishes; llama.cpp is asked only where the most hopeful formula has hopes."""
        other = replace(self.search, wishes=wishes)
        return other.best(self.count) if self._hopeful(wishes) is not None else None

    def _hopeful(self, wishes: Wishes) -> Found | None:
        other = replace(self.search, wishes=wishes)
        return other.best(other.estimate)

    def _is_worth(self, other: Found) -> bool:
        return self.found.candidate.decode / other.candidate.decode >= WORTH

    def _outcome(self, other: Found, search: Search | None = None) -> str:
        """The layers on GPUs, and the speed."""
        candidate, devices = other.candidate, (search or self.search).devices
        counted = zip(devices, candidate.counts[1:], strict=True)
        names = " and ".join(device.name for device, count in counted if count) or "GPUs"
        layers = f"{sum(candidate.counts[1:])} of {self.plan.layers + 1} layers on {names}"
        return f"{layers}, about {1 / candidate.decode:,.1f} tok/s"

    def _layer(self) -> int:
        shape, plan = self.search.shape, self.plan
        return max(shape.layer_bytes) + shape.kv_bytes(plan.context, plan.kv_type)


def _names(plan: Plan) -> str:
    return " and ".join(share.device for share in plan.devices if share.count)
