"""Other machines' devices, played by workers on loopback: placement, bytes, answers, and a worker that dies."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from localqwen.engine import registry
from tests.fixtures.hollow import QWEN2_72B, write_hollow
from tests.server.running import DEADLINE, wait_until
from tests.server.workers import LOCALQWEN, call_fast, free_port, worker


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[tuple[str, subprocess.Popen[bytes]]]]:
    with ExitStack() as stack:
        yield [stack.enter_context(worker(tmp_path / f"worker{i}.log")) for i in range(2)]


@contextmanager
def served(gguf: Path, log: Path, *options: str) -> Iterator[str]:
    port = free_port()
    with log.open("wb") as output:
        command = [*LOCALQWEN, "serve", str(gguf), "--port", str(port), *options]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return bool(httpx.get(f"{url}/health").json()["status"] == "ok")
        except httpx.HTTPError:
            return False

    try:
        wait_until(ready, "the server is ready")
        yield url
    finally:
        process.kill()
        process.wait()


def ask(url: str, text: str) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 16}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=DEADLINE)


def test_two_workers_hold_the_layers_and_one_dies(
    demo_gguf: Path, tmp_path: Path, workers: list[tuple[str, subprocess.Popen[bytes]]]
) -> None:
    endpoints = ",".join(endpoint for endpoint, _ in workers)
    # The first is too small for everything, and the CPU is not asked for more than it must hold.
    options = ("--rpc", endpoints, "--devices", "RPC0:0.28,RPC1:0.43", "--ctx", "2048", "--gpu-layers", "31")
    log = tmp_path / "serve.log"
    with served(demo_gguf, log, *options) as url:
        told = httpx.get(f"{url}/localqwen/plan").json()
        plan = told["plan"]
        devices = {share["device"]: share for share in plan["shares"]}
        assert plan["exact"]
        assert sum(share["layers"] + share["output"] for share in plan["shares"][:-1]) == 31
        for share in plan["shares"]:
            used = share["weights"] + share["kv"] + share["compute"] + share["rest"]
            assert used <= share["free"]
        assert devices["CPU"]["layers"] == 0
        assert "Tokyo" in ask(url, "What is the capital of Japan?").json()["choices"][0]["message"]["content"]
        used_last = plan["shares"][-2]["description"]
        next(process for endpoint, process in workers if endpoint == used_last).kill()
        answer = ask(url, "And of France, in one word?")
        assert answer.status_code == 500
        said = answer.json()["error"]["message"]
        assert said.startswith(
            f"The RPC server {used_last} went away in the middle of the work: start `localqwen worker"
        )
    assert f"localqwen: {said}" in log.read_text()
    assert "Remote RPC server crashed" in log.read_text()


def told_devices(*options: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [*LOCALQWEN, "devices", "--json", *options], capture_output=True, text=True, check=False, timeout=DEADLINE
    )
    assert done.returncode == 0, done.stderr
    devices: list[dict[str, Any]] = json.loads(done.stdout)
    return devices


def test_a_worker_tells_what_is_free_there_and_lends_a_part(demo_gguf: Path, tmp_path: Path) -> None:
    with worker(tmp_path / "whole.log") as (endpoint, _):
        whole, _ = told_devices("--rpc", endpoint)
        assert 0 < whole["free"] < whole["total"], "not all the RAM of the other machine is free"
    with worker(tmp_path / "part.log", "--devices", "CPU:0.4") as (endpoint, _):
        part, _ = told_devices("--rpc", endpoint)
        assert part["total"] == round(0.4 * 2**30) < whole["total"]
        assert 0.9 * part["total"] < part["free"] <= part["total"]
        assert "CPU (0.4 GiB free)" in (tmp_path / "part.log").read_text()
        with served(demo_gguf, tmp_path / "serve.log", "--rpc", endpoint, "--gpu-layers", "20", "--ctx", "1024") as url:
            told = httpx.get(f"{url}/localqwen/plan").json()
            remote, *_ = httpx.get(f"{url}/localqwen/devices").json()["devices"]
    assert (remote["name"], remote["kind"]) == ("RPC0", "rpc")
    (share, _) = told["plan"]["shares"]
    assert share["free"] <= part["total"]
    assert share["weights"] < told["taken"]["RPC0"] <= part["total"]


def test_a_worker_that_is_named_twice_is_one_device(tmp_path: Path) -> None:
    with worker(tmp_path / "worker.log") as (endpoint, _):
        port = endpoint.rpartition(":")[2]
        found = told_devices("--rpc", f"{endpoint},localhost:{port},{endpoint}")
    assert [device["name"] for device in found] == ["RPC0", "CPU"]


def test_another_machine_behind_the_same_tunnel_is_measured_anew(tmp_path: Path) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    speeds = []
    for part in ("0.5", "0.5", "0.6"):
        with worker(tmp_path / "worker.log", "--devices", f"CPU:{part}", endpoint=endpoint):
            speeds.append(told_devices("--rpc", endpoint)[0]["speed"])
    assert speeds[0] == speeds[1], "it is known"
    assert speeds[0] != speeds[2], "it has another amount of memory, so it is another machine"


def test_layers_are_split_over_three(demo_gguf: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        found = [stack.enter_context(worker(tmp_path / f"w{i}.log"))[0] for i in range(3)]
        command = [*LOCALQWEN, "plan", str(demo_gguf), "--json", "--rpc", ",".join(found), "--ctx", "2048"]
        split = ("--tensor-split", "1,1,1", "--gpu-layers", "30")
        done = subprocess.run([*command, *split], capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    shares = json.loads(done.stdout)["shares"]
    assert [share["layers"] + share["output"] for share in shares[:-1]] == [10, 10, 10]
    assert shares[0]["first"] == 1
    assert shares[2]["output"]
    assert all(share["kv"] == shares[0]["kv"] * share["layers"] // 10 for share in shares[:-1])


def test_a_72b_model_on_three_is_counted_by_llama_cpp(tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "Qwen2-72B.gguf", QWEN2_72B)
    with ExitStack() as stack:
        found = [stack.enter_context(worker(tmp_path / f"w{i}.log"))[0] for i in range(3)]
        call_fast(*found)
        options = ("--rpc", ",".join(found), "--devices", "RPC0:12,RPC1:16,RPC2:14.5", "--ctx", "8192")
        command = [*LOCALQWEN, "plan", str(path), "--json", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["exact"]
    assert sum(share["layers"] + share["output"] for share in plan["shares"]) == 81
    for share in plan["shares"]:
        used = share["weights"] + share["kv"] + share["compute"] + share["rest"]
        assert used <= share["free"]
        if share["kind"] == "rpc":
            assert share["free"] - used < 2 << 30, "another layer or two would fit"


def test_a_pinned_plan_that_cannot_fit_says_how_much_is_missing(
    demo_gguf: Path, workers: list[tuple[str, subprocess.Popen[bytes]]]
) -> None:
    options = ("--rpc", workers[0][0], "--devices", "RPC0:0.05", "--gpu-layers", "31", "--ctx", "2048")
    done = subprocess.run(
        [*LOCALQWEN, "plan", str(demo_gguf), *options], capture_output=True, text=True, check=False, timeout=DEADLINE
    )
    assert done.returncode == 1
    assert "RPC0 lacks" in done.stderr
    assert "MiB" in done.stderr
    assert "layers would fit" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_worker_is_loud_and_stays_on_loopback(tmp_path: Path) -> None:
    refused = subprocess.run(
        [*LOCALQWEN, "worker", "--listen", "0.0.0.0:50052"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "SSH tunnel" in refused.stderr
    log = tmp_path / "worker.log"
    with worker(log):
        assert "WARNING" in log.read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        busy = subprocess.run([*LOCALQWEN, "worker", "--listen", address], capture_output=True, text=True, check=False)
    assert busy.returncode == 1
    assert "choose another --listen" in busy.stderr


def test_our_protocol_is_that_of_this_build(tmp_path: Path) -> None:
    with worker(tmp_path / "worker.log") as (endpoint, _):
        host, port = endpoint.split(":")
        with socket.create_connection((host, int(port)), DEADLINE) as connection:
            connection.sendall(bytes([14]) + (24).to_bytes(8, "little") + bytes(24))
            answer = connection.makefile("rb").read(11)
    assert tuple(answer[8:10]) == registry.RPC_VERSION


def test_a_worker_that_is_not_there_is_one_sentence(demo_gguf: Path) -> None:
    started = time.monotonic()
    command = [*LOCALQWEN, "plan", str(demo_gguf), "--rpc", f"127.0.0.1:{free_port()}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert time.monotonic() - started < DEADLINE
