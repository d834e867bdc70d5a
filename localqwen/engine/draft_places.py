"""Where a draft model may lie, and what that makes of an answer's speed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from localqwen.engine.context import UBATCH
from localqwen.engine.inventory import Inventory
from localqwen.engine.shape import Shape
from localqwen.plan import Plan

GUESSES, ACCEPTED = 4, 2.4  # tokens a draft model guesses at a time, and of these those that hold
DRAFT_GAIN = 1.2  # times as fast an answer has to become for a draft model that nobody named


@dataclass(frozen=True, slots=True)
class DraftPlace:
    """What is ``left`` of the devices when a draft model takes the bytes ``needed`` of the one named ``device``."""

    left: Inventory
    device: str | None = None
    needed: int = 0


def draft_places(inventory: Inventory, draft: Shape | None, context: int) -> list[DraftPlace]:
    """Each device that has room for the draft model, the CPU last; without a draft, one place that takes nothing."""
    if draft is None:
        return [DraftPlace(inventory)]
    needed = draft_bytes(draft, context)
    places = []
    for device in inventory.devices:
        if device.usable > needed:
            less = tuple(
                replace(other, free=other.free - needed) if other is device else other for other in inventory.devices
            )
            places.append(DraftPlace(replace(inventory, devices=less), device.name, needed))
    cpu = replace(inventory.cpu, free=inventory.cpu.free - needed)
    return [*places, DraftPlace(replace(inventory, cpu=cpu), inventory.cpu.name, needed)]


def draft_bytes(draft: Shape, context: int) -> int:
    """Weights, KV cache and activations, generously: the activations of a GPU may be twice what the formula says."""
    return draft.weights + draft.layers * draft.kv_bytes(context) + 2 * draft.compute_bytes(context, UBATCH)


def seconds_with_draft(seconds: float, inventory: Inventory, draft: Shape | None, where: str | None) -> float:
    """Seconds per token of an answer, of which the model alone takes ``seconds``."""
    if draft is None or where is None:
        return seconds
    device = next((device for device in inventory.devices if device.name == where), inventory.cpu)
    return (seconds + GUESSES * draft.weights / device.speed.read) / (1 + ACCEPTED)


def about_draft(plan: Plan, draft: Path) -> str:
    """Whether a draft model that may rest is used, and why: a sentence."""
    if plan.draft_device is not None:
        return f"{draft.name} guesses tokens on {plan.draft_device}, which should make answers faster."
    return (
        f"{draft.name} is installed and could guess tokens, but answers should not become {DRAFT_GAIN:g} times as fast."
    )
