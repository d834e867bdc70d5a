"""Deeds of the commands about whole conversations."""

from __future__ import annotations

import json

from tests.tui.commands.deeds import deed
from tests.tui.commands.ways import Do
from tests.tui.stage import Stage, written
from tui.screens.chat_settings import ChatSettingsScreen
from tui.screens.line import LineScreen
from tui.screens.search import SearchScreen


@deed("chat.new")
async def new(stage: Stage, do: Do) -> None:
    await stage.ask("The old one", "Its answer")
    await do()
    await stage.sees("New conversation", "It runs here")
    await stage.misses("Its answer")
    await stage.ask("The new one", "Another answer")
    assert [chat.title for chat in stage.store.chats()] == ["The new one", "The old one"]
    assert stage.list_titles == ["The new one", "The old one"]


@deed("chat.temporary")
async def temporary(stage: Stage, do: Do) -> None:
    await do()
    await stage.sees("Temporary: nothing is kept", "This conversation is temporary")
    await stage.ask("A secret?", "A secret.")
    await stage.sees("A secret.")
    await stage.write("and more of")
    await stage.until(lambda: stage.open.draft == "and more of")
    assert stage.store.chats() == []
    assert stage.store.search("secret", 9) == []
    assert stage.list_titles == []
    files = [file for file in stage.store.path.parent.rglob("*") if file.is_file()]
    assert files
    assert not any(b"secret" in file.read_bytes().lower() for file in files)
    stage.composer.fill("")
    await stage.press("ctrl+n")
    await stage.sees("This conversation is kept nowhere")
    await stage.press("enter")
    await stage.sees("New conversation")


@deed("chat.list")
async def list_(stage: Stage, do: Do) -> None:
    await stage.ask("The first one", "first answer")
    await stage.press("ctrl+n")
    await stage.misses("first answer")
    await do()
    await stage.sees("Enter opens, r names, p pins")
    assert stage.app.chat.desk.sidebar.options.has_focus
    await stage.press("enter")
    await stage.sees("first answer")
    assert stage.composer.query_one("#composer-text").has_focus


@deed("chat.search")
async def search(stage: Stage, do: Do) -> None:
    await stage.ask("Tell me of penguins", "They swim.")
    await stage.press("ctrl+n")
    await stage.misses("They swim.")
    await stage.ask("Something else", "Of course.")
    if not await do("penguins"):
        await stage.opens(SearchScreen)
        await stage.write("penguins")
    await stage.sees("Search all conversations", "2 found", "Tell me of penguins  title")
    await stage.press("down", "enter")
    await stage.sees("They swim.")
    await stage.until(lambda: "Tell me of penguins" in stage.marked)


async def named(stage: Stage, title: str) -> None:
    await stage.ask(title, f"the answer to {title}")
    await stage.sees(f"the answer to {title}")


@deed("chat.rename")
async def rename(stage: Stage, do: Do) -> None:
    await named(stage, "old name")
    if not await do("new name"):
        await stage.opens(LineScreen)
        await stage.sees("Rename", "old name")
        await stage.fill("#line", "new name")
        await stage.press("enter")
    await stage.until(lambda: stage.list_titles == ["new name"])
    await stage.sees("new name")
    assert stage.chat.title == "new name"


@deed("chat.pin")
async def pin(stage: Stage, do: Do) -> None:
    await named(stage, "pinned")
    await do()
    await stage.sees("▪ pinned")
    assert stage.chat.pinned
    await stage.press("ctrl+n")
    await stage.misses("the answer to pinned")
    await named(stage, "newer")
    await stage.until(lambda: stage.list_titles == ["▪ pinned", "newer"])
    await stage.press("ctrl+l", "home", "enter")
    await stage.sees("the answer to pinned")
    await do()
    await stage.until(lambda: sorted(stage.list_titles) == ["newer", "pinned"])
    assert not stage.chat.pinned


@deed("chat.delete")
async def delete(stage: Stage, do: Do) -> None:
    await do()
    await stage.sees("There is nothing to delete.")
    await named(stage, "unwanted")
    await do()
    await stage.sees("Deleted. /undo has it back", "New conversation")
    await stage.until(lambda: stage.list_titles == [])
    assert stage.store.chats() == []
    assert [chat.title for chat in stage.store.deleted_chats()] == ["unwanted"]


@deed("chat.undo")
async def undo(stage: Stage, do: Do) -> None:
    await do()
    await stage.sees("Nothing was deleted.")
    await named(stage, "dear")
    await stage.slash("delete")
    await stage.until(lambda: stage.list_titles == [])
    await do()
    await stage.sees("the answer to dear")
    await stage.until(lambda: stage.list_titles == ["dear"])
    assert stage.store.deleted_chats() == []
    assert stage.kept_texts == ["dear", "the answer to dear"]


@deed("chat.settings")
async def settings(stage: Stage, do: Do) -> None:
    await named(stage, "before")
    if await do("Be long."):
        await stage.until(lambda: stage.chat.system == "Be long.")
        await stage.slash("system")
    await stage.opens(ChatSettingsScreen)
    await stage.fill("#system", "Be brief.")
    await stage.fill("#param-temperature", "0.25")
    await stage.fill("#param-max_tokens", "64")
    await stage.press("ctrl+s")
    await stage.is_back()
    await stage.until(lambda: stage.chat.params.max_tokens == 64)
    await named(stage, "after")
    assert stage.client.asked[-1][0] == {"role": "system", "content": "Be brief."}
    assert (stage.client.params[-1].temperature, stage.client.params[-1].max_tokens) == (0.25, 64)
    assert stage.client.params[0].temperature is None
    assert (stage.chat.system, stage.chat.params.temperature) == ("Be brief.", 0.25)


@deed("chat.export")
async def export(stage: Stage, do: Do) -> None:
    await do()
    await stage.sees("There is nothing to export yet.")
    await named(stage, "worth keeping")
    if not await do("kept.json"):
        await stage.opens(LineScreen)
        await stage.sees("Export to", "worth-keeping.md")
        await stage.fill("#line", "kept.json")
        await stage.press("enter")
    await stage.sees("Written to", "kept.json")
    assert "the answer to worth keeping" in json.dumps(json.loads(written("kept.json")))


@deed("chat.import")
async def import_(stage: Stage, do: Do) -> None:
    await named(stage, "carried over")
    await stage.slash("export carried.md")
    await stage.sees("Written to")
    await stage.slash("delete")
    await stage.until(lambda: stage.list_titles == [])
    if not await do("carried.md"):
        await stage.opens(LineScreen)
        await stage.fill("#line", "carried.md")
        await stage.press("enter")
    # Not what is seen: what was told before lies over it for some seconds.
    await stage.until(lambda: stage.list_titles == ["carried over"])
    assert stage.kept_texts == ["carried over", "the answer to carried over"]
