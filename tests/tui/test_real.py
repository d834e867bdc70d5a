"""The app over the real engine, in its own process, with the demo model."""

from __future__ import annotations

from pathlib import Path

from localqwen.chats.store import Store
from localqwen.params import SamplingParams
from localqwen.serve_options import ServeOptions
from tests.tui.fakes import SIZE, last_message, shows, type_text, until
from tui.app import ChatApp
from tui.connections import LocalServer


async def test_the_demo_model_loads_answers_and_remembers(demo_gguf: Path, store: Store) -> None:
    app = ChatApp(store, LocalServer(demo_gguf, "demo", ServeOptions(ctx=2048)), SamplingParams(temperature=0))
    async with app.run_test(size=SIZE) as pilot:
        await type_text(pilot, "What is the capital of Japan?")
        await pilot.press("enter")
        await until(pilot, shows(pilot, "Tokyo", "Enter sends", "/2048"), seconds=120)
        first = last_message(store)
        assert (first.state, first.model) == ("done", "demo")
        assert first.usage is not None
        assert first.usage.tokens_per_second > 0

        await type_text(pilot, "Tell me a very long story about it.")
        await pilot.press("enter")
        # Not what the screen says, which lags by half a second.
        conversation = app.chat.desk.conversation
        await until(pilot, lambda: conversation.is_answering and conversation.answer.tokens > 5, seconds=60)  # type: ignore[union-attr]
        await pilot.press("escape")
        await until(pilot, shows(pilot, "■ stopped", "Enter sends"))
        stopped = last_message(store)
        assert stopped.state == "stopped"
        assert stopped.usage is not None
        path = store.tree(stopped.chat_id).path(stopped.id)
        assert [message.role for message in path] == ["user", "assistant", "user", "assistant"]


async def test_a_model_that_cannot_be_loaded_is_explained(tmp_path: Path, store: Store) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    app = ChatApp(store, LocalServer(broken, "broken"))
    async with app.run_test(size=(200, 30)) as pilot:
        await type_text(pilot, "hello")
        await pilot.press("enter")
        await until(pilot, shows(pilot, "✗", "broken.gguf", "Enter sends"), seconds=60)
        assert last_message(store).state == "error"
