"""A plan as lines of text, for the command line and the chat. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from localqwen.device_memory import DeviceMemory
from localqwen.plan import LastLoad, Plan, Share

WIDTH = 40
PARTS = (("█", "weights"), ("▓", "KV cache"), ("▒", "activations"), ("░", "driver, draft model"), ("·", "free"))
KINDS = {"cpu": "CPU", "gpu": "GPU", "igpu": "integrated GPU", "rpc": "other machine", "accel": "accelerator"}


def picture(plan: Plan, taken: Mapping[str, int] | None = None, memory: Iterable[DeviceMemory] = ()) -> Iterator[str]:
    """A bar for each device, what lies where, how fast that is expected to be, and why it is not faster.

    ``taken`` are the bytes that devices really gave, once the model is loaded, and ``memory`` is how full they are now.
    """
    yield (
        f"{plan.model}: {plan.context} tokens of context, {plan.kv_type} KV cache, ubatch {plan.ubatch}, "
        f"{plan.threads} threads" + (", every layer split over the cards" if plan.split_mode == "tensor" else "")
    )
    yield ""
    now = {device.name: in_use(device) for device in memory}
    name_width = max(len(share.device) for share in plan.shares)
    for share in plan.shares:
        yield f"{share.device:<{name_width}}  {_bar(share)}  {_gib(share.used)} of {_gib(share.free)} GiB"
        yield f"{'':<{name_width}}  {share.description}: {layers(share, plan)}"
        sizes = (
            ("weights", share.weights),
            ("KV cache", share.kv),
            ("activations", share.compute),
            ("draft model", share.draft),
        )
        yield f"{'':<{name_width}}  " + ", ".join(f"{name} {mib(size)}" for name, size in sizes if size)
        if taken and (real := taken.get(share.device)):
            yield f"{'':<{name_width}}  took {mib(real)}, planned were {mib(share.used)}"
        if share.device in now:
            yield f"{'':<{name_width}}  now {now[share.device]}"
    if plan.draft_device:
        yield f"The draft model goes to {plan.draft_device}."
    yield ""
    yield "  ".join(f"{mark} {name}" for mark, name in PARTS)
    yield ""
    counted = "counted by llama.cpp" if plan.exact else "by formula"
    yield (f"Expected: prefill {plan.prefill:,.0f} tok/s, decode {plan.decode:,.1f} tok/s. Bytes are {counted}.")
    yield from plan.why
    if plan.help:
        yield "What would help:"
        yield from (f"- {line}" for line in plan.help)


def last_load(load: LastLoad) -> Iterator[str]:
    """What a model really took the last time, beside what had been planned then; nothing where no device can tell."""
    for device, planned, real in load.taken:
        if real > 0:
            yield (
                f"The last load ({load.context} tokens, {load.kv_type} KV cache) took {mib(real)} on {device}, planned "
                f"were {mib(planned)}."
            )


def in_use(device: DeviceMemory) -> str:
    """How full a device is, and what of that is the model's."""
    return f"{_gib(device.used)} of {_gib(device.total)} GiB in use, {_gib(device.mine)} by the model"


def _bar(share: Share) -> str:
    """The device's memory, a part for each use; what is there at all gets at least one mark."""
    whole = max(share.free, share.used, 1)
    rest = share.rest + share.draft
    text = ""
    for (mark, _), size in zip(PARTS, (share.weights, share.kv, share.compute, rest), strict=False):
        cells = round(size / whole * WIDTH)
        text += mark * (max(1, cells) if size else 0)
    return f"{text[:WIDTH]:{PARTS[-1][0]}<{WIDTH}}"


def layers(share: Share, plan: Plan) -> str:
    """What of the model lies on a device; nothing to say of one that only holds what belongs to layers elsewhere."""
    parts = []
    if share.kind == "cpu":
        parts.append("token embedding")
    if share.layers:
        parts.append(
            f"layers {share.first} to {share.first + share.layers - 1}" if share.layers > 1 else f"layer {share.first}"
        )
    if share.output:
        parts.append("output")
    if plan.split_mode == "tensor" and share.kind != "cpu":
        return f"a part of each of the {plan.layers} layers"
    return ", ".join(parts) or "the draft model"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f}"


def mib(size: int) -> str:
    """Bytes, as a person reads them."""
    return f"{size / 2**20:,.0f} MiB"
