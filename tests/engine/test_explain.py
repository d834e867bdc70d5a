"""Why a plan is not better, and what would help: each sentence is true, and none is missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from localqwen.engine.as_plan import as_plan
from localqwen.engine.asked import Asked
from localqwen.engine.candidate import Bytes, Candidate, Found, Wishes
from localqwen.engine.draft_places import DraftPlace
from localqwen.engine.explain import WORTH, Explainer
from localqwen.engine.gguf_file import read_shape
from localqwen.engine.inventory import Inventory
from localqwen.engine.machine import Device
from localqwen.engine.padding import Matrix, matrices, padded_shape
from localqwen.engine.search import Search
from localqwen.engine.shape import Shape
from localqwen.engine.too_large import WITHOUT_DEVICES, Way
from localqwen.plan import Plan
from tests.engine.machines import QWEN2_05B, QWEN2_72B, counted, cpu, gpu
from tests.fixtures.hollow import PADDED_72B, QWEN2_7B, write_hollow
from tests.fixtures.hollow import QWEN2_72B as HOLLOW_72B


def counting(search: Search) -> Asked:
    return Asked(lambda candidate: counted(search, candidate))


def found_by(search: Search) -> Found:
    found = replace(search).best(counting(search))
    assert found is not None
    return found


def explained(
    devices: Sequence[Device],
    host: Device,
    wishes: Wishes,
    shape: Shape = QWEN2_72B,
    *ways: Way,
    padded: Shape | None = None,
) -> tuple[Plan, Search]:
    search = Search(shape, devices, host, wishes, 32768, 131072)
    inventory = Inventory(tuple(devices), host, (), ())
    found = found_by(search)
    plan = as_plan("m.gguf", shape, inventory, found, DraftPlace(inventory), 4)
    return Explainer(plan, search, found, counting(search), ways, padded).explained(), search


def test_all_on_cards_is_bound_by_reading() -> None:
    plan, _ = explained([gpu(0, 80)], cpu(64), Wishes(context=4096))
    assert plan.why == ("All 81 layers are on GPU0: a token of the answer takes as long as reading 46.7 GB there.",)
    assert not plan.help


def test_no_gpu() -> None:
    plan, _ = explained([], cpu(64), Wishes())
    assert "There is no GPU to use, so the CPU has all layers: `localqwen doctor`" in plan.why[0]
    (needed,) = re.findall(r"A GPU with ([\d.]+) GiB free would hold the layers", "\n".join(plan.help))
    search = Search(QWEN2_72B, [gpu(0, float(needed) + 0.15)], cpu(64), Wishes(context=32768), 32768, 131072)
    assert sum(found_by(search).candidate.counts[1:]) == 81


def test_devices_that_were_left_out_would_help() -> None:
    roomy = Search(QWEN2_72B, [gpu(0, 80)], cpu(64), Wishes(), 32768, 131072)
    way = Way(WITHOUT_DEVICES, roomy, counting(roomy))
    plan, _ = explained([], cpu(64), Wishes(), QWEN2_72B, way)
    assert plan.why[0] == "--devices leaves no GPU, so the CPU has all layers."
    assert any(
        re.match(r"Without --devices: 81 of 81 layers on GPU0, about [\d.]+ tok/s\.", line) for line in plan.help
    )


def test_a_shorter_context_and_a_rounder_cache_have_their_reasons() -> None:
    plan, search = explained([gpu(0, 48)], cpu(8), Wishes())
    assert plan.kv_type == "q8_0"
    (why,) = [line for line in plan.why if "KV cache" in line]
    finer = replace(search, wishes=Wishes(context=plan.context, kv_type="f16"))
    layers = sum(found_by(finer).candidate.counts[1:])
    assert why.startswith(f"The KV cache is q8_0: with f16, {layers} of 81 layers on GPU0, about ")

    plan, _ = explained([], cpu(48), Wishes())
    assert plan.context < 32768
    assert "A context of 32768 tokens does not fit." in plan.why
    plan, _ = explained([gpu(0, 0.75)], cpu(8, read=2e9), Wishes(), QWEN2_05B)
    assert plan.context < 32768
    (longer,) = [
        line for line in plan.why if line.startswith("With a context of 32768 tokens a turn would take about ")
    ]
    assert float(longer.split()[11]) > 1.1


def test_a_card_that_is_too_small_or_too_slow_for_a_layer() -> None:
    plan, _ = explained([gpu(0, 0.5)], cpu(64), Wishes(context=4096))
    assert re.match(r"The CPU has all layers: one takes up to [\d,]+ MiB besides .*GPU0 has 416 MiB", plan.why[0])
    plan, _ = explained([gpu(0, 24, read=1e9)], cpu(64), Wishes(context=4096))
    assert "with some elsewhere (GPU0 has" in plan.why[0]
    assert "a turn would take longer" in plan.why[0]


def test_a_part_on_the_card() -> None:
    plan, _ = explained([gpu(0, 24)], cpu(64), Wishes(context=32768))
    assert re.match(
        rf"{plan.gpu_layers} of 81 layers are on GPU0: one more takes up to \d+ MiB, and GPU0 has \d+ MiB left",
        plan.why[0],
    )
    plan, _ = explained([gpu(0, 24)], cpu(64), Wishes(context=32768, gpu_layers=3))
    assert plan.why[0] == "3 of 81 layers are on GPUs, as --gpu-layers asks."


@pytest.mark.parametrize(
    "wishes", [Wishes(context=32768, kv_type="f16"), Wishes(), Wishes(gpu_layers=5), Wishes(ubatch=2048)]
)
def test_what_would_help_is_what_llama_cpp_counts(wishes: Wishes) -> None:
    plan, search = explained([gpu(0, 23.2, 2000e9)], cpu(64), wishes)
    kept = replace(wishes, context=plan.context, kv_type=plan.kv_type)
    for words, changed in (
        (f"With --ctx {plan.context // 2}", replace(kept, context=plan.context // 2)),
        ("With --kv-type q8_0", replace(kept, kv_type="q8_0")),
        ("Without --gpu-layers", replace(kept, gpu_layers=None)),
        ("Without --ubatch", replace(kept, ubatch=None)),
    ):
        other = found_by(replace(search, wishes=changed)).candidate
        expected = f"{words}: {sum(other.counts[1:])} of 81 layers on GPU0, about {1 / other.decode:,.1f} tok/s."
        worth = changed != kept and plan.decode * WORTH <= 1 / other.decode
        assert (expected in plan.help) is worth, words
    if wishes.kv_type == "f16":
        assert any(line.startswith("With --kv-type q8_0: ") for line in plan.help), "the formula alone hid it"


def test_another_card_is_as_large_as_it_says() -> None:
    plan, _ = explained([gpu(0, 24)], cpu(64), Wishes(context=32768, kv_type="q8_0"))
    (line,) = [line for line in plan.help if line.startswith("Another GPU like GPU0")]
    match = re.search(
        r"with ([\d.]+) GiB free would hold the other layers: 81 of 81 layers on .*, about ([\d.]+) tok/s", line
    )
    assert match is not None
    cards = [gpu(0, 24), gpu(1, float(match[1]) + 0.1)]
    real = found_by(
        Search(QWEN2_72B, cards, cpu(64), Wishes(context=32768, kv_type="q8_0", split_mode="layer"), 32768, 131072)
    )
    assert sum(real.candidate.counts[1:]) == 81
    assert 1 / real.candidate.decode == pytest.approx(float(match[2]), rel=0.02)


def test_questions_for_sentences_are_few() -> None:
    search = Search(QWEN2_72B, [gpu(0, 23.2)], cpu(64), Wishes(), 32768, 131072)
    asked = 0

    def count(candidate: Candidate) -> Sequence[Bytes]:
        nonlocal asked
        asked += 1
        return counted(search, candidate)

    few = Asked(count)
    found = replace(search).best(few)
    assert found is not None
    before = asked
    assert few.at_most(0)(found.candidate) == few(found.candidate), "what is known is told"
    inventory = Inventory(tuple(search.devices), search.cpu, (), ())
    plan = as_plan("m.gguf", QWEN2_72B, inventory, found, DraftPlace(inventory), 4)
    Explainer(plan, search, found, few.at_most(3)).explained()
    assert asked <= before + 3


def test_padding_saves_what_the_padded_file_shows(tmp_path: Path) -> None:
    plain, padded = (write_hollow(tmp_path / f"{i}.gguf", size) for i, size in enumerate((HOLLOW_72B, PADDED_72B)))
    expected, shape = read_shape(padded), read_shape(plain)
    found = padded_shape(shape, matrices(plain))
    assert found is not None
    assert found.feed_forward == expected.feed_forward == 29696
    assert found.weights == pytest.approx(expected.weights, rel=1e-4)
    assert found.layer_bytes == pytest.approx(expected.layer_bytes, rel=1e-3)
    assert padded_shape(expected, matrices(padded)) is None
    plan, _ = explained([gpu(0, 24)], cpu(64), Wishes(context=8192), shape, padded=found)
    (line,) = [line for line in plan.help if "pads" in line]
    assert "7.2% smaller" in line
    assert "29568" in line
    layers = re.search(r"; (\d+) of 81 layers", line)
    assert layers is not None
    assert int(layers[1]) > plan.gpu_layers


def test_padding_saves_nothing_where_no_k_quant_was_replaced(tmp_path: Path) -> None:
    shape = read_shape(write_hollow(tmp_path / "x.gguf", QWEN2_7B))
    odd = replace(shape, feed_forward=18945)
    same = [Matrix(f"blk.0.ffn_{part}.weight", "Q8_0", 1 << 20) for part in ("gate", "up", "down")]
    assert padded_shape(odd, same) is None
    assert padded_shape(odd, []) is None
