"""Measuring a plan: later plans of the same file expect it, and those of other files do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from localqwen import paths
from localqwen.cli import cli
from localqwen.engine.inventory import SPEEDS
from localqwen.engine.notebook import Notebook
from localqwen.plan import Plan
from tests.server.running import DEADLINE
from tests.server.workers import PLAIN, call_fast, worker

SHORT = ["--ctx", "512", "--tokens", "8", "--repeat", "1", "--json"]


def said(*arguments: str) -> dict[str, float]:
    result = CliRunner().invoke(cli, [*arguments])
    assert result.exit_code == 0, result.exception
    answer: dict[str, float] = json.loads(result.output)
    return answer


@pytest.mark.usefixtures("demo_home")
def test_the_next_plan_expects_what_was_measured() -> None:
    first = said("bench", "demo", *SHORT, "--ubatch", "64")
    assert first["prompt"] == 448, "whole ubatches, as the plan reckons"
    assert first["decode"] > 0
    plan = said("plan", "demo", "--ctx", "512", "--ubatch", "64", "--json")
    assert plan["decode"] == pytest.approx(first["decode"], rel=1e-6)
    assert plan["prefill"] == pytest.approx(first["prefill"], rel=1e-6)


def test_another_file_and_the_devices_are_as_before(demo_home: Path, demo_gguf: Path) -> None:
    other = demo_home / "other.gguf"
    other.write_bytes(demo_gguf.read_bytes())
    notebook = Notebook(paths.planner_path())
    speeds = notebook.section(SPEEDS)
    before = said("plan", str(other), "--ctx", "512", "--json")
    measured = said("bench", "demo", *SHORT)
    assert measured["decode"] != pytest.approx(before["decode"], rel=1e-3)
    assert notebook.section(SPEEDS) == speeds
    after = said("plan", str(other), "--ctx", "512", "--ubatch", "512", "--json")
    assert after["decode"] == before["decode"]


def test_a_prompt_that_is_shorter_than_an_ubatch_is_taken_as_what_it_is(demo_gguf: Path) -> None:
    """A few tokens read the weights as often as many do, so they are slower, and nothing is wrong with the machine."""
    from localqwen.engine.planner import Planner, PlanOptions

    notebook = Notebook(paths.planner_path())
    planner = Planner(demo_gguf, PlanOptions(), notebook)
    plan = planner.plan().plan
    for prompt in (40, plan.ubatch, 3 * plan.ubatch + 7):
        planner.measured(plan, prompt, *planner.expected(plan, prompt))
        planner.look_again()
        again = Planner(demo_gguf, PlanOptions(), notebook)
        assert again.expected(plan, 512) == pytest.approx((plan.prefill, plan.decode), rel=1e-6)
    planner.measured(plan, 1, plan.prefill / 50, plan.decode)
    assert planner.expected(plan, plan.ubatch)[0] == pytest.approx(plan.prefill, rel=1e-6)


@pytest.mark.usefixtures("demo_home")
@pytest.mark.parametrize(
    "options", [["--draft", "demo"], ["--speculation"], ["--disk-cache", "1"]], ids=["draft", "speculation", "disk"]
)
def test_what_is_not_measured_is_refused(options: list[str]) -> None:
    result = CliRunner().invoke(cli, ["bench", "demo", *SHORT, *options])
    assert result.exit_code == 2
    assert f"leave out {options[0]}" in result.output


@pytest.mark.usefixtures("demo_home")
def test_yarn_is_heeded() -> None:
    result = CliRunner().invoke(cli, ["bench", "demo", "--ctx", "16384", "--yarn", "off"])
    assert "leave out --yarn off" in str(result.exception)


@pytest.mark.usefixtures("demo_home")
def test_a_bench_that_does_not_fit_is_refused() -> None:
    for options in (["--prompt", "600"], ["--tokens", "512"]):
        result = CliRunner().invoke(cli, ["bench", "demo", "--ctx", "512", *options])
        assert "larger --ctx" in str(result.exception)


# The first load finds no memory, as when another program has taken it since the plan.
STEPPING_DOWN = """
import sys
from pathlib import Path
from localqwen import paths
from localqwen.engine.bench import Exercise, bench
from localqwen.engine.candidate import Wishes
from localqwen.engine.model import Model
from localqwen.engine.notebook import Notebook
from localqwen.engine.planner import Planner, PlanOptions
from localqwen.errors import OutOfMemoryError

load, loads = Model.load, []

def short(path, placement):
    loads.append(placement)
    if len(loads) == 1:
        raise OutOfMemoryError("taken")
    return load(path, placement)

Model.load = short
wishes = Wishes(context=512, ubatch=128)
planner = Planner(Path(sys.argv[1]), PlanOptions(wishes, rpc=(sys.argv[2],)), Notebook(paths.planner_path()))
first = planner.plan().plan
exercise = Exercise(tokens=4, repeat=1)
second = bench(planner, Path(sys.argv[1]), exercise).plan
print(*(plan.devices[0].used - plan.devices[0].rest for plan in (first, second)))
loads.clear()
try:
    bench(planner, Path(sys.argv[1]), exercise, pinned=True)
except OutOfMemoryError:
    print("pinned")
"""


def test_what_a_device_does_not_tell_llama_cpp_does(demo_gguf: Path, tmp_path: Path) -> None:
    """A CPU behind llama.cpp's own server says to be as free as before."""
    with worker(tmp_path / "worker.log", program=PLAIN) as (endpoint, _):
        options = [str(demo_gguf), "--rpc", endpoint, "--gpu-layers", "20", "--ctx", "1024", "--kv-type", "f16"]
        for arguments in (["bench", *options, *SHORT[2:-1]], ["plan", *options, "--json"]):
            command = [sys.executable, "-m", "localqwen", *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
            assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    taken = {device: (planned, real) for device, planned, real in answer["last_load"]["taken"]}
    shares = {share["device"]: share for share in answer["shares"]}
    assert set(taken) == set(shares) == {"RPC0", "CPU"}
    for device, (planned, real) in taken.items():
        assert planned == sum(shares[device][part] for part in ("weights", "kv", "compute"))
        assert real >= planned * 0.999, device
    assert taken["RPC0"][1] == pytest.approx(taken["RPC0"][0], rel=0.01)


def test_a_bench_without_memory_steps_down(demo_gguf: Path, tmp_path: Path) -> None:
    with worker(tmp_path / "worker.log") as (endpoint, _):
        call_fast(endpoint)
        command = [sys.executable, "-c", STEPPING_DOWN, str(demo_gguf), endpoint]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    first, less, pinned = done.stdout.split()
    assert int(less) < int(first)
    assert pinned == "pinned"


def test_the_last_load_is_shown_beside_the_plan(demo_gguf: Path) -> None:
    from localqwen.engine.remembered import Remembered
    from tests.tui.plans import SMALL_PLAN

    told = CliRunner().invoke(cli, ["plan", str(demo_gguf)])
    assert "last load" not in told.output
    assert said("plan", str(demo_gguf), "--json")["last_load"] is None
    Remembered(Notebook(paths.planner_path()), demo_gguf, None).note_load(SMALL_PLAN, {"CUDA0": 5000 << 20})
    told = CliRunner().invoke(cli, ["plan", str(demo_gguf)])
    assert "The last load (32768 tokens, f16 KV cache) took 5,000 MiB on CUDA0, planned were 4,416 MiB." in told.output
    answer = CliRunner().invoke(cli, ["plan", str(demo_gguf), "--json"]).output
    load = json.loads(answer)["last_load"]
    assert load["taken"] == [["CUDA0", SMALL_PLAN.devices[0].used, 5000 << 20]]
    assert Plan.from_json(json.loads(answer)).model == demo_gguf.name
