"""What a plan that memory was too small for teaches: which device lacked it, in llama.cpp's words."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager

from localqwen.engine import native
from localqwen.engine.planner import Planner
from localqwen.plan import Plan

RAM = re.compile(r"\bCPU\w* buffer|ggml_aligned_malloc")


def step_down(planner: Planner, plan: Plan) -> bool:
    """After an allocation has failed: plan a layer less there, and return whether another plan is worth a try."""
    device = device_at_fault(plan, " ".join(native.recent_errors()))
    if device is None:
        return False
    planner.out_of_memory(plan, device)
    planner.look_again()
    return True


@contextmanager
def remembering_death(planner: Planner, plan: Plan) -> Iterator[None]:
    """While the block runs: if a driver without memory ends the process, the next plan is a smaller one."""
    with native.at_abort(functools.partial(_died, planner, plan)):
        yield


def _died(planner: Planner, plan: Plan, sentence: str) -> None:
    # What else ends the process, as an RPC server that was ended by somebody, has nothing to do with the plan.
    if native.is_about_memory(sentence) and (device := device_at_fault(plan, sentence)) is not None:
        planner.died(plan, device)


def device_at_fault(plan: Plan, text: str) -> str | None:
    """The device of a plan that llama.cpp says had too little memory; the fullest one where it does not say.

    ``None`` if it was none of them.
    """
    if RAM.search(text):
        return None
    for share in plan.devices:
        if re.search(rf"\b{re.escape(share.device)}\b", text):
            return share.device
    fullest = min(plan.devices, key=lambda share: share.free - share.used, default=None)
    return fullest.device if fullest is not None else None
