"""Cards that were here, or are on the bus, and that llama.cpp does not see."""

from __future__ import annotations

from pathlib import Path

import pytest

from localqwen import paths
from localqwen.engine import drivers, registry
from localqwen.engine.lost_cards import CHOSEN_BY, DAY, REMEMBERED_SECONDS, lost_cards
from localqwen.engine.notebook import Notebook
from localqwen.engine.planner import Planner, PlanOptions
from localqwen.engine.registry import Handle
from tests.fixtures.hollow import QWEN2_05B, write_hollow

CPU = Handle(1, "CPU", "Processor", "CPU", "cpu")
FIRST = Handle(2, "CUDA0", "NVIDIA RTX 4090", "CUDA", "gpu")
SECOND = Handle(3, "CUDA1", "NVIDIA RTX 4090", "CUDA", "gpu")
OTHER = Handle(4, "CUDA2", "NVIDIA RTX 3090", "CUDA", "gpu")
THEN = 1_700_000_000.0


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notebook:
    monkeypatch.setattr(drivers, "cards", list)
    for name in CHOSEN_BY:
        monkeypatch.delenv(name, raising=False)
    return Notebook(tmp_path / "planner.json")


def test_a_card_that_vanishes_is_said_for_a_while(notebook: Notebook) -> None:
    assert list(lost_cards(notebook, [FIRST, OTHER, CPU], THEN)) == []
    (said,) = lost_cards(notebook, [FIRST, CPU], THEN + DAY)
    assert said.startswith("NVIDIA RTX 3090 (CUDA) was here on 2023-11-1")
    assert "`localqwen doctor`" in said
    assert list(lost_cards(notebook, [FIRST, CPU], THEN + REMEMBERED_SECONDS)) == []
    assert list(lost_cards(notebook, [FIRST, OTHER, CPU], THEN + 2 * REMEMBERED_SECONDS)) == []
    assert len(list(lost_cards(notebook, [FIRST, CPU], THEN + 2 * REMEMBERED_SECONDS + DAY))) == 1, "it was noted anew"


def test_one_of_two_alike(notebook: Notebook) -> None:
    list(lost_cards(notebook, [FIRST, SECOND, CPU], THEN))
    for _ in range(2):  # seeing the one that is left does not make the other one forgotten
        (said,) = lost_cards(notebook, [FIRST, CPU], THEN + 2 * DAY)
        assert said.startswith("1 of 2 cards NVIDIA RTX 4090 (CUDA) was here")


def test_cards_that_the_user_hides_are_not_lost(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    list(lost_cards(notebook, [FIRST, SECOND, CPU], THEN))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert list(lost_cards(notebook, [FIRST, CPU], THEN)) == []


def test_a_card_on_the_bus_without_a_backend(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "cards", lambda: ["NVIDIA", "NVIDIA", "Intel"])
    (said,) = lost_cards(notebook, [CPU], THEN)
    assert said == "The machine has a card of NVIDIA that llama.cpp does not see: `localqwen doctor` says what to do."
    assert list(lost_cards(notebook, [FIRST, CPU], THEN)) == []


def test_the_last_card_that_falls_off_the_bus_is_said_to_be_gone(notebook: Notebook) -> None:
    list(lost_cards(notebook, [FIRST, CPU], THEN))
    (said,) = lost_cards(notebook, [CPU], THEN + 60)
    assert said.startswith("NVIDIA RTX 4090 (CUDA) was here")


def test_rubbish_in_the_notebook(notebook: Notebook) -> None:
    notebook.put("cards", "x", "y")
    assert list(lost_cards(notebook, [CPU], THEN)) == []


def test_the_plan_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "cards", lambda: ["NVIDIA"])
    for name in CHOSEN_BY:
        monkeypatch.delenv(name, raising=False)
    if any(handle.kind == "gpu" for handle in registry.handles()):
        pytest.skip("llama.cpp sees a card here")
    path = write_hollow(tmp_path / "Qwen2-0.5B.gguf", QWEN2_05B)
    for _ in range(2):  # the second is a plan that is known
        why = Planner(path, PlanOptions(), Notebook(paths.planner_path())).plan().plan.why
        assert sum("card of NVIDIA that llama.cpp does not see" in line for line in why) == 1
