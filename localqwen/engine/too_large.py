"""A model that does not fit as asked: how much is missing where, and what would fit. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from localqwen.engine.candidate import Count, Found, Wishes
from localqwen.engine.search import AUTOMATIC_KV, UBATCHES, Search
from localqwen.errors import OutOfMemoryError

ENDLESS = 1 << 60
WITHOUT_DEVICES = "without --devices"
LEAST, STEP = 256, 1024  # tokens of a context that is proposed


@dataclass(frozen=True, slots=True)
class Way:
    """Another search that may find something, and ``words`` for it such as "without --devices"."""

    words: str
    search: Search
    count: Count


def too_large(name: str, search: Search, count: Count, ways: Sequence[Way] = ()) -> OutOfMemoryError:
    """What is missing where, and what would fit, when ``search`` has found nothing; ``ways`` are tried besides."""
    wishes, least = search.wishes, _least(search)
    found = _without_limits(replace(search, wishes=least), count)
    fitting = [*_other_options(search, count), *(way.words for way in ways if way.search.best(way.count) is not None)]
    pinned = wishes != Wishes() or bool(ways)
    lacks = _lacking(search, found) if found is not None else "its activations leave no room"
    if not pinned and not search.devices and found is not None:
        needed, there = found.bytes[-1].all + search.cpu.rest, max(0, search.cpu.free)
        said = f"{name} needs {needed / 1e9:.1f} GB of memory and {there / 1e9:.1f} GB are available"
    elif pinned:
        said = f"{name} does not fit as asked: {lacks}"
    else:
        said = f"{name} does not fit: {lacks}"
    if wishes.gpu_layers is not None or wishes.tensor_split is not None:
        layers = _layers_that_fit(search, count)
        said += f"; {layers or 'no number of'} layers would fit"
        said += f", so leave out {' and '.join(_pins_of_layers(wishes))}" if layers else ""
    if fitting:
        listed = " or ".join([", ".join(fitting[:-1]), fitting[-1]] if len(fitting) > 1 else fitting)
        return OutOfMemoryError(f"{said}; it would fit {listed}.")
    return OutOfMemoryError(f"{said}, and no smaller --ctx helps: close other programs, or use a smaller model.")


def _least(search: Search) -> Wishes:
    """The wishes, and what takes the least memory where there are none."""
    wishes = search.wishes
    kv_type = wishes.kv_type or ("f16" if wishes.split_mode == "tensor" else AUTOMATIC_KV[-1])
    return replace(wishes, context=search.contexts()[-1], ubatch=wishes.ubatch or UBATCHES[0], kv_type=kv_type)


def _without_limits(search: Search, count: Count) -> Found | None:
    """What the CPU would have to take beside the cards as they are; with endless cards if that is not the question."""
    endless = replace(search.cpu, free=ENDLESS)
    found = replace(search, cpu=endless).best(count)
    if found is not None:
        return found
    wishes = search.wishes
    if wishes.gpu_layers is not None and wishes.tensor_split is None and wishes.split_mode != "tensor":
        wishes = replace(wishes, tensor_split=tuple(float(device.usable or 1) for device in search.devices))
    cards = [replace(device, free=ENDLESS, most=ENDLESS) for device in search.devices]
    return replace(search, devices=cards, cpu=endless, wishes=wishes).best(count)


def _lacking(search: Search, found: Found) -> str:
    """Where there is too little, by how much, and for which layers."""
    devices = (*search.devices, search.cpu)
    in_ram = sum(part.all for part, device in zip(found.bytes, devices, strict=True) if device.shares_ram)
    lacks = []
    for part, device in zip(found.bytes, devices, strict=True):
        needed = in_ram if device is search.cpu else part.all
        missing = needed - min(device.free - device.rest, device.most)  # which may be less than nothing
        if missing > 0:
            lacks.append(f"{device.name} lacks {-(-missing >> 20):,} MiB")
    said = " and ".join(lacks) or "whole layers and activations leave no room"
    counts = found.candidate.counts
    if search.devices and found.candidate.key.split_mode == "layer" and search.wishes.gpu_layers is None:
        said = f"with {sum(counts[1:])} of {sum(counts)} layers on {_names(search, found)}, {said}"
    return said


def _names(search: Search, found: Found) -> str:
    counted = zip(search.devices, found.candidate.counts[1:], strict=True)
    return " and ".join(device.name for device, count in counted if count) or "GPUs"


def _layers_that_fit(search: Search, count: Count) -> int:
    free = replace(search.wishes, gpu_layers=None, tensor_split=None, split_mode="layer")
    found = replace(search, wishes=free, tensors=False).best(count)
    return sum(found.candidate.counts[1:]) if found is not None else 0


def _pins_of_layers(wishes: Wishes) -> Iterator[str]:
    if wishes.gpu_layers is not None:
        yield "--gpu-layers"
    if wishes.tensor_split is not None:
        yield "--tensor-split"
    if wishes.split_mode == "tensor":
        yield "--split-mode"


def _other_options(search: Search, count: Count) -> Iterator[str]:
    """The options that would do, with all others as they are."""
    wishes = search.wishes
    if wishes.split_mode == "tensor" and _fits(search, replace(wishes, split_mode="layer"), count):
        yield "with --split-mode layer"
    rounded = wishes.kv_type == "f16" and wishes.split_mode != "tensor"
    if rounded and _fits(search, replace(wishes, kv_type="q8_0"), count):
        yield "with --kv-type q8_0"
    smaller = wishes.ubatch is not None and wishes.ubatch > UBATCHES[0]
    if smaller and _fits(search, replace(wishes, ubatch=UBATCHES[0]), count):
        yield f"with --ubatch {UBATCHES[0]}"
    if context := _longest_context(search, count):
        yield f"with --ctx {context}"


def _longest_context(search: Search, count: Count) -> int:
    """The longest context that fits with all else as asked, nearly; 0 if none does."""
    least = _least(search)
    fitting, too_long = 0, search.contexts()[-1]
    step = STEP if too_long > 4 * STEP else LEAST
    if too_long <= LEAST or not _fits(search, replace(least, context=LEAST), count):
        return 0
    fitting = LEAST
    while too_long - fitting > step:
        middle = max(fitting + step, (fitting + too_long) // 2 // step * step)
        if middle >= too_long:
            break
        if _fits(search, replace(least, context=middle), count):
            fitting = middle
        else:
            too_long = middle
    return fitting


def _fits(search: Search, wishes: Wishes, count: Count) -> bool:
    other = replace(search, wishes=wishes)
    # What does not fit by the most hopeful formula need not be asked about.
    return replace(other).best(other.estimate) is not None and other.best(count) is not None
