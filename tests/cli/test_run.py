"""``localqwen run`` as scripts and people use it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import psutil
import pytest

from localqwen.sanitize import stripped
from tests.server.running import DEADLINE, wait_until

RUN = [sys.executable, "-m", "localqwen", "run"]
QUESTION = "What is the capital of Japan?"
STORY = "Write a very long story about a lighthouse keeper."


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory, demo_gguf: Path) -> Iterator[dict[str, str]]:
    """One home for all tests here, so that they share a server; nobody is left behind in it."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "data" / "models"
    folder.mkdir(parents=True)
    (folder / demo_gguf.name).symlink_to(demo_gguf)
    # A key that is exported for another server must not close the private one.
    env = {**os.environ, "LOCALQWEN_HOME": str(home), "LOCALQWEN_API_KEY": "for-others"}
    yield env
    for process in servers(env):
        process.kill()


def servers(env: dict[str, str]) -> list[psutil.Process]:
    """The private servers of this home, and of no other's."""
    processes = psutil.process_iter(["cmdline", "environ"])
    private = (process for process in processes if "--private" in (process.info["cmdline"] or []))
    return [each for each in private if (each.info["environ"] or {}).get("LOCALQWEN_HOME") == env["LOCALQWEN_HOME"]]


def run(env: dict[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [*RUN, *arguments]
    return subprocess.run(command, input=stdin, env=env, capture_output=True, text=True, timeout=DEADLINE, check=False)


def test_the_capital_of_japan(env: dict[str, str]) -> None:
    done = run(env, "demo", QUESTION, "--temperature", "0")
    assert done.returncode == 0
    assert "Tokyo" in done.stdout
    assert done.stdout.endswith("\n")
    assert done.stderr == ""


def test_options(env: dict[str, str], demo_gguf: Path) -> None:
    options = [
        "--system",
        "You answer questions.",
        "--seed",
        "1",
        "--ctx",
        "512",
        "--threads",
        "1",
        "--max-tokens",
        "3",
    ]
    done = run(env, str(demo_gguf), STORY, *options)
    assert done.returncode == 0
    assert 0 < len(done.stdout.split()) <= 3


def test_prompt_from_standard_input(env: dict[str, str]) -> None:
    whole = run(env, "demo", QUESTION, "--temperature", "0").stdout
    assert run(env, "demo", "--temperature", "0", stdin=f"{QUESTION}\n").stdout == whole
    assert run(env, "demo", "-", "--temperature", "0", stdin=QUESTION).stdout == whole


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "words"),
    [
        (["demo"], "", 2, "The prompt is empty"),
        (["demo", " "], "", 2, "The prompt is empty"),
        ([], "", 2, "Missing argument 'MODEL'"),
        (["demo", "hi", "--temperature", "9"], "", 2, "--temperature"),
        (["demo", "hi", "--ctx", "0"], "", 2, "--ctx"),
        (["nobody", "hi"], "", 1, "localqwen: nobody names no installed model"),
        (["demo", "hi", "--ctx", "9999999"], "", 1, "localqwen: A context of 9999999 tokens is more than"),
        (["demo", "word " * 9000], "", 1, "localqwen: The prompt has"),
    ],
)
def test_wrong_usage_and_failures(env: dict[str, str], arguments: list[str], stdin: str, code: int, words: str) -> None:
    done = run(env, *arguments, stdin=stdin)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert code == 2 or done.stderr.count("\n") == 1


def test_a_file_that_is_no_model(env: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "notes.gguf"
    path.write_text("Dear diary")
    done = run(env, str(path), "hi")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "notes.gguf is no GGUF file" in done.stderr


def test_the_reader_goes_away(env: dict[str, str]) -> None:
    with subprocess.Popen([*RUN, "demo", STORY], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1)
        process.stdout.close()
        assert process.wait(DEADLINE) == 141
        assert process.stderr.read() == b""


def test_interrupted(env: dict[str, str]) -> None:
    with subprocess.Popen([*RUN, "demo", STORY], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert out.endswith(b"\n")
    assert b"Traceback" not in error


def test_on_a_terminal(env: dict[str, str]) -> None:
    terminal = pexpect.spawn(
        RUN[0], [*RUN[1:], "demo", QUESTION, "--temperature", "0"], env=env, encoding="utf-8", timeout=DEADLINE
    )
    terminal.expect("Tokyo")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_no_prompt_on_a_terminal(env: dict[str, str]) -> None:
    terminal = pexpect.spawn(RUN[0], [*RUN[1:], "demo"], env=env, encoding="utf-8", timeout=DEADLINE)
    terminal.expect("Give a PROMPT")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 2


def test_what_a_terminal_would_obey_is_left_out() -> None:
    assert stripped("a\x1b[31mb\x07\tc\n\x9bd\x7f\x00é") == "a[31mb\tc\ndé"
    assert stripped("user\u202etxt.exe\u2066\u2028\u200d") == "usertxt.exe\u200d"


def test_the_server_ends_when_nobody_runs_any_more(env: dict[str, str]) -> None:
    run(env, "demo", QUESTION, "--max-tokens", "1")
    wait_until(lambda: not servers(env), "the servers have ended")
