"""After loading: what the cards really gave is noted, and what drivers take besides is learned from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from localqwen import paths
from localqwen.engine.inventory import CUDA_REST, RESTS, Inventory
from localqwen.engine.notebook import Notebook
from localqwen.engine.planner import MOST_REST, Planner, PlanOptions
from localqwen.engine.registry import Handle
from localqwen.plan import Plan, Share
from tests.engine.machines import GIB, MIB, cpu, gpu

CARD = gpu(0, 24)
SHARE = Share(CARD.name, CARD.description, "gpu", 0, 24, True, 3 * GIB, GIB, 100 * MIB, CARD.rest, CARD.free)
HOST = Share("CPU", "A processor", "cpu", 0, 0, False, 1, 0, 1, 1, 16 * GIB)
PLAN = Plan("m.gguf", 24, 4096, "q8_0", 512, "layer", 4, (SHARE, HOST), 900.0, 45.6, exact=True)


@dataclass(frozen=True, slots=True)
class Card(Handle):
    """A card of which so many bytes are free now."""

    left: int = 0

    def memory(self) -> tuple[int, int]:
        return self.left, 24 * GIB


def planner_after(path: Path, notebook: Notebook, taken: int, backend: str = "CUDA") -> Planner:
    path.write_bytes(b"GGUF")
    planner = Planner(path, PlanOptions(), notebook)
    handle = Card(0, CARD.name, CARD.description, backend, "gpu", left=CARD.free - taken)
    planner._inventory = Inventory((CARD,), cpu(64), (handle,), (CARD.free,))
    return planner


@pytest.mark.parametrize(
    ("beyond", "changes", "learned"),
    [
        (150 * MIB, {}, 150 * MIB),
        (10 * MIB, {}, CUDA_REST),  # the driver may want more another time
        (MOST_REST + 1, {}, None),  # another program's
        (-MIB, {}, None),
        (150 * MIB, {"exact": False}, None),
        (150 * MIB, {"shares": (replace(SHARE, draft=GIB), HOST)}, None),
    ],
)
def test_what_the_driver_took_besides(
    tmp_path: Path, beyond: int, changes: dict[str, object], learned: int | None
) -> None:
    plan = replace(PLAN, **changes)  # type: ignore[arg-type]
    taken = plan.devices[0].used - plan.devices[0].rest + beyond
    notebook = Notebook(paths.planner_path())
    planner = planner_after(tmp_path / "m.gguf", notebook, taken)
    assert planner.loaded(plan) == {CARD.name: taken}
    assert list(notebook.section(RESTS).values()) == ([] if learned is None else [learned])
    load = planner.last_load()
    assert load is not None
    assert (load.context, load.kv_type, load.ubatch) == (4096, "q8_0", 512)
    assert load.taken == ((CARD.name, plan.devices[0].used, taken),)


def test_of_other_drivers_nothing_is_learned(tmp_path: Path) -> None:
    notebook = Notebook(paths.planner_path())
    planner_after(tmp_path / "m.gguf", notebook, SHARE.used + 50 * MIB, "Vulkan").loaded(PLAN)
    assert not notebook.section(RESTS)
