"""Moments of the chat, each brought about in an app that runs already."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from textual import events

from localqwen.device_memory import DeviceMemory
from localqwen.events import Finished, Loading, Planned, Prefill, Ready
from localqwen.plan import Plan, Share
from tests.tui.pictures.clock import Clock
from tests.tui.pictures.library import CODE, MODEL, TOUR
from tests.tui.stage import Stage
from tui.backend_state import Failed
from tui.model_list import ModelRow

GIB = 1 << 30
CARD = Share("CUDA0", "NVIDIA RTX 4090", "gpu", 8, 20, True, 3 * GIB, GIB, GIB // 4, GIB // 16, 24 * GIB)
HOST = Share("CPU", "AMD Ryzen 9", "cpu", 0, 8, False, 2 * GIB, GIB // 2, GIB // 64, GIB // 4, 64 * GIB)
WHY = ("8 of 28 layers stay on the CPU: CUDA0 has no room for them.",)
PLAN = Plan("qwen2-7b.gguf", 28, 32768, "f16", 512, "layer", 8, (CARD, HOST), 900.0, 45.6, exact=True, why=WHY)
MEMORY = (
    DeviceMemory("CUDA0", "NVIDIA RTX 4090", "gpu", 5 * GIB, 24 * GIB, 4 * GIB),
    DeviceMemory("CPU", "AMD Ryzen 9", "cpu", 9 * GIB, 64 * GIB, 3 * GIB),
)
MODELS = (
    ModelRow(MODEL, "Qwen2 7B Instruct", 4_700_000_000, 32768, 131072, Path("/models/qwen2-7b.gguf")),
    ModelRow("demo", "SmolLM2 135M", 145_000_000, 2048, 2048, Path("/models/demo.gguf")),
    ModelRow("my-own-model-with-quite-a-long-name-v2", "", 9_100_000_000, 0, 0, Path("/models/own.gguf")),
    ModelRow("qwen2-0.5b-instruct", "Qwen2 0.5B Instruct", 400_000_000, 32768, 32768),
    ModelRow("qwen2-72b-instruct", "Qwen2 72B Instruct", 47_400_000_000, 32768, 131072),
)

Scene: TypeAlias = Callable[["Set"], Awaitable[None]]
SCENES: dict[str, Scene] = {}


@dataclass(frozen=True)
class Set:
    """Where a scene plays."""

    stage: Stage
    clock: Clock
    chats: frozenset[int]
    """The conversations that were there before the first scene."""


def scene(function: Scene) -> Scene:
    """Takes a function up under its name."""
    SCENES[function.__name__] = function
    return function


async def clear(at: Set) -> None:
    """Back to an empty conversation with a model that is ready."""
    stage = at.stage
    while stage.app.screen is not stage.app.chat:
        stage.app.pop_screen()
    stage.app.clear_notifications()
    stage.open.stop()
    await stage.rests()
    stage.app.backend.memory = ()
    stage.app.backend.planned = None
    if isinstance(stage.app.backend.state, Failed):
        stage.app.backend.start()
    stage.connection.load(Ready(MODEL, 32768))
    stage.composer.focus()
    await stage.press("ctrl+n")
    await stage.until(lambda: stage.open.chat is None)
    for chat in stage.store.chats():
        if chat.id not in at.chats:
            stage.store.delete(chat.id)
    stage.app.chat.desk.list_chats()
    await stage.until(lambda: len(stage.list_titles) == len(at.chats))
    await stage.sees("New conversation", f"{MODEL}  ready")


async def tour(stage: Stage) -> None:
    """The conversation with everything in it."""
    await stage.slash("list")
    await stage.press("home", "down", "enter")
    await stage.sees("That is all.")


@scene
async def greeting(at: Set) -> None:
    await at.stage.sees("New conversation", "It runs here")


@scene
async def answer_end(at: Set) -> None:
    await tour(at.stage)


@scene
async def answer_start(at: Set) -> None:
    await tour(at.stage)
    await at.stage.press("ctrl+home")
    await at.stage.sees(TOUR[:12], "src/notes.txt")


@scene
async def marked_code(at: Set) -> None:
    await tour(at.stage)
    await at.stage.press("alt+pageup", "alt+pageup")
    await at.stage.until(lambda: "def reverse" in at.stage.marked)


@scene
async def reading_prompt(at: Set) -> None:
    stage = at.stage
    await stage.begin("Read all of this, and tell me what matters")
    for done in (2048, 8192):
        stage.client.events.put_nowait(Prefill(done, 24576))
        await stage.sees(f"reading {done} of")
        at.clock.move(4)
    await stage.send("And then the other half")
    await stage.send("And which of the two is better?")
    stage.app.chat.desk.paint()
    stage.app.chat.desk.refresh()
    await stage.sees("2 queued", "8192 of 24576 tokens, 25 s left", "8192/24576, 25 s left")


@scene
async def answering(at: Set) -> None:
    stage = at.stage
    stage.client.devices = MEMORY
    await stage.begin("Tell me a story about a lighthouse")
    stage.client.events.put_nowait(Prefill(30, 30, 2.0))
    at.clock.move(0.4)
    await stage.hear("Once upon a time there was a **lighthouse** that ")
    at.clock.move(0.05)
    await stage.hear("was afraid of the dark.\n\n```python\nfor night in year:\n    lamp.")
    await stage.until(lambda: stage.app.backend.memory == MEMORY)
    stage.app.chat.desk.refresh()
    await stage.sees("lamp.", "Esc stops", "context 32/32768")


@scene
async def loading(at: Set) -> None:
    stage = at.stage
    for part in (0.3, 0.42):
        at.clock.move(3)
        stage.connection.load(Loading(part, round(part * 4_700_000_000), 4_700_000_000))
        await stage.sees(f"{part:.0%}")
    await stage.send("Will you answer when you are loaded?")
    await stage.sees("goes out when the model is loaded (42%")


@scene
async def failed(at: Set) -> None:
    stage = at.stage
    await stage.begin("Explain the tides", "The moon pulls at the ")
    stage.client.events.put_nowait(Finished("error", error="The connection broke."))
    stage.connection.die("The server process was killed (signal 9): memory ran out. A smaller context would help.")
    await stage.sees("✗ The server process was killed")
    await stage.rests()


@scene
async def stopped(at: Set) -> None:
    stage = at.stage
    await stage.begin("Explain the tides", "The moon pulls at the ")
    await stage.press("escape")
    await stage.sees("■ stopped", "/continue goes on")


@scene
async def help_(at: Set) -> None:
    await at.stage.press("f1")
    await at.stage.sees("Commands and keys")


@scene
async def models(at: Set) -> None:
    await at.stage.press("f9")
    await at.stage.sees("Models")
    await at.stage.until(lambda: not any(worker.group == "models" for worker in at.stage.app.workers))
    await at.stage.press("down")
    await at.stage.sees("Enter opens it")


@scene
async def plan(at: Set) -> None:
    at.stage.client.devices = MEMORY
    at.stage.app.backend.loaded(at.stage.client, Planned(PLAN))
    await at.stage.press("f2")
    await at.stage.sees("Plan", "now 5.00 of 24.00 GiB")


@scene
async def chat_settings(at: Set) -> None:
    stage = at.stage
    stage.store.add_preset("Pirate", "You are a pirate.", stage.open.params)
    await stage.slash("chat")
    await stage.fill("#system", "You answer briefly, in the words of the question.")
    await stage.fill("#param-temperature", "0.2")


@scene
async def settings(at: Set) -> None:
    await at.stage.press("f8")
    await at.stage.sees("Settings", "Ctrl+S saves")


@scene
async def search(at: Set) -> None:
    await at.stage.press("f4")
    await at.stage.fill("#search", "tex")
    await at.stage.sees("found ·")


@scene
async def find(at: Set) -> None:
    await tour(at.stage)
    # Away from the end: whether the view still follows it when the bar takes a line depends on which is laid out first.
    at.stage.transcript.scroll_relative(y=-2, animate=False)
    await at.stage.slash("find reverse")
    await at.stage.until(lambda: at.stage.transcript.is_settled)
    await at.stage.sees("1 of 3")


@scene
async def commands(at: Set) -> None:
    await at.stage.write("/co")
    await at.stage.sees("/continue", "copy the marked", "draft about")
    await at.stage.until(lambda: "✎ /co" in at.stage.list_titles)  # a moment later the draft is listed


@scene
async def files(at: Set) -> None:
    stage = at.stage
    await stage.write("Compare @notes")
    await stage.sees("notes.txt")
    await stage.press("tab")
    await stage.sees("notes.txt · ")
    stage.app.post_message(events.Paste("a line that is pasted\n" * 1500))
    await stage.sees("pasted text 1 · 32.2 KiB")
    await stage.write("with @read")
    await stage.sees("README.md", "draft about 9,452 of")  # all of it is counted


@scene
async def edit(at: Set) -> None:
    await tour(at.stage)
    await at.stage.press("f5")
    await at.stage.sees("Edit your message", CODE)


@scene
async def palette(at: Set) -> None:
    await at.stage.press("ctrl+p")
    await at.stage.write("copy")
    await at.stage.until(lambda: not any(one.name == "_gather_commands" for one in at.stage.app.workers))
    await at.stage.sees("Copy code")


@scene
async def notices(at: Set) -> None:
    await at.stage.write("half a thought")
    await at.stage.press("ctrl+o", "alt+left")
    await at.stage.sees("half a thought", "There is no answer to copy yet.", "about")


@scene
async def list_(at: Set) -> None:
    await at.stage.slash("list")
    await at.stage.press("home", "down")
    await at.stage.sees("Enter opens, r names, p pins", "Delete deletes, u undoes")
