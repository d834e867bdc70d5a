"""Deeds of the commands about messages and their branches."""

from __future__ import annotations

from pathlib import Path

from tests.tui.commands.deeds import deed
from tests.tui.commands.ways import Do
from tests.tui.stage import Stage
from tui.screens.edit import EditScreen
from tui.screens.line import LineScreen


@deed("answer.stop")
async def stop(stage: Stage, do: Do) -> None:
    await stage.begin("Tell me a story", "Once upon")
    await stage.sees("Once upon", "Esc stops")
    await do()
    await stage.sees("Once upon", "■ stopped", "Enter sends")
    assert (stage.kept[-1].text, stage.kept[-1].state) == ("Once upon", "stopped")
    assert stage.client.closed == 1


@deed("answer.regenerate")
async def regenerate(stage: Stage, do: Do) -> None:
    await stage.ask("A number?", "one")
    await do()
    await stage.until(lambda: len(stage.client.asked) == 2)
    stage.client.answer("two")
    await stage.sees("two", "‹ 2/2 ›")
    await stage.rests()
    assert stage.client.asked[0] == stage.client.asked[1]
    assert stage.kept_texts == ["A number?", "two"]
    assert stage.all_texts == ["A number?", "one", "two"]


@deed("answer.continue")
async def continue_(stage: Stage, do: Do) -> None:
    await stage.begin("Tell me a story", "Once upon")
    await stage.press("escape")
    await stage.sees("/continue goes on")
    first = stage.kept[-1].id
    await do()
    await stage.hear(" a time")
    await stage.sees("Once upon a time")
    await stage.ends()
    assert stage.client.resumed == [False, True]
    assert stage.client.asked[1][-1] == {"role": "assistant", "content": "Once upon"}
    assert [(m.id, m.text, m.state) for m in stage.kept[1:]] == [(first, "Once upon a time", "done")]


@deed("message.edit")
async def edit(stage: Stage, do: Do) -> None:
    await stage.ask("Capital of Japn?", "Of what?")
    await do()
    await stage.opens(EditScreen)
    await stage.sees("Edit your message", "Capital of Japn?", "Ctrl+S asks again")
    await stage.fill("#edit", "Capital of Japan?")
    await stage.press("ctrl+s")
    await stage.until(lambda: len(stage.client.asked) == 2)
    stage.client.answer("Tokyo.")
    await stage.sees("Capital of Japan?", "‹ 2/2 ›", "Tokyo.")
    await stage.rests()
    assert stage.client.asked[1] == [{"role": "user", "content": "Capital of Japan?"}]
    assert stage.kept_texts == ["Capital of Japan?", "Tokyo."]
    assert "Of what?" in stage.all_texts


async def two_answers(stage: Stage) -> None:
    await stage.ask("A number?", "the first")
    await stage.press("ctrl+r")
    await stage.until(lambda: len(stage.client.asked) == 2)
    stage.client.answer("the second")
    await stage.sees("the second", "‹ 2/2 ›")
    await stage.rests()


@deed("branch.previous")
async def previous_branch(stage: Stage, do: Do) -> None:
    await two_answers(stage)
    await do()
    await stage.sees("the first", "‹ 1/2 ›")
    assert stage.kept_texts == ["A number?", "the first"]
    await stage.press("escape")
    await do()
    await stage.sees("This is the first version.")


@deed("branch.next")
async def next_branch(stage: Stage, do: Do) -> None:
    await two_answers(stage)
    await stage.press("alt+left")
    await stage.sees("the first", "‹ 1/2 ›")
    await do()
    await stage.sees("the second", "‹ 2/2 ›")
    assert stage.kept_texts == ["A number?", "the second"]
    await do()
    await stage.sees("This is the last version.")


async def a_queue(stage: Stage) -> None:
    await stage.begin("first", "an ans")
    await stage.send("second")
    await stage.sees("queued", "1 queued")
    await stage.press("escape")
    await stage.sees("■ stopped", "Enter sends · 1 queued")
    assert [one.text for one in stage.store.queue(stage.chat.id)] == ["second"]


@deed("message.attach")
async def attach(stage: Stage, do: Do) -> None:
    Path("notes.txt").write_text("the notes\n")  # noqa: ASYNC240 (a test may wait for a disk)
    if not await do("notes.txt"):
        await stage.opens(LineScreen)
        await stage.sees("Attach")
        await stage.fill("#line", "notes.txt")
        await stage.press("enter")
        await stage.is_back()
    await stage.sees("notes.txt · 10 B · 1 line")
    await stage.begin("What is in it?", "Notes.")
    assert "the notes" in str(stage.client.asked[0][-1]["content"])
    assert [file.name for file in stage.kept[0].attachments] == ["notes.txt"]


@deed("queue.send")
async def send_queue(stage: Stage, do: Do) -> None:
    await a_queue(stage)
    await do()
    await stage.until(lambda: len(stage.client.asked) == 2)
    stage.client.answer("the rest")
    await stage.sees("the rest")
    await stage.rests()
    assert stage.kept_texts == ["first", "an ans", "second", "the rest"]
    assert stage.store.queue(stage.chat.id) == []
    assert "queued" not in stage.screen


@deed("queue.clear")
async def clear_queue(stage: Stage, do: Do) -> None:
    await a_queue(stage)
    await do()
    await stage.until(lambda: stage.composer.text == "second")
    await stage.misses("queued")
    assert stage.store.queue(stage.chat.id) == []
    assert stage.chat.draft == "second"
    assert stage.kept_texts == ["first", "an ans"]
