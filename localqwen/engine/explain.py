"""Why a plan is not better, and what would help: sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from localqwen.engine.candidate import Bytes, Count, Found, Wishes
from localqwen.engine.machine import Device
from localqwen.engine.search import AUTOMATIC_KV, UBATCHES, Search, can_share_tensors
from localqwen.engine.shape import KV_BLOCK, Shape
from localqwen.errors import InvalidRequestError, OutOfMemoryError
from localqwen.plan import Plan
from localqwen.plan_picture import mib

WORTH = 1.05  # times as fast, for a suggestion
K_BLOCK = 256
PADDING_SAVES = 0.072  # of Qwen2-72B's file, where the feed-forward width is no multiple of 256


def explained(plan: Plan, shape: Shape, search: Search, found: Found) -> Plan:
    """The plan with its sentences."""
    return replace(plan, why=tuple(_why(plan, shape, search)), help=tuple(_help(plan, shape, search, found)))


def _why(plan: Plan, shape: Shape, search: Search) -> Iterator[str]:
    total = shape.layers + 1
    if plan.gpu_layers == total:
        yield f"All {total} layers are on {_names(plan)}."
        return
    if not search.devices:
        yield "There is no GPU to use, so the CPU has all layers."
        return
    if not plan.gpu_layers:
        free = ", ".join(f"{device.name} has {mib(device.usable)}" for device in search.devices)
        yield f"The CPU has all layers, by wish or because {free}."
        return
    layer = max(shape.layer_bytes) + shape.kv_bytes(plan.context, plan.kv_type)
    left = ", ".join(f"{share.device} has {mib(max(0, share.free - share.used))} left" for share in plan.devices)
    yield f"{plan.gpu_layers} of {total} layers are on {_names(plan)}: one more takes up to {mib(layer)}, and {left}."


def _help(plan: Plan, shape: Shape, search: Search, found: Found) -> Iterator[str]:
    total = shape.layers + 1
    if plan.gpu_layers == total or not plan.gpu_layers or search.wishes.gpu_layers is not None:
        return
    key = found.candidate.key
    base = replace(search.wishes, context=key.context, kv_type=key.kv_type)
    for words, wishes in (
        (f"--ctx {key.context // 2}", replace(base, context=key.context // 2)),
        ("--kv-type q8_0", replace(base, kv_type="q8_0")),
    ):
        if wishes == base:
            continue
        better = replace(search, wishes=wishes, tensors=False).best(lambda _: None)
        if better is not None and found.candidate.decode / better.candidate.decode >= WORTH:
            layers = sum(better.candidate.counts[1:])
            speed = plan.decode * found.candidate.decode / better.candidate.decode
            yield f"{words} would put {layers} layers on {_names(plan)}: about {speed:.1f} tok/s."
    if shape.feed_forward % K_BLOCK:
        yield (
            f"The feed-forward width {shape.feed_forward} is no multiple of {K_BLOCK}: a file that `localqwen convert` "
            f"pads is up to {PADDING_SAVES:.0%} smaller."
        )
    missing = sum([*shape.layer_bytes, shape.output_bytes][: total - plan.gpu_layers])
    missing += (total - plan.gpu_layers) * shape.kv_bytes(key.context, key.kv_type)
    yield f"Another {missing / 2**30:.1f} GiB of GPU memory would hold the other layers."


def possible_kv(wishes: Wishes, head_width: int) -> Wishes:
    """The wishes, without KV types that llama.cpp has none of for heads of this width: asking it ends the process.

    Raises :class:`InvalidRequestError` where one was asked for.
    """
    if head_width % KV_BLOCK == 0:
        return wishes
    if wishes.kv_type not in {None, "f16"}:
        raise InvalidRequestError(
            f"--kv-type {wishes.kv_type} needs heads of a multiple of {KV_BLOCK} values, and this model's have "
            f"{head_width}: leave it out."
        )
    return replace(wishes, kv_type="f16")


def check_pins(wishes: Wishes, devices: Sequence[Device]) -> None:
    """Refuse what no machine like this can do. Raises :class:`InvalidRequestError`."""
    if not devices and (wishes.gpu_layers or wishes.tensor_split):
        option = "--gpu-layers" if wishes.gpu_layers else "--tensor-split"
        raise InvalidRequestError(f"No GPU that llama.cpp can use was found: leave out {option}.")
    if wishes.tensor_split is not None and len(wishes.tensor_split) != len(devices):
        raise InvalidRequestError(
            f"--tensor-split has {len(wishes.tensor_split)} parts and there are {len(devices)} devices "
            f"({', '.join(device.name for device in devices)}): give one for each."
        )
    if wishes.split_mode == "tensor" and not (can_share_tensors(devices) and wishes.kv_type in {None, "f16"}):
        raise InvalidRequestError(
            "--split-mode tensor needs two or more GPUs of one kind and an f16 KV cache: leave it out."
        )


def too_large(name: str, search: Search, count: Count) -> OutOfMemoryError:
    """What is missing where, and what would fit, when a search has found nothing."""
    shape, devices, cpu, wishes = search.shape, search.devices, search.cpu, search.wishes
    context = search.contexts()[-1]
    kv_type = wishes.kv_type or ("f16" if wishes.split_mode == "tensor" else AUTOMATIC_KV[-1])
    least = replace(wishes, context=context, ubatch=wishes.ubatch or UBATCHES[0], kv_type=kv_type)
    if wishes.gpu_layers is not None or wishes.tensor_split is not None:
        if wishes.tensor_split is None:
            least = replace(least, tensor_split=tuple(float(device.usable or 1) for device in devices))
        endless = [replace(device, free=1 << 60) for device in devices]
        found = replace(search, devices=endless, cpu=replace(cpu, free=1 << 60), wishes=least).best(count)
        assert found is not None, "without limits everything fits"
        free = replace(wishes, gpu_layers=None, tensor_split=None)
        fits = replace(search, wishes=free, tensors=False).best(count)
        instead = f"{sum(fits.candidate.counts[1:])} layers would fit" if fits else "no number of layers would fit"
        return OutOfMemoryError(
            f"{name} does not fit as asked: {_lacking(found.bytes, devices, cpu)}; {instead}, so leave out "
            "--gpu-layers and --tensor-split, or use a smaller --ctx."
        )
    # With everything in RAM, which is what is left when cards are too small.
    needed = shape.weights + shape.layers * shape.kv_bytes(context, kv_type) + cpu.rest
    needed += shape.compute_bytes(context, least.ubatch or UBATCHES[0])
    there = cpu.free + sum(device.usable for device in devices if not device.shares_ram)
    with_cards = f" ({', '.join(f'{device.name} {device.free / 1e9:.1f}' for device in devices)})" if devices else ""
    return OutOfMemoryError(
        f"{name} needs {needed / 1e9:.1f} GB of memory and {there / 1e9:.1f} GB are available{with_cards}: close other "
        "programs, use a smaller --ctx or a smaller model, or put layers on another GPU."
    )


def _lacking(needed: Sequence[Bytes], devices: Sequence[Device], cpu: Device) -> str:
    lacks = [
        f"{device.name} lacks {mib(part.all - device.usable)}"
        for part, device in zip(needed, (*devices, cpu), strict=True)
        if part.all > device.usable
    ]
    return " and ".join(lacks) or "its activations leave no room"


def _names(plan: Plan) -> str:
    return " and ".join(share.device for share in plan.devices)
