"""The best placement: it fits, nothing that fits is better, and more memory makes nothing slower."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localqwen.engine.candidate import Bytes, Candidate, Found, Wishes
from localqwen.engine.machine import Device
from localqwen.engine.search import UBATCHES, Search, split
from localqwen.engine.shape import Shape
from localqwen.engine.speed import GPU_EFFICIENCY
from tests.engine.machines import (
    GIB,
    MIB,
    QWEN2_05B,
    QWEN2_72B,
    SMALL,
    counted,
    cpu,
    every_split,
    gpu,
    layout_of,
)

NATIVE, LONGEST = 32768, 131072
SPEEDS = st.sampled_from([200e9, 450e9, 900e9, 2000e9])
CONTEXTS = st.sampled_from([None, 4096, 32768, 131072])
KV = st.sampled_from([None, "f16", "q8_0", "q4_0"])


def searched(
    shape: Shape, devices: Sequence[Device], host: Device, wishes: Wishes | None = None
) -> tuple[Search, Found | None]:
    search = Search(shape, devices, host, wishes or Wishes(), NATIVE, LONGEST)
    return search, search.best(lambda candidate: counted(search, candidate))


def fits(search: Search, parts: Sequence[Bytes]) -> bool:
    devices = (*search.devices, search.cpu)
    pairs = list(zip(parts, devices, strict=True))
    in_ram = sum(part.all for part, device in pairs if device.shares_ram)
    return in_ram <= search.cpu.usable and all(part.all <= device.usable for part, device in pairs)


def everything(search: Search) -> Iterator[Candidate]:
    """Every candidate there is, one after the other: what the search does cleverly, done plainly."""
    keys = list(search.every_key())
    for counts in every_split(search.shape.layers + 1, 1 + len(search.devices)):
        yield from (search.scored(key, counts) for key in keys if key.layout == layout_of(counts))


KINDS: Any = st.sampled_from(["gpu", "gpu", "rpc"])
CARDS = st.lists(st.tuples(st.floats(0.03, 0.6), SPEEDS, KINDS), max_size=3)
MACHINES = CARDS | st.lists(st.tuples(st.floats(0.03, 0.6), SPEEDS, st.just("igpu")), min_size=1, max_size=1)
PINS = st.fixed_dictionaries(
    {
        "context": st.sampled_from([1024, 4096, 16384]),
        "kv_type": KV,
        "ubatch": st.sampled_from([None, *UBATCHES]),
        "split_mode": st.sampled_from([None, "layer"]),
    }
)


def small(cards: Sequence[tuple[float, float, Any]], ram: float, pins: dict[str, Any]) -> tuple[Search, Found | None]:
    devices = [gpu(i, gib, read, kind, rest=16 * MIB) for i, (gib, read, kind) in enumerate(cards)]
    return searched(SMALL, devices, replace(cpu(ram), rest=16 * MIB), Wishes(**pins))


@settings(max_examples=150, deadline=None)
@given(MACHINES, st.floats(0.03, 0.5), PINS)
def test_nothing_that_fits_is_better(cards: list[tuple[float, float, Any]], ram: float, pins: dict[str, Any]) -> None:
    search, found = small(cards, ram, pins)
    fitting = [one for one in everything(search) if fits(search, counted(search, one))]
    if found is None:
        assert not fitting
        return
    assert found.exact
    assert fits(search, found.bytes)
    assert sum(found.candidate.counts) == SMALL.layers + 1
    assert found.candidate.score <= min(one.score for one in fitting) * (1 + 1e-9)


@settings(max_examples=100, deadline=None)
@given(MACHINES, st.floats(0.03, 0.5), PINS, st.integers(0, 3), st.floats(1, 4))
def test_more_memory_anywhere_never_makes_it_slower(
    cards: list[tuple[float, float, Any]], ram: float, pins: dict[str, Any], where: int, more: float
) -> None:
    larger = [(gib * more if at == where else gib, read, kind) for at, (gib, read, kind) in enumerate(cards)]
    scores = []
    for some, in_ram in ((cards, ram), (larger, ram * more if where >= len(cards) else ram)):
        _, found = small(some, in_ram, pins)
        scores.append(found.candidate.score if found is not None else float("inf"))
    assert scores[1] <= scores[0] * (1 + 1e-9)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.floats(4, 192), SPEEDS, KINDS), max_size=8), st.floats(4, 192), CONTEXTS, KV)
def test_a_72b_model_on_any_machine(
    cards: list[tuple[float, float, Any]], ram: float, context: int | None, kv: Any
) -> None:
    devices = [gpu(i, gib, read, kind) for i, (gib, read, kind) in enumerate(cards)]
    search, found = searched(QWEN2_72B, devices, cpu(ram), Wishes(context=context, kv_type=kv))
    if found is None:
        assert ram + sum(gib for gib, _, _ in cards) < (110 if context == LONGEST else 60)
        return
    assert found.exact
    assert fits(search, found.bytes)
    assert sum(found.candidate.counts) == QWEN2_72B.layers + 1


def test_without_a_gpu_the_cpu_has_everything() -> None:
    _, found = searched(QWEN2_72B, [], cpu(128))
    assert found is not None
    assert found.candidate.counts == (81,)
    assert (found.candidate.key.context, found.candidate.key.kv_type) == (32768, "f16")


def test_two_small_cards_hold_everything_at_a_small_ubatch() -> None:
    padded = replace(
        QWEN2_72B, layer_bytes=tuple(int(size * 0.92) for size in QWEN2_72B.layer_bytes), feed_forward=29696
    )
    # What is left of 23.7 GiB when the process has its context on the card.
    _, found = searched(padded, [gpu(0, 23.19), gpu(1, 23.19)], cpu(64), Wishes(context=32768))
    assert found is not None
    assert found.candidate.counts[0] == 0
    assert found.candidate.key.kv_type == "q8_0"
    assert found.candidate.key.ubatch < 512


def test_layers_go_to_the_fast_card_first() -> None:
    _, found = searched(QWEN2_05B, [gpu(0, 8, 200e9), gpu(1, 8, 900e9)], cpu(8), Wishes(context=4096))
    assert found is not None
    assert found.candidate.counts == (0, 0, 25)


def test_what_is_pinned_stays() -> None:
    devices = [gpu(0, 24), gpu(1, 24)]
    wishes = Wishes(context=4096, kv_type="q8_0", ubatch=256, gpu_layers=13, tensor_split=(3, 1))
    _, found = searched(QWEN2_05B, devices, cpu(8), wishes)
    assert found is not None
    assert found.candidate.counts == (12, 10, 3)
    assert (found.candidate.key.kv_type, found.candidate.key.ubatch) == ("q8_0", 256)


def test_alike_cards_share_every_tensor() -> None:
    read = 42.6 * sum([*QWEN2_72B.layer_reads, QWEN2_72B.output_bytes]) / GPU_EFFICIENCY  # 42.6 tok/s, as an H200
    cards = [gpu(0, 80, read), gpu(1, 80, read)]
    _, found = searched(QWEN2_72B, cards, cpu(64))
    assert found is not None
    assert found.candidate.key.split_mode == "tensor"
    _, plain = searched(QWEN2_72B, cards, cpu(64), Wishes(split_mode="layer"))
    assert plain is not None
    assert plain.candidate.decode / found.candidate.decode == pytest.approx(1.47, rel=0.02)


def test_a_small_model_is_not_split_into_tensors() -> None:
    _, found = searched(QWEN2_05B, [gpu(0, 80, 2500e9), gpu(1, 80, 2500e9)], cpu(64))
    assert found is not None
    assert found.candidate.key.split_mode == "layer"


def test_pinned_layers_are_no_split_of_tensors() -> None:
    cards = [gpu(0, 80), gpu(1, 80)]
    for wishes in (Wishes(gpu_layers=40), Wishes(gpu_layers=0), Wishes(tensor_split=(3, 1))):
        _, found = searched(QWEN2_72B, cards, cpu(64), wishes)
        assert found is not None
        assert found.candidate.key.split_mode == "layer"
        assert found.candidate.counts[0] == (81 - wishes.gpu_layers if wishes.gpu_layers is not None else 0)


def test_an_integrated_gpu_has_no_memory_of_its_own() -> None:
    small = gpu(0, 14, 60e9, "igpu")
    for ram in (14.0, 24.0, 44.0):
        _, found = searched(QWEN2_72B, [replace(small, free=int(ram * GIB))], cpu(ram), Wishes(context=4096))
        assert found is None
    for ram in (0.75, 1.0, 2.0):
        _, found = searched(QWEN2_05B, [replace(small, free=int(ram * GIB))], cpu(ram), Wishes(context=4096))
        assert found is not None
        assert found.exact
        assert sum(part.all for part in found.bytes) <= ram * GIB


def test_a_context_that_costs_much_is_not_the_default() -> None:
    _, found = searched(QWEN2_05B, [gpu(0, 0.75)], cpu(8, read=2e9))
    assert found is not None
    assert found.candidate.key.context < NATIVE
    _, asked = searched(QWEN2_05B, [gpu(0, 0.75)], cpu(8, read=2e9), Wishes(context=NATIVE))
    assert asked is not None
    assert asked.candidate.key.context == NATIVE


def test_questions_to_llama_cpp_are_few() -> None:
    search, found = searched(QWEN2_72B, [gpu(0, 23.7), gpu(1, 23.7)], cpu(64))
    assert found is not None
    assert search.questions <= 12


def test_unasked_nobody_gets_a_q4_cache() -> None:
    search = Search(QWEN2_72B, [gpu(0, 23.7)], cpu(64), Wishes(), NATIVE, LONGEST)
    assert {key.kv_type for key in search.every_key()} == {"f16", "q8_0"}


@pytest.mark.parametrize(
    ("parts", "layers", "expected"),
    [((60, 21), 81, (60, 21)), ((1, 1), 81, (41, 40)), ((0, 1), 5, (0, 5)), ((3,), 7, (7, 0))],
)
def test_split_is_llama_cpps(parts: tuple[float, ...], layers: int, expected: tuple[int, ...]) -> None:
    assert split(parts, layers, 2) == expected


def test_bytes_of_qwen2_72b_are_llama_cpps() -> None:
    assert QWEN2_72B.kv_bytes(32768) * 80 == 10 * GIB
    assert QWEN2_72B.compute_bytes(32768, 512) / 2**20 == pytest.approx(269, rel=0.03)
    assert QWEN2_72B.compute_bytes(131072, 512) / 2**20 == pytest.approx(365, rel=0.03)
