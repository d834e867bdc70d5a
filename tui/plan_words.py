"""Where a model lies, in words: for those who cannot see a picture of it, and where there is none. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from localqwen.device_memory import DeviceMemory
from localqwen.events import Planned, Ready
from localqwen.plan_picture import in_use, layers, mib
from tui.backend_state import Failed, State


def memory_words(memory: Iterable[DeviceMemory]) -> list[str]:
    """A line for each device: how full it is, and what of that is the model's."""
    return [f"{device.name}: {in_use(device)}." for device in memory]


def missing_plan_words(state: State, address: str | None) -> str:
    """Why there is no plan."""
    match state:
        case Failed(reason):
            return f"There is no plan. {reason}"
        case Ready() if address is not None:
            return f"{address} does not tell where its model lies."
        case _:
            return "The model is being planned."


def plan_words(planned: Planned) -> Iterator[str]:
    """A plan in sentences, as a screen reader reads them."""
    plan, taken = planned.plan, dict(planned.taken)
    yield f"{plan.model} has {plan.context} tokens of context, and {plan.layers} layers."
    for share in plan.shares:
        what, size = layers(share, plan) or "no layers", mib(taken.get(share.device, share.used))
        yield f"{share.device}, {share.description}: {what}; {size} of {mib(share.free)}."
    if plan.draft_device:
        yield f"The draft model goes to {plan.draft_device}."
    yield f"Expected are {plan.prefill:,.0f} tokens a second for what is read and {plan.decode:,.1f} for answers."
    yield from plan.why
    yield from plan.help
