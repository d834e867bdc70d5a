"""What does not fit: what is missing where, and options that would do, which then really do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localqwen.engine.asked import Asked
from localqwen.engine.candidate import Candidate, Found, Wishes
from localqwen.engine.machine import Device
from localqwen.engine.pins import check_pins
from localqwen.engine.search import Search
from localqwen.engine.shape import Shape
from localqwen.engine.too_large import Way, too_large
from localqwen.errors import InvalidOptionError, InvalidRequestError
from tests.engine.machines import GIB, QWEN2_05B, QWEN2_72B, counted, cpu, gpu

ALIKE = [gpu(0, 80), gpu(1, 80)]


def best(search: Search) -> Found | None:
    return search.best(lambda candidate: counted(search, candidate))


def made(shape: Shape, devices: Sequence[Device], host: Device, wishes: Wishes) -> Search:
    return Search(shape, devices, host, wishes, 32768, 131072)


def said(search: Search, *ways: Way) -> str:
    def count(candidate: Candidate) -> object:
        return counted(search, candidate)

    assert best(replace(search)) is None, "it fits"
    return str(too_large("m.gguf", search, Asked(count), ways))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (Wishes(split_mode="tensor", gpu_layers=20), "leave out --gpu-layers 20"),
        (Wishes(split_mode="tensor", gpu_layers=0), "leave out --gpu-layers 0"),
        (Wishes(split_mode="tensor", tensor_split=(1, 1)), "leave out --tensor-split"),
        (Wishes(split_mode="tensor", kv_type="q8_0"), "leave out --kv-type q8_0"),
    ],
)
def test_options_that_contradict_a_split_of_tensors(wishes: Wishes, words: str) -> None:
    with pytest.raises(InvalidOptionError, match=words):
        check_pins(wishes, ALIKE, 80)


def test_a_split_of_tensors_with_all_layers_is_no_contradiction() -> None:
    check_pins(Wishes(split_mode="tensor", gpu_layers=81), ALIKE, 80)
    with pytest.raises(InvalidRequestError, match="two or more GPUs of one kind"):
        check_pins(Wishes(split_mode="tensor"), ALIKE[:1], 80)


@pytest.mark.parametrize("gpu_layers", [None, 81])
def test_tensors_that_do_not_fit_on_either_card(gpu_layers: int | None) -> None:
    wishes = Wishes(split_mode="tensor", gpu_layers=gpu_layers, context=4096)
    text = said(made(QWEN2_72B, [gpu(0, 20), gpu(1, 20)], cpu(128), wishes))
    assert re.search(r"GPU0 lacks [\d,]+ MiB and GPU1 lacks [\d,]+ MiB", text)
    assert "--split-mode layer" in text or gpu_layers
    assert "GB are available" not in text


def test_a_context_and_a_cache_that_are_too_large() -> None:
    search = made(QWEN2_72B, [gpu(0, 20), gpu(1, 20)], cpu(34), Wishes(context=131072, kv_type="f16"))
    text = said(search)
    assert re.search(r"with \d+ of 81 layers on GPU0 and GPU1, CPU lacks [\d,]+ MiB", text)
    assert "--kv-type q8_0" in text
    context = re.search(r"--ctx (\d+)", text)
    assert context is not None
    for tokens, fits in ((int(context[1]), True), (int(context[1]) + 1024, False)):
        other = replace(search, wishes=replace(search.wishes, context=tokens))
        assert (best(other) is not None) is fits


def test_cards_that_are_nearly_large_enough_are_not_said_to_be() -> None:
    text = said(made(QWEN2_72B, [gpu(0, 21.5), gpu(1, 21.5)], cpu(1.5), Wishes()))
    assert re.search(r"with \d+ of 81 layers on GPU0 and GPU1, CPU lacks [\d,]+ MiB", text)
    assert "available" not in text


def test_an_ubatch_that_is_too_large() -> None:
    search = made(QWEN2_05B, [], cpu(1.2), Wishes(context=4096, ubatch=8192))
    text = said(search)
    assert "CPU lacks" in text
    assert "--ubatch 128" in text


def test_a_draft_that_is_larger_than_the_memory() -> None:
    host = cpu(64)
    drained = made(QWEN2_72B, [], replace(host, free=-2 * GIB), Wishes())
    alone = made(QWEN2_72B, [], host, Wishes())
    way = Way("without --draft", alone, lambda candidate: counted(alone, candidate))
    text = said(drained, way)
    assert "it would fit without --draft" in text
    lacks = re.search(r"CPU lacks ([\d,]+) MiB", text)
    assert lacks is not None
    assert int(lacks[1].replace(",", "")) > 44 * 1024 + 2048


def test_layers_that_a_device_has_no_room_for() -> None:
    text = said(made(QWEN2_72B, [gpu(0, 20)], cpu(128), Wishes(gpu_layers=60)))
    assert re.search(r"GPU0 lacks [\d,]+ MiB; \d+ layers would fit, so leave out --gpu-layers", text)


def test_ram_that_is_too_small_for_the_other_layers() -> None:
    text = said(made(QWEN2_72B, [gpu(0, 40)], cpu(16), Wishes(gpu_layers=10)))
    assert "GPU0 lacks" not in text
    assert "CPU lacks" in text
    assert re.search(r"; \d\d layers would fit", text) or "no number of layers" in text


def test_an_integrated_gpu_lacks_ram() -> None:
    card = replace(gpu(0, 14, 60e9, "igpu"), free=14 * GIB)
    text = said(made(QWEN2_72B, [card], cpu(14), Wishes(context=4096)))
    lacks = re.search(r"CPU lacks ([\d,]+) MiB", text)
    assert lacks is not None
    assert int(lacks[1].replace(",", "")) > 25 * 1024


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(0.1, 40), max_size=3),
    st.floats(0, 40),
    st.builds(
        Wishes,
        st.sampled_from([None, 0, 4096, 65536]),
        st.sampled_from([None, "f16", "q8_0"]),
        st.sampled_from([None, 128, 2048]),
        st.sampled_from([None, 0, 10, 81]),
        st.none(),
        st.sampled_from([None, "layer", "tensor"]),
    ),
)
def test_every_refusal_is_a_sentence_and_what_it_proposes_fits(cards: list[float], ram: float, wishes: Wishes) -> None:
    devices = [replace(gpu(i, gib), description="A card") for i, gib in enumerate(cards)]
    try:
        check_pins(wishes, devices, 80)
    except InvalidRequestError:
        return
    search = made(QWEN2_72B, devices, cpu(ram), wishes)
    if best(replace(search)) is not None:
        return
    text = said(search)
    assert text.endswith(".")
    assert "lacks" in text or "needs" in text
    assert "-" not in re.sub(r"--[a-z-]+", "", text), "no negative numbers"
    for option, value in re.findall(r"--(ctx|kv-type|ubatch|split-mode) ([0-9]+|q8_0|layer)", text):
        field = {"ctx": "context"}.get(option, option.replace("-", "_"))
        changed: dict[str, Any] = {field: int(value) if value.isdigit() else value}
        assert best(replace(search, wishes=replace(wishes, **changed))) is not None, text


def test_a_card_that_gave_less_than_it_says_is_told_of_too() -> None:
    card = replace(gpu(0, 24), most=2 * GIB)
    search = Search(QWEN2_72B, [card], cpu(8), Wishes(context=4096, gpu_layers=81), 32768, 131072)
    text = str(too_large("m.gguf", search, Asked(lambda candidate: counted(search, candidate)), []))
    assert "GPU0 lacks" in text
