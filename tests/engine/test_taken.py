"""What a load really took of each device, and what is learned from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from localqwen.engine.inventory import CUDA_REST, RESTS, Inventory, identity
from localqwen.engine.notebook import Notebook
from localqwen.engine.planner import MOST_REST, Planner, PlanOptions
from localqwen.engine.registry import Handle
from localqwen.plan import Plan, Share
from tests.engine.machines import GIB, MIB, cpu, gpu
from tests.fixtures.hollow import QWEN2_05B, write_hollow

FREE = 8 * GIB
HANDLE = Handle(2, "GPU0", "Card", "CUDA", "gpu")
SHARE = Share("GPU0", "Card", "gpu", 0, 24, True, 2 * GIB, GIB, 100 * MIB, CUDA_REST, FREE)
HOST = Share("CPU", "Processor", "cpu", 0, 0, False, GIB, 0, 0, 0, 16 * GIB)
COUNTED = SHARE.used - SHARE.rest
PLAN = Plan("m", 24, 4096, "f16", 512, "layer", 4, (SHARE, HOST), 1.0, 1.0, exact=True)


def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int, plan: Plan, handle: Handle) -> tuple[int, object]:
    """What is said to be taken, and the rest that is noted, when so much less is free after the load."""
    monkeypatch.setattr(Handle, "memory", lambda _: (FREE - taken, 24 * GIB))
    notebook = Notebook(tmp_path / "planner.json")
    path = write_hollow(tmp_path / "Qwen2-0.5B.gguf", QWEN2_05B)
    planner = Planner(path, PlanOptions(), notebook)
    # The user's limit is below what is free, of which it is taken.
    planner._inventory = Inventory((replace(gpu(0, 5), free=5 * GIB),), cpu(16), (handle,), (FREE,))
    found = planner.loaded(plan)
    assert set(found) == {"GPU0"}, "RAM is everybody's"
    return found["GPU0"], notebook.get(RESTS, identity(handle))


def test_a_driver_that_takes_more_gets_more_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = COUNTED + CUDA_REST + 30 * MIB
    assert load(tmp_path, monkeypatch, taken, PLAN, HANDLE) == (taken, CUDA_REST + 30 * MIB)


def test_one_that_takes_less_keeps_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(tmp_path, monkeypatch, COUNTED + 10 * MIB, PLAN, HANDLE) == (COUNTED + 10 * MIB, CUDA_REST)


@pytest.mark.parametrize("rest", [MOST_REST + MIB, -MIB])
def test_what_another_program_does_is_not_the_drivers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: int
) -> None:
    assert load(tmp_path, monkeypatch, COUNTED + rest, PLAN, HANDLE) == (COUNTED + rest, None)


def test_the_most_that_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(tmp_path, monkeypatch, COUNTED + MOST_REST, PLAN, HANDLE)[1] == MOST_REST


@pytest.mark.parametrize(
    ("plan", "handle"),
    [
        (replace(PLAN, exact=False), HANDLE),
        (replace(PLAN, shares=(replace(SHARE, draft=GIB), HOST)), HANDLE),
        (PLAN, replace(HANDLE, backend="RPC", kind="rpc")),
    ],
)
def test_nothing_is_learned_from_what_was_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: Plan, handle: Handle
) -> None:
    taken, rest = load(tmp_path, monkeypatch, COUNTED + CUDA_REST + 30 * MIB, plan, handle)
    assert taken == COUNTED + CUDA_REST + 30 * MIB
    assert rest is None
