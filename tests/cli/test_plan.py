"""Planning from the command line, with the real demo model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from localqwen.cli import cli
from localqwen.plan import Plan


@pytest.mark.usefixtures("demo_home")
def test_a_plan_is_drawn() -> None:
    result = CliRunner().invoke(cli, ["plan", "demo"])
    assert result.exit_code == 0, result.output
    assert "8192 tokens of context, f16 KV cache" in result.output
    assert "token embedding, layers 0 to 29, output" in result.output
    assert "counted by llama.cpp" in result.output
    assert "so the CPU has all layers" in result.output


@pytest.mark.usefixtures("demo_home")
def test_pinned_options_are_kept() -> None:
    pinned = ["--ctx", "1024", "--kv-type", "q8_0", "--ubatch", "128", "--threads", "1"]
    result = CliRunner().invoke(cli, ["plan", "demo", "--json", *pinned])
    plan = Plan.from_json(json.loads(result.output))
    assert (plan.context, plan.kv_type, plan.ubatch, plan.threads) == (1024, "q8_0", 128, 1)
    assert plan.shares[-1].kv == 1024 * 30 * 2 * 192 * 34 // 32


@pytest.mark.usefixtures("demo_home")
def test_the_whole_window() -> None:
    result = CliRunner().invoke(cli, ["plan", "demo", "--json", "--ctx", "max"])
    assert json.loads(result.output)["context"] == 8192 * 4


@pytest.mark.usefixtures("demo_home")
@pytest.mark.parametrize("command", [["plan", "demo"], ["serve", "demo"], ["devices"]])
@pytest.mark.parametrize(
    "options", [["--tensor-split", "a,b"], ["--devices", "X:much"], ["--rpc", "nowhere"], ["--rpc", "127.0.0.1:1,,"]]
)
def test_what_cannot_be_read_is_wrong_usage(command: list[str], options: list[str]) -> None:
    if command == ["devices"] and options[0] != "--rpc":
        options = ["--rpc", "a:b"]
    result = CliRunner().invoke(cli, [*command, *options])
    assert result.exit_code == 2
    assert f"'{options[0]}'" in result.output


def test_a_server_that_others_reach_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localqwen.engine.registry.add_rpc_servers", lambda _: None)
    warned = CliRunner().invoke(cli, ["devices", "--json", "--rpc", "127.0.0.1:50052,10.1.2.3:50052"])
    assert warned.stderr.count("WARNING") == 1
    assert "10.1.2.3:50052 goes through the network with no password" in warned.stderr
    assert "ssh -N -L" in warned.stderr
    assert json.loads(warned.stdout)
    assert "WARNING" not in CliRunner().invoke(cli, ["devices", "--rpc", "[::1]:50052,localhost:50052"]).stderr


@pytest.mark.usefixtures("demo_home")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ctx", "few"], "few is no context"),
        (["--ctx", "3"], "3 is no context"),
        (["--kv-type", "q2"], "q2"),
        (["--devices", "CUDA0:much"], "NAME:GIB"),
        (["--devices", "CUDA0"], "no device CUDA0"),
        (["--tensor-split", "a,b"], "no tensor split"),
        (["--tensor-split", "0,0"], "no tensor split"),
        (["--tensor-split", "1,1"], "leave out --tensor-split"),
        (["--tensor-split", "1e308,1e308"], "no tensor split"),
        (["--split-mode", "tensor"], "two or more GPUs of one kind"),
        (["--ctx", "1000000"], "32768"),
        (["--ctx", "16384", "--yarn", "off"], "8192"),
        (["--rpc", "nowhere"], "HOST:PORT"),
        (["--rpc", "a..b:5"], "cannot be reached"),
        (["--devices", "CPU:0.01"], "CPU lacks"),
    ],
)
def test_bad_options_get_one_sentence(options: list[str], words: str) -> None:
    result = CliRunner().invoke(cli, ["plan", "demo", *options])
    assert result.exit_code != 0
    assert words in result.output + str(result.exception)


@pytest.mark.usefixtures("demo_home")
@pytest.mark.parametrize(
    "options",
    [
        ["--tensor-split", "a,b"],
        ["--devices", "CUDA0:much"],
        ["--devices", ":3"],
        ["--rpc", "nowhere"],
        ["--yarn", "much"],
        ["--split-mode", "tensor", "--tensor-split", "1,1"],
        ["--split-mode", "tensor", "--gpu-layers", "20"],
        ["--split-mode", "tensor", "--kv-type", "q8_0"],
    ],
)
def test_wrong_usage_is_told_apart(options: list[str]) -> None:
    command = [sys.executable, "-m", "localqwen", "plan", "demo", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    # One sentence; before it stands how the command is used where an option by itself is wrong.
    *usage, sentence = done.stderr.strip().splitlines()
    assert not usage or usage[0].startswith("Usage: ")
    assert sentence.startswith(("Error: ", "localqwen: "))


@pytest.mark.usefixtures("demo_home")
def test_what_was_left_out_would_help() -> None:
    result = CliRunner().invoke(cli, ["plan", "demo", "--devices", "CPU:0.01"])
    assert re.search(r"CPU lacks [\d,]+ MiB; it would fit without --devices\.", str(result.exception))
    result = CliRunner().invoke(cli, ["plan", "demo", "--devices", "CPU:0.43", "--ctx", "32768", "--kv-type", "f16"])
    context = re.search(r"--ctx (\d+)", str(result.exception))
    assert context is not None
    result = CliRunner().invoke(cli, ["plan", "demo", "--devices", "CPU:0.43", "--ctx", context[1], "--kv-type", "f16"])
    assert result.exit_code == 0, str(result.exception)


def test_devices_are_listed_with_their_speed() -> None:
    result = CliRunner().invoke(cli, ["devices", "--json"])
    host = json.loads(result.output)[-1]
    assert host["kind"] == "cpu"
    assert host["free"] > 0
    assert host["speed"]["read"] > 1e8
    assert "GB/s" in CliRunner().invoke(cli, ["devices"]).output


def test_the_doctor_finds_this_installation_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("localqwen.engine.drivers.cards", list)
    result = CliRunner().invoke(cli, ["doctor"], standalone_mode=False)
    assert "backends" in result.output
    assert "Plans are counted by llama.cpp" in result.output
    assert "BAD" not in result.output
    assert result.return_value == 0


def test_the_doctor_names_the_remedy_for_a_build_without_cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'NVIDIA GeForce RTX 4090, 550.54.14'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    result = CliRunner().invoke(cli, ["doctor"], standalone_mode=False)
    assert result.return_value == 1
    assert "built without CUDA" in result.output
    folder = Path(__file__).resolve().parents[2]
    assert f"`python3 install.py --rebuild` in {folder}" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("vendor", "words", "bad"),
    [
        ("NVIDIA", "There is an NVIDIA card without its driver", 1),
        ("AMD", "a graphics card of AMD, and this llama.cpp was built without a backend", 1),
        ("Intel", "a graphics card of Intel", 0),
    ],
)
def test_the_doctor_on_cards_that_nothing_drives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vendor: str, words: str, bad: int
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("localqwen.engine.drivers.cards", lambda: [vendor])
    monkeypatch.setattr("localqwen.engine.registry.backends", lambda: ["CPU", "RPC"])
    monkeypatch.setattr("localqwen.engine.registry.handles", list)
    result = CliRunner().invoke(cli, ["doctor"], standalone_mode=False)
    assert words in result.output
    assert "install.py" in result.output
    assert result.return_value == bad


def test_the_doctor_misses_a_card_that_was_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from localqwen.engine.registry import Handle

    cards = [Handle(1, "Vulkan0", "First", "Vulkan", "gpu"), Handle(2, "Vulkan1", "Second", "Vulkan", "gpu")]
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("localqwen.engine.drivers.cards", list)
    monkeypatch.setattr("localqwen.engine.registry.handles", lambda: cards)
    monkeypatch.setattr(Handle, "memory", lambda _: (1 << 30, 2 << 30))
    assert "BAD" not in CliRunner().invoke(cli, ["doctor"], standalone_mode=False).output
    cards.pop()
    assert "BAD  Second (Vulkan) was here on " in CliRunner().invoke(cli, ["doctor"], standalone_mode=False).output


@pytest.mark.parametrize(
    ("script", "words"),
    [("exit 9", "finds no card"), ("echo 'Tesla K80, 470.10'", "driver 470.10 is too old")],
)
def test_the_doctor_on_drivers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, words: str) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\n{script}\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert words in CliRunner().invoke(cli, ["doctor"], standalone_mode=False).output
