"""Sources whose strings come into dialogs and their fields."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from textual.widgets import Input, OptionList, Select, TextArea

from benchmarks.fuzz.app import Fuzz, portions
from benchmarks.fuzz.transcript import message, transfer
from localqwen.endpoint import Endpoint
from localqwen.events import Planned
from localqwen.params import SamplingParams
from localqwen.plan import Plan, Share
from localqwen.settings import Settings
from tests.tui.fakes import FakeSource
from tui.connections import RemoteServer
from tui.model_list import ModelRow
from tui.model_source import RemoteModels
from tui.sanitize import SafeText, safe, safe_line
from tui.screens.chat_settings import ChatSettings, ChatSettingsScreen
from tui.screens.edit import EditScreen
from tui.screens.line import LineScreen
from tui.screens.models import ModelsScreen
from tui.screens.plan import PlanScreen
from tui.screens.search import SearchScreen
from tui.screens.settings import SettingsScreen
from tui.widgets.find_bar import FindBar

ADVISED = 6


async def picker(fuzz: Fuzz, count: int) -> None:
    """Models to choose from."""
    for portion in portions(count, 300):
        rows = [
            ModelRow(
                name, name, number % 3 * 10**10, path=Path(name) if number % 3 else None, is_remote=number % 3 == 0
            )
            for number, name in enumerate(fuzz.lines("D2", portion))
        ]
        screen = ModelsScreen(FakeSource(*rows), rows[0].name)
        await fuzz.open(screen)
        await fuzz.until(lambda: fuzz.app.screen.query_one(OptionList).option_count)
        await fuzz.walk(fuzz.app.screen.query_one(OptionList))
        for _ in range(ADVISED):
            screen.action_move(1)
            await fuzz.painted()
        await fuzz.close()


async def remote(fuzz: Fuzz, count: int) -> None:
    """Models that another server offers, over HTTP."""
    for portion in portions(count, 300):
        offered = json.dumps({"data": [{"id": name, "max_model_len": 4096} for name in fuzz.lines("D6", portion)]})
        async with _serving(offered.encode()) as url:
            await fuzz.open(ModelsScreen(RemoteModels(RemoteServer(Endpoint(url))), "x"))
            await fuzz.until(lambda: fuzz.app.screen.query_one(OptionList).option_count)
            await fuzz.walk(fuzz.app.screen.query_one(OptionList))
            await fuzz.close()


@asynccontextmanager
async def _serving(body: bytes) -> AsyncIterator[str]:
    """A server that answers everything with the same JSON."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def plans(fuzz: Fuzz, count: int) -> None:
    """Devices, and what a server says of its plan."""
    for portion in portions(count // 2, 100):
        devices, words = fuzz.lines("D3", portion), fuzz.lines("D3", portion)
        shares = tuple(Share(name, name, "gpu", 0, 1, False, 1, 1, 1, 1, 1) for name in devices)
        plan = Plan(words[0], 1, 1, "f16", 1, "layer", 1, shares, 1.0, 1.0, True, words[0], tuple(words), tuple(words))
        fuzz.app.backend.planned = Planned(plan)
        await fuzz.open(PlanScreen(fuzz.app.backend))
        await fuzz.walk(fuzz.app.screen.query_one("#plan"))
        await fuzz.close()


async def found(fuzz: Fuzz, count: int) -> None:
    """What a search shows of messages, and what is looked for."""
    for number, portion in enumerate(portions(count, 200)):
        needle = f"needle{number}"
        texts = [" ".join([*fuzz.lines("F1", 2), needle, *fuzz.lines("F1", 2)]) for _ in range(max(1, portion // 4))]
        said = [message(at, "user", text) for at, text in enumerate(texts, 1)]
        await asyncio.to_thread(fuzz.store.add, transfer(fuzz.lines("F1", 1)[0], said))
        await fuzz.open(SearchScreen(fuzz.store, safe_line(needle)))
        await fuzz.until(lambda: fuzz.app.screen.query_one(OptionList).option_count)
        await fuzz.walk(fuzz.app.screen.query_one(OptionList))
        await _fill(fuzz, fuzz.app.screen.query_one(Input), fuzz.lines("F2", min(20, portion)))
        await fuzz.close()


async def _fill(fuzz: Fuzz, field: Input, texts: Sequence[str]) -> None:
    """Paste into a field of one line, again and again."""
    field.focus()
    field.scroll_visible(animate=False)
    await fuzz.painted()
    for text in texts:
        field.value = ""
        await fuzz.paste(text)


async def finds(fuzz: Fuzz, count: int) -> None:
    """Pastes into the field that finds in a conversation, where each is found."""
    bar = fuzz.app.chat.query_one(FindBar)
    texts = fuzz.lines("F3", count)
    chat = await asyncio.to_thread(fuzz.store.add, transfer("Found", [message(1, "user", "\n".join(texts))]))
    await fuzz.desk.open(chat.id)
    bar.open("x")
    await fuzz.painted()
    await _fill(fuzz, bar.query_one(Input), texts)
    bar.action_close()
    fuzz.desk.show(fuzz.desk.blank())
    fuzz.desk.composer.focus()


async def one_lines(fuzz: Fuzz, count: int) -> None:
    """Dialogs with a field: a title to be changed, a name for a file."""
    for portion in portions(count, 20):
        names = fuzz.lines("F4", portion)
        await fuzz.open(LineScreen(SafeText("Rename"), safe_line(names[0]), SafeText("x")))
        await _fill(fuzz, fuzz.app.screen.query_one(Input), names[1:])
        await fuzz.close()


async def edits(fuzz: Fuzz, count: int) -> None:
    """Messages to be changed, and pastes into them."""
    for portion in portions(count // 2, 200):
        text = fuzz.text("F5", portion)
        await fuzz.open(EditScreen(SafeText("x"), safe(text), SafeText("x")))
        await _area(fuzz, fuzz.text("F5", portion))
        await fuzz.close()


async def prompts(fuzz: Fuzz, count: int) -> None:
    """System prompts, and pastes into them."""
    for portion in portions(count // 2, 60):
        settings = ChatSettings(fuzz.text("F6", portion), SamplingParams())
        await fuzz.open(ChatSettingsScreen(fuzz.store, settings, SamplingParams()))
        await _area(fuzz, fuzz.text("F6", portion))
        await fuzz.close()


async def _area(fuzz: Fuzz, pasted: str) -> None:
    area = fuzz.app.screen.query_one(TextArea)
    await fuzz.walk(area)
    area.focus()
    await fuzz.paste(pasted)
    await fuzz.walk(area)


async def presets(fuzz: Fuzz, count: int) -> None:
    """Names of presets."""
    for portion in portions(count, 100):
        for name in fuzz.lines("F7", portion):
            fuzz.store.add_preset(name, name, SamplingParams())
        await fuzz.open(ChatSettingsScreen(fuzz.store, ChatSettings("", SamplingParams()), SamplingParams()))
        select = fuzz.app.screen.query_one(Select)
        select.scroll_visible(animate=False)
        select.expanded = True
        await fuzz.painted()
        await fuzz.walk(select.query_one(OptionList))
        await fuzz.close()
        for preset in fuzz.store.presets():
            fuzz.store.remove_preset(preset.id)


async def settings(fuzz: Fuzz, count: int) -> None:
    """The settings file's texts."""
    for portion in portions(count, 30):
        texts = fuzz.lines("F9", portion)
        chosen = Settings(editor=texts[0], system_prompt="\n".join(texts[1:]))
        await fuzz.open(SettingsScreen(chosen))
        await fuzz.walk(fuzz.app.screen.query_one("#settings-lines"))
        await fuzz.walk(fuzz.app.screen.query_one(TextArea))
        for area in fuzz.app.screen.query(Input):
            await _fill(fuzz, area, fuzz.lines("F9", 2))
        await fuzz.close()
