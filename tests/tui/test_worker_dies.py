"""Another machine that goes away in the middle of an answer: a sentence, the text so far kept, and a way on."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

from localqwen import paths
from localqwen.chats.store import Store
from localqwen.params import SamplingParams
from localqwen.serve_options import ServeOptions
from tests.server.workers import worker
from tests.tui.fakes import last_message, shows, type_text, until
from tui.app import ChatApp
from tui.connections import LocalServer

SIZE = (200, 40)


async def test_a_worker_killed_while_it_answers_costs_no_text(demo_gguf: Path, tmp_path: Path, store: Store) -> None:
    with ExitStack() as stack:
        endpoint, process = stack.enter_context(worker(tmp_path / "worker.log"))
        options = ServeOptions(ctx=2048, rpc=endpoint, gpu_layers=31, devices="RPC0", speculation=False)
        app = ChatApp(store, LocalServer(demo_gguf, "demo", options), SamplingParams(temperature=0))
        async with app.run_test(size=SIZE) as pilot:
            await type_text(pilot, "Tell me a very long story about a fox.")
            await pilot.press("enter")
            # What is on the disk, and not only on the screen.
            await until(pilot, lambda: len(last_message(store).text) > 40, seconds=120)
            before = last_message(store).text
            kill(process)
            await until(pilot, lambda: last_message(store).state == "error", seconds=60)
            ended = last_message(store)
            assert ended.text.startswith(before)
            assert ended.error is not None
            assert ended.error.startswith(f"The RPC server {endpoint} went away in the middle of the work: ")
            assert "start `localqwen worker`" in ended.error
            await until(pilot, shows(pilot, "went away in the middle of the work"))

            stack.enter_context(worker(tmp_path / "again.log", endpoint=endpoint))
            await type_text(pilot, "What is the capital of Japan?")
            await pilot.press("enter")
            await until(pilot, shows(pilot, "Tokyo", "Enter sends"), seconds=120)
            assert last_message(store).state == "done"
            path = store.tree(ended.chat_id).path(last_message(store).id)
            assert [message.role for message in path] == ["user", "assistant", "user", "assistant"]
            assert path[1].text == ended.text
    logs = "\n".join(log.read_text() for log in paths.log_dir().glob("server-*.log"))
    assert "GGML_ASSERT" not in (ended.error or "")
    assert "Traceback" not in logs


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
