"""What is remembered of a file: plans that are still the best, devices that lacked memory, what a load took."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from localqwen import paths
from localqwen.engine.as_plan import as_plan
from localqwen.engine.candidate import Wishes
from localqwen.engine.draft_places import DraftPlace
from localqwen.engine.inventory import Inventory
from localqwen.engine.machine import Device, Speed
from localqwen.engine.notebook import Notebook
from localqwen.engine.registry import Handle
from localqwen.engine.remembered import LOADS, REMEMBERED_SECONDS, Remembered, still_best
from localqwen.engine.search import Search
from localqwen.engine.shape import Shape
from localqwen.plan import Plan
from localqwen.plan_picture import picture
from tests.engine.machines import GIB, MIB, QWEN2_05B, QWEN2_72B, cpu, gpu

CARD = gpu(0, 24)


def taken_stock(devices: Sequence[Device], host: Device) -> Inventory:
    handles = tuple(Handle(0, one.name, one.description, one.backend, one.kind) for one in devices)
    return Inventory(tuple(devices), host, handles, tuple(one.free for one in devices))


def planned(shape: Shape, inventory: Inventory, wishes: Wishes | None = None, place: DraftPlace | None = None) -> Plan:
    wishes = wishes or Wishes(context=32768)
    search = Search(shape, inventory.devices, inventory.cpu, wishes, 32768, 131072)
    found = search.best(search.estimate)
    assert found is not None
    return as_plan("m.gguf", shape, inventory, found, place or DraftPlace(inventory), 4)


def free(*devices: Device) -> dict[str, int]:
    return {device.name: device.free for device in devices}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    return path


@pytest.fixture
def notebook() -> Notebook:
    return Notebook(paths.planner_path())


def test_a_layer_that_has_room_now_is_not_given_away() -> None:
    host, card = cpu(64), gpu(0, 40)
    plan = planned(QWEN2_72B, taken_stock([card], host))
    assert 0 < plan.gpu_layers < 81
    layer = plan.shares[0].weights // plan.shares[0].count
    for more, expected in ((0, True), (layer // 4, True), (2 * layer, False)):
        now = replace(card, free=card.free + more)
        assert still_best(plan, free(card, host), [now], host) is expected


def test_ram_that_comes_and_goes_changes_nothing_for_a_plan_that_is_all_on_cards() -> None:
    host = cpu(64)
    plan = planned(QWEN2_05B, taken_stock([CARD], host))
    assert plan.gpu_layers == 25
    for ram in (20, 120):
        assert still_best(plan, free(CARD, host), [CARD], cpu(ram))
    assert not still_best(plan, free(CARD, host), [CARD], cpu(0.1))
    part = planned(QWEN2_72B, taken_stock([gpu(0, 20)], host))
    assert not still_best(part, free(gpu(0, 20), host), [gpu(0, 20)], cpu(80))


def test_a_rounder_cache_makes_way_when_there_is_room_for_a_finer_one() -> None:
    host, tight = cpu(64), gpu(0, 0.75)
    plan = planned(QWEN2_05B, taken_stock([tight], host))
    assert (plan.gpu_layers, plan.kv_type) == (25, "q8_0")
    assert not still_best(plan, free(tight, host), [gpu(0, 0.95)], host)


@settings(deadline=None, max_examples=25)
@given(st.integers(4, 60), st.integers(-(1 << 32), 1 << 33))
def test_a_kept_plan_fits_and_misses_no_layer(gib: int, more: int) -> None:
    host, card = cpu(64), gpu(0, gib)
    plan = planned(QWEN2_72B, taken_stock([card], host))
    now = replace(card, free=max(0, card.free + more))
    assume(still_best(plan, free(card, host), [now], host))
    assert all(share.used <= now.free for share in plan.devices)
    better = planned(QWEN2_72B, taken_stock([now], host))
    # With another KV type two layers may fit into one's room, which decides nothing: the two are about as fast.
    assert better.gpu_layers <= plan.gpu_layers + 1 or better.kv_type != plan.kv_type
    assert better.decode <= 1.05 * plan.decode


def test_a_kept_plan_says_what_is_free_now(file: Path, notebook: Notebook) -> None:
    inventory = taken_stock([CARD], cpu(64))
    remembered = Remembered(notebook, file, "options")
    remembered.keep(inventory, planned(QWEN2_05B, inventory))
    less = taken_stock([replace(CARD, free=CARD.free - 100 * MIB)], cpu(60))
    kept = remembered.plan(less)
    assert kept is not None
    assert [share.free for share in kept.shares] == [less.devices[0].free, less.cpu.free]


def test_a_device_with_nothing_but_the_draft_has_no_layers() -> None:
    cards = [replace(gpu(0, 8), description="a"), replace(gpu(1, 2, 200e9), description="b")]
    inventory = taken_stock(cards, cpu(8))
    plan = planned(QWEN2_05B, inventory, Wishes(context=4096), DraftPlace(inventory, "GPU1", 1 << 28))
    first, second, _ = plan.shares
    assert (first.layers, first.output) == (24, True)
    assert (second.layers, second.output, second.count, second.draft) == (0, False, 0, 1 << 28)
    assert plan.gpu_layers == 25
    assert "b: the draft model" in "\n".join(picture(plan))


def test_tensors_are_split_again_a_day_later_or_on_other_cards(
    file: Path, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered = Remembered(notebook, file, "options")
    two, three = (taken_stock([gpu(i, 24) for i in range(count)], cpu(64)) for count in (2, 3))
    remembered.avoid_tensors(two)
    assert remembered.avoids_tensors(two)
    assert not remembered.avoids_tensors(three)
    later = time.time() + REMEMBERED_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert not remembered.avoids_tensors(two)


def test_tensors_are_split_again_with_another_llama_cpp(
    file: Path, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered, cards = Remembered(notebook, file, "options"), taken_stock([gpu(0, 24), gpu(1, 24)], cpu(64))
    remembered.avoid_tensors(cards)
    monkeypatch.setattr("llama_cpp.__version__", "99")
    assert not remembered.avoids_tensors(cards)


def test_speeds_of_one_file_are_no_others(tmp_path: Path, notebook: Notebook) -> None:
    files = [tmp_path / name for name in ("small.gguf", "large.gguf")]
    for path in files:
        path.write_bytes(b"GGUF")
    inventory = taken_stock([CARD], cpu(64))
    small, large = (Remembered(notebook, path, "options", threads=4) for path in files)
    slow = Speed(1e9, 2e12, 3e9, 4e-6)
    small.note_speeds(inventory, {CARD.name: slow})
    assert small.corrected(inventory).devices[0].speed == slow
    assert small.corrected(inventory).cpu == inventory.cpu
    assert large.corrected(inventory) == inventory
    small.note_speeds(inventory, {"CPU": slow})
    assert small.corrected(inventory).cpu.speed == slow
    assert Remembered(notebook, files[0], "options", threads=8).corrected(inventory).cpu == inventory.cpu


def test_what_a_device_lacked_is_another_machines_business(file: Path, notebook: Notebook) -> None:
    remembered, inventory = Remembered(notebook, file, "options"), taken_stock([CARD], cpu(64))
    plan = planned(QWEN2_05B, inventory)
    remembered.lacked(inventory, plan, CARD.name)
    for free in (CARD.free, 2 * CARD.free):  # what it says is not believed
        (card,) = remembered.corrected(taken_stock([replace(CARD, free=free)], cpu(64))).devices
        assert card.usable < plan.shares[0].used - plan.shares[0].rest
    other = taken_stock([replace(CARD, description="Another card")], cpu(64))
    assert remembered.corrected(other) == other


@pytest.mark.parametrize("rubbish", [3, [1], {"taken": 3}, {"when": "x"}, [["CUDA0", 1, 2]]])
def test_a_load_noted_by_another_version_is_no_load(file: Path, notebook: Notebook, rubbish: object) -> None:
    remembered = Remembered(notebook, file, "options")
    assert remembered.last_load() is None
    inventory = taken_stock([CARD], cpu(64))
    plan = planned(QWEN2_05B, inventory)
    remembered.note_load(plan, {CARD.name: 7 * GIB})
    load = remembered.last_load()
    assert load is not None
    assert load.taken == ((CARD.name, plan.shares[0].used, 7 * GIB),)
    (key,) = notebook.section(LOADS)
    notebook.put(LOADS, key, rubbish)
    assert remembered.last_load() is None


def test_a_question_that_ends_the_process_is_not_asked_again(file: Path, notebook: Notebook) -> None:
    remembered, cards = Remembered(notebook, file, "options"), taken_stock([gpu(0, 24), gpu(1, 24)], cpu(64))
    with remembered.trying_tensors(cards):
        assert not remembered.avoids_tensors(cards), "nobody has died yet"
    assert not remembered.avoids_tensors(cards)
    child = os.fork()
    if child == 0:
        with remembered.trying_tensors(cards):
            os._exit(0)
    os.waitpid(child, 0)
    assert remembered.avoids_tensors(cards)
    with remembered.trying_tensors(cards):  # because the user insists
        pass
    assert remembered.avoids_tensors(cards)
