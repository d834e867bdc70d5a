"""The best placement: it fits, nothing that fits is better, and more memory makes nothing slower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localqwen.engine.candidate import Bytes, Candidate, Found, Wishes
from localqwen.engine.machine import Device
from localqwen.engine.search import AUTOMATIC_KV, UBATCHES, Search, split
from localqwen.engine.shape import Shape
from localqwen.engine.speed import GPU_EFFICIENCY
from tests.engine.machines import GIB, QWEN2_05B, QWEN2_72B, counted, cpu, gpu

NATIVE, LONGEST = 32768, 131072
SPEEDS = st.sampled_from([200e9, 450e9, 900e9, 2000e9])
CARDS = st.lists(st.tuples(st.floats(0.2, 192), SPEEDS), max_size=8)
CONTEXTS = st.sampled_from([None, 4096, 32768, 131072])
KV = st.sampled_from([None, "f16", "q8_0", "q4_0"])


def searched(
    shape: Shape, devices: Sequence[Device], host: Device, wishes: Wishes | None = None
) -> tuple[Search, Found | None]:
    search = Search(shape, devices, host, wishes or Wishes(), NATIVE, LONGEST)
    return search, search.best(lambda candidate: counted(search, candidate))


def fits(search: Search, parts: Sequence[Bytes]) -> bool:
    devices = (*search.devices, search.cpu)
    return all(part.all <= device.usable for part, device in zip(parts, devices, strict=True))


def neighbours(counts: tuple[int, ...]) -> list[tuple[int, ...]]:
    """With one layer moved from a place to the next or the one before."""
    found = []
    for at, _ in enumerate(pairwise(counts)):
        for source, target in ((at, at + 1), (at + 1, at)):
            moved = list(counts)
            moved[source] -= 1
            moved[target] += 1
            if moved[source] >= 0:
                found.append(tuple(moved))
    return found


@settings(max_examples=60, deadline=None)
@given(CARDS, st.floats(1, 256), CONTEXTS, KV)
def test_a_plan_fits_and_no_neighbour_that_fits_is_faster(
    cards: list[tuple[float, float]], ram: float, context: int | None, kv: str | None
) -> None:
    devices = [gpu(i, gib / 8, read) for i, (gib, read) in enumerate(cards)]
    wishes = Wishes(context=context, kv_type=kv)  # type: ignore[arg-type]
    search, found = searched(QWEN2_05B, devices, cpu(ram / 8), wishes)
    if found is None:
        nothing = Candidate(next(iter(search.every_key())), (QWEN2_05B.layers + 1, *([0] * len(devices))), 0, 0, 0)
        assert not fits(search, counted(search, nothing)) or devices
        return
    assert found.exact
    assert fits(search, found.bytes)
    assert sum(found.candidate.counts) == QWEN2_05B.layers + 1
    if found.candidate.key.split_mode == "tensor":
        return
    others = [replace(found.candidate.key, ubatch=ubatch) for ubatch in UBATCHES]
    others += [replace(found.candidate.key, kv_type=kind) for kind in AUTOMATIC_KV if kv is None]
    for key in others:
        for counts in (found.candidate.counts, *neighbours(found.candidate.counts)):
            other = search.scored(replace(key, full=counts[0] == 0), counts)
            if fits(search, counted(search, other)):
                assert other.score >= found.candidate.score * (1 - 1e-9)


@settings(max_examples=40, deadline=None)
@given(CARDS, st.floats(1, 256), st.floats(1, 4), KV)
def test_more_memory_never_makes_it_slower(
    cards: list[tuple[float, float]], ram: float, more: float, kv: str | None
) -> None:
    wishes = Wishes(context=8192, kv_type=kv)  # type: ignore[arg-type]
    scores = []
    for factor in (1, more):
        devices = [gpu(i, factor * gib / 16, read) for i, (gib, read) in enumerate(cards)]
        _, found = searched(QWEN2_05B, devices, cpu(factor * ram / 8), wishes)
        scores.append(found.candidate.score if found is not None else float("inf"))
    assert scores[1] <= scores[0] * (1 + 1e-9)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.floats(4, 192), SPEEDS), max_size=8), st.floats(4, 192))
def test_a_72b_model_on_any_machine(cards: list[tuple[float, float]], ram: float) -> None:
    search, found = searched(QWEN2_72B, [gpu(i, gib, read) for i, (gib, read) in enumerate(cards)], cpu(ram))
    if found is None:
        assert ram + sum(gib for gib, _ in cards) < 60
    else:
        assert found.exact
        assert fits(search, found.bytes)


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
