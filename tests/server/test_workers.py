"""Other machines' devices, played by workers on loopback: placement, bytes, answers, and a worker that dies."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.fixtures.hollow import QWEN2_72B, write_hollow
from tests.server.running import DEADLINE, wait_until
from tests.server.workers import LOCALQWEN, free_port, worker


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


# The first two loads find no memory, as when another program has taken it since the plan.
OUT_OF_MEMORY = """
import sys
from pathlib import Path
from localqwen.engine.engine import Engine
from localqwen.engine.model import Model
from localqwen.engine.options import EngineOptions
from localqwen.errors import OutOfMemoryError
from tests.server.running import wait_until
from localqwen.events import Ready

load, plans = Model.load.__func__, []

def short(cls, path, placement, on_progress):
    share = engine.planned.plan.devices[0]
    plans.append(share.weights + share.kv + share.compute)
    if len(plans) < 3:
        raise OutOfMemoryError("taken")
    return load(cls, path, placement, on_progress)

Model.load = classmethod(short)
for _ in range(2):
    engine = Engine(Path(sys.argv[1]), EngineOptions(context=512, threads=1, rpc=(sys.argv[2],)))
    engine.start()
    wait_until(lambda: isinstance(engine.state, Ready), "the model is loaded")
    assert engine.close()
print(*plans)
"""


def test_a_load_that_runs_out_of_memory_takes_less_and_remembers(
    demo_gguf: Path, workers: list[tuple[str, subprocess.Popen[bytes]]]
) -> None:
    command = [sys.executable, "-c", OUT_OF_MEMORY, str(demo_gguf), workers[0][0]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    first, second, third, again = map(int, done.stdout.split())
    assert first > second > third > 0
    assert again == third


def test_a_72b_model_on_three_is_counted_by_llama_cpp(tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "Qwen2-72B.gguf", QWEN2_72B)
    with ExitStack() as stack:
        found = [stack.enter_context(worker(tmp_path / f"w{i}.log"))[0] for i in range(3)]
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


def test_a_worker_that_is_not_there_is_one_sentence(demo_gguf: Path) -> None:
    started = time.monotonic()
    command = [*LOCALQWEN, "plan", str(demo_gguf), "--rpc", f"127.0.0.1:{free_port()}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert time.monotonic() - started < DEADLINE
