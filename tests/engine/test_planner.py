"""Plans of real files, checked by the installed llama.cpp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from localqwen import paths
from localqwen.engine import planner as planner_module
from localqwen.engine import probe
from localqwen.engine.candidate import Wishes
from localqwen.engine.gguf_file import read_shape
from localqwen.engine.inventory import Limit
from localqwen.engine.notebook import Notebook
from localqwen.engine.planner import Planner, PlanOptions
from localqwen.engine.remembered import AVOIDED, MOST
from localqwen.errors import InvalidModelError, InvalidRequestError, OutOfMemoryError
from localqwen.plan import Plan
from localqwen.plan_picture import picture
from tests.engine.machines import GIB, MIB
from tests.fixtures.hollow import QWEN2_05B, QWEN2_7B, QWEN2_72B, Size, write_hollow


@pytest.fixture(scope="module")
def hollow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("hollow")
    sizes = {"0.5B": QWEN2_05B, "7B": QWEN2_7B, "72B": QWEN2_72B}
    return {name: write_hollow(folder / f"Qwen2-{name}.gguf", size) for name, size in sizes.items()}


def planned(path: Path, ram: float = 128, **wishes: object) -> Plan:
    options = PlanOptions(Wishes(**wishes))  # type: ignore[arg-type]
    return Planner(path, options, Notebook(paths.planner_path()), lambda: int(ram * GIB)).plan().plan


@pytest.mark.parametrize("name", ["0.5B", "7B", "72B"])
@pytest.mark.parametrize("kv_type", ["f16", "q8_0"])
def test_formulas_say_what_llama_cpp_counts(hollow: dict[str, Path], name: str, kv_type: str) -> None:
    plan = planned(hollow[name], context=16384, kv_type=kv_type)
    shape = read_shape(hollow[name])
    (host,) = plan.shares
    assert plan.exact
    assert host.weights == pytest.approx(shape.weights, rel=1e-3)
    assert host.kv == shape.layers * shape.kv_bytes(16384, plan.kv_type)
    assert host.compute == pytest.approx(shape.compute_bytes(16384, plan.ubatch), rel=0.35)


def test_qwen2_72b_is_as_large_as_the_published_file(hollow: dict[str, Path]) -> None:
    shape = read_shape(hollow["72B"])
    assert shape.layers == 80
    assert {round(size / MIB) for size in shape.layer_bytes} == {501, 588}
    assert shape.output_bytes / MIB == pytest.approx(974.5, abs=0.5)
    assert shape.weights / 1e9 == pytest.approx(47.41, abs=0.01)


def test_without_the_probe_the_formulas_plan(hollow: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    counted = planned(hollow["7B"], context=8192)
    monkeypatch.setattr(probe, "count", lambda *_: None)
    estimated = planned(hollow["7B"], context=8192, ubatch=counted.ubatch)
    assert not estimated.exact
    assert estimated.shares[-1].used == pytest.approx(counted.shares[-1].used, rel=0.03)


def test_the_second_time_nothing_is_asked(hollow: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first = planned(hollow["72B"])

    def never(*_: object) -> Sequence[object]:
        raise AssertionError("asked again")

    monkeypatch.setattr(probe, "count", never)
    monkeypatch.setattr(planner_module, "read_shape", never)
    assert planned(hollow["72B"]) == first
    with pytest.raises(AssertionError):
        planned(hollow["72B"], context=4096)


def test_another_amount_of_free_memory_is_another_plan(hollow: dict[str, Path]) -> None:
    roomy, tight = planned(hollow["72B"], ram=128), planned(hollow["72B"], ram=54)
    assert roomy.context == 32768
    assert tight.shares[-1].used <= 54 * GIB
    assert tight.context < roomy.context or tight.kv_type != roomy.kv_type


def test_too_little_memory_is_said_with_both_figures(hollow: dict[str, Path]) -> None:
    with pytest.raises(OutOfMemoryError, match=r"Qwen2-72B\.gguf needs 4\d\.\d GB of memory and 17\.2 GB are .*--ctx"):
        planned(hollow["72B"], ram=16)


def test_a_device_that_is_not_there(hollow: dict[str, Path]) -> None:
    options = PlanOptions(limits=(Limit("CUDA7"),))
    with pytest.raises(InvalidRequestError, match="no device CUDA7"):
        Planner(hollow["7B"], options, Notebook(paths.planner_path())).plan()


def test_ram_can_be_limited(hollow: dict[str, Path]) -> None:
    options = PlanOptions(limits=(Limit("CPU", 5 * GIB),))
    plan = Planner(hollow["7B"], options, Notebook(paths.planner_path()), lambda: 64 * GIB).plan().plan
    assert plan.shares[-1].used <= 5 * GIB


def test_no_gguf(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF\x03\0\0\0nothing")
    with pytest.raises(InvalidModelError, match=r"x\.gguf"):
        planned(tmp_path / "x.gguf")


def test_a_notebook_of_rubbish_is_as_good_as_none(hollow: dict[str, Path]) -> None:
    paths.planner_path().parent.mkdir(parents=True, exist_ok=True)
    for rubbish in ("", "[]", '{"plans": 3, "speeds": {"x": 1}}', "\0\xff"):
        paths.planner_path().write_text(rubbish)
        assert planned(hollow["0.5B"]).exact


def test_json_and_back(hollow: dict[str, Path]) -> None:
    plan = planned(hollow["0.5B"])
    assert Plan.from_json(plan.as_json()) == plan


def test_a_moe_reads_only_the_chosen_experts(tmp_path: Path) -> None:
    from tests.fixtures.imatrix_cases import tiny_moe_gguf

    shape = read_shape(tiny_moe_gguf())
    assert all(0 < reads < size for reads, size in zip(shape.layer_reads, shape.layer_bytes, strict=True))


def test_running_out_of_memory_is_remembered(hollow: dict[str, Path]) -> None:
    notebook = Notebook(paths.planner_path())
    plan = planned(hollow["7B"])
    card = replace(plan.shares[0], device="CUDA0", kind="gpu", layers=10, free=plan.shares[0].used + 1000)
    Planner(hollow["7B"], PlanOptions(), notebook).out_of_memory(replace(plan, shares=(card, plan.shares[0])), "CUDA0")
    ((most, _),) = notebook.section(MOST).values()
    assert most == card.used - card.rest - (card.weights + card.kv) // card.count


def test_a_split_of_tensors_that_ended_the_process_is_not_tried_again(hollow: dict[str, Path]) -> None:
    notebook = Notebook(paths.planner_path())
    plan = planned(hollow["7B"])
    card = replace(plan.shares[0], device="CUDA0", kind="gpu", layers=10)
    split = replace(plan, shares=(card, plan.shares[0]), split_mode="tensor")
    Planner(hollow["7B"], PlanOptions(), notebook).died(split, "CUDA0")
    assert notebook.section(AVOIDED)
    assert notebook.section(MOST)


def test_layers_on_a_gpu_that_is_not_there(hollow: dict[str, Path]) -> None:
    with pytest.raises(InvalidRequestError, match="No GPU"):
        planned(hollow["7B"], gpu_layers=3)


def test_a_draft_model_takes_memory_too(hollow: dict[str, Path]) -> None:
    options = PlanOptions(Wishes(context=8192), limits=(Limit("CPU", 6 * GIB),), draft=hollow["7B"])
    alone = replace(options, draft=None)
    notebook = Notebook(paths.planner_path())
    plan = Planner(hollow["7B"], alone, notebook, lambda: 64 * GIB).plan().plan
    assert plan.draft_device is None
    with pytest.raises(OutOfMemoryError):
        Planner(hollow["7B"], options, notebook, lambda: 64 * GIB).plan()
    small = replace(options, draft=hollow["0.5B"], wishes=Wishes(context=2048))
    assert Planner(hollow["7B"], small, notebook, lambda: 64 * GIB).plan().plan.draft_device == "CPU"


def test_the_picture_shows_every_device(hollow: dict[str, Path]) -> None:
    plan = planned(hollow["0.5B"])
    card = replace(plan.shares[0], device="CUDA0", description="A card", kind="gpu", first=4, layers=20)
    text = "\n".join(picture(replace(plan, shares=(card, replace(plan.shares[0], layers=4, output=False)))))
    assert "layers 4 to 23" in text
    assert "layers 0 to 3" in text
    assert "A card" in text
    assert f"decode {plan.decode:,.1f} tok/s" in text


def test_a_size_that_no_release_has(tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "odd.gguf", Size(3, 256, 320, 4, 4, 1000))
    assert planned(path).exact


def test_heads_that_no_quantized_cache_can_hold(tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "odd.gguf", Size(3, 320, 640, 20, 4, 1000))
    with pytest.raises(InvalidRequestError, match=r"--kv-type q8_0 needs heads of a multiple of 32 .* have 16"):
        planned(path, kv_type="q8_0")
    with pytest.raises(OutOfMemoryError):  # and not the end of the process, which asking llama.cpp for q8_0 would be
        planned(path, ram=0.2)


def test_a_draft_model_that_nobody_named_is_used_where_it_pays(hollow: dict[str, Path]) -> None:
    notebook = Notebook(paths.planner_path())

    def plan_of(model: str, draft: str, ram: float) -> Plan:
        wishes = Wishes(context=2048)
        options = PlanOptions(wishes, draft=hollow[draft], draft_may_rest=True)
        return Planner(hollow[model], options, notebook, lambda: int(ram * GIB)).plan().plan

    small = plan_of("72B", "0.5B", 128)
    assert small.draft_device == "CPU"
    assert "Qwen2-0.5B.gguf guesses tokens on CPU" in small.why[-1]
    for as_large, ram in (("7B", 128.0), ("72B", 60.0)):
        left_out = plan_of("7B", as_large, ram)
        assert left_out.draft_device is None
        assert f"Qwen2-{as_large}.gguf is installed" in left_out.why[-1]
    assert plan_of("7B", "0.5B", 4.9).draft_device is None  # there is room for one of them
