"""Deeds of the commands about what is shown."""

from __future__ import annotations

from tests.tui.commands.deeds import deed
from tests.tui.commands.ways import Do
from tests.tui.stage import Stage, folder, written
from tui.screens.line import LineScreen
from tui.widgets.find_bar import FindBar

LONG = "\n\n".join(f"paragraph {number}" for number in range(80))
CODE = "Two ways:\n\n```python\nprint(1)\n```\n\nor\n\n```sh\necho 1\n```\n"


@deed("view.find")
async def find(stage: Stage, do: Do) -> None:
    await stage.ask("Where is the needle?", "A needle in a haystack.")
    if not await do("needle"):
        await stage.until(lambda: stage.app.chat.query_one(FindBar).is_open)
        await stage.write("needle")
    await stage.sees("1 of 2")
    await stage.press("f3")
    await stage.sees("2 of 2")
    await stage.press("escape")
    await stage.misses("2 of 2")
    assert stage.composer.query_one("#composer-text").has_focus


@deed("message.previous")
async def previous_message(stage: Stage, do: Do) -> None:
    await stage.ask("The question", "The answer")
    await do()
    await stage.until(lambda: "The answer" in stage.marked)
    await do()
    await stage.until(lambda: "The question" in stage.marked)
    assert "The answer" not in stage.marked


@deed("message.next")
async def next_message(stage: Stage, do: Do) -> None:
    await stage.ask("The question", "The answer")
    await do()
    await stage.until(lambda: "The question" in stage.marked)
    await do()
    await stage.until(lambda: "The answer" in stage.marked)


@deed("code.previous")
async def previous_code(stage: Stage, do: Do) -> None:
    await stage.ask("How?", CODE)
    await do()
    await stage.until(lambda: "echo 1" in stage.marked)
    await do()
    await stage.until(lambda: "print(1)" in stage.marked)
    assert "echo 1" not in stage.marked


@deed("code.next")
async def next_code(stage: Stage, do: Do) -> None:
    await stage.ask("How?", CODE)
    await do()
    await stage.until(lambda: "print(1)" in stage.marked)
    await do()
    await stage.until(lambda: "echo 1" in stage.marked)


@deed("message.copy")
async def copy(stage: Stage, do: Do) -> None:
    await do()
    await stage.sees("There is no answer to copy yet.")
    await stage.ask("How?", "It is **bold**.")
    await do()
    await stage.sees("Copied to")
    assert stage.app.clipboard == "It is **bold**."


@deed("code.copy")
async def copy_code(stage: Stage, do: Do) -> None:
    await do()
    await stage.sees("There is no code here yet.")
    await stage.ask("How?", CODE)
    await do()
    await stage.sees("Copied to")
    assert stage.app.clipboard == "echo 1\n"
    await stage.press("alt+pageup", "alt+pageup")
    await do()
    await stage.until(lambda: stage.app.clipboard == "print(1)\n")


@deed("code.save")
async def save_code(stage: Stage, do: Do) -> None:
    await stage.ask("How?", CODE)
    if not await do("one.sh"):
        await stage.opens(LineScreen)
        await stage.sees("Save the code as", "code.sh")
        await stage.fill("#line", "one.sh")
        await stage.press("enter")
    await stage.sees("Written to", "one.sh")
    assert written("one.sh") == "echo 1\n"
    assert folder() == ["one.sh"]


@deed("code.open")
async def open_code(stage: Stage, do: Do) -> None:
    await stage.ask("How?", CODE)
    await do()
    await stage.until(lambda: "seen.sh" in folder())  # the editor of the tests keeps what it was given
    await stage.rests()
    assert written("seen.sh") == "echo 1\n"
    assert stage.kept[-1].text == CODE


@deed("view.page_up")
async def page_up(stage: Stage, do: Do) -> None:
    await stage.ask("Much, please", LONG)
    await stage.sees("paragraph 79")
    await do()
    await stage.misses("paragraph 79")
    assert not stage.transcript.following


@deed("view.page_down")
async def page_down(stage: Stage, do: Do) -> None:
    await stage.ask("Much, please", LONG)
    await stage.press("pageup", "pageup")
    await stage.misses("paragraph 79")
    await do()
    await do()
    await stage.sees("paragraph 79")
    assert stage.transcript.following


@deed("view.start")
async def start(stage: Stage, do: Do) -> None:
    await stage.ask("Much, please", LONG)
    await stage.misses("paragraph 0 ")
    await do()
    await stage.sees("Much, please", "paragraph 0")
    assert stage.transcript.scroll_y == 0


@deed("view.end")
async def end(stage: Stage, do: Do) -> None:
    await stage.ask("Much, please", LONG)
    await stage.slash("start")
    await stage.sees("paragraph 0")
    await do()
    await stage.sees("paragraph 79")
    assert stage.transcript.following
