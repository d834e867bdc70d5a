"""Finding text here, and in all conversations."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from localqwen.chats.attachment import Attachment
from localqwen.chats.query import Hit
from localqwen.chats.store import Store
from tests.tui.stage import Stage, staged, written
from tui.screens.line import LineScreen
from tui.screens.search import SearchScreen
from tui.widgets.find_bar import FindBar

LONG = "\n\n".join(f"paragraph {number}" + (" with a needle" if number in (5, 50) else "") for number in range(80))


async def search_for(stage: Stage, words: str) -> None:
    await stage.press("f4")
    await stage.opens(SearchScreen)
    await stage.fill("#search", words)


async def test_the_bar_steps_through_what_is_found_and_round_the_end(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("Where is the Needle?", LONG)
        await stage.press("f3")
        await stage.write("needle")
        await stage.sees("of 3")
        seen = set()
        for _ in range(3):
            seen.add(stage.screen.split(" of 3")[0].split()[-1])
            await stage.press("enter")
        assert seen == {"1", "2", "3"}
        before = stage.screen.split(" of 3")[0].split()[-1]
        await stage.press("shift+f3", "f3")
        assert stage.screen.split(" of 3")[0].split()[-1] == before


async def test_a_message_is_found_by_what_is_in_its_file(store: Store) -> None:
    async with staged(store) as stage:
        stage.composer.fill("What is it?", [Attachment("notes.txt", "where the lighthouse\x1b[31m stands")])
        await stage.press("enter")
        await stage.until(lambda: stage.client.asked)
        stage.client.answer("Notes.")
        await stage.rests()
        await stage.press("ctrl+n")
        await stage.sees("New conversation")
        await search_for(stage, "lighth")
        await stage.sees("1 found", "What is it?  in a file", "where the lighthouse[31m stands")
        await stage.press("enter")
        await stage.is_back()
        await stage.sees("Notes.")


async def test_capitals_are_respected_and_nothing_is_said_to_be_none(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("Where is the Needle?", LONG)
        await stage.slash("find Needle")
        await stage.sees("1 of 1", "Where is the Needle?")
        await stage.write("Nadel")  # in the place of what is there
        await stage.sees("none")
        await stage.press("escape")
        await stage.until(lambda: not stage.app.chat.query_one(FindBar).is_open)
        assert stage.transcript.found.count == 0


async def test_what_is_found_is_shown_while_an_answer_grows(store: Store) -> None:
    async with staged(store) as stage:
        await stage.begin("Where?", "a needle")
        await stage.slash("find needle")
        await stage.sees("1 of 1")
        await stage.hear(" and another needle")
        await stage.sees("1 of 2")
        await stage.ends()


async def test_a_hit_is_opened_at_its_message_in_a_long_conversation(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("First of all, penguins", "They swim.")
        await stage.ask("Much else", LONG)
        await stage.press("ctrl+n")
        await stage.misses("paragraph")
        await search_for(stage, "swim")
        await stage.sees("1 found", "They swim.")
        await stage.press("enter")
        await stage.is_back()
        await stage.until(lambda: "They swim." in stage.marked)


async def test_enter_right_behind_the_words_opens_the_hit_once_it_is_there(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(store) as stage:
        await stage.ask("First of all, penguins", "They swim.")
        await stage.press("ctrl+n")
        await stage.misses("They swim.")
        found, search = threading.Event(), store.search

        def slow(text: str, limit: int) -> list[Hit]:
            found.wait(10)
            return search(text, limit)

        monkeypatch.setattr(store, "search", slow)
        await search_for(stage, "swim")
        await stage.press("enter")
        assert isinstance(stage.app.screen, SearchScreen)
        found.set()
        await stage.is_back()
        await stage.until(lambda: "They swim." in stage.marked)


async def test_a_hit_on_another_branch_switches_to_it(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("A bird?", "The penguin.")
        await stage.press("ctrl+r")
        await stage.until(lambda: len(stage.client.asked) == 2)
        stage.client.answer("The ostrich.")
        await stage.sees("The ostrich.")
        await stage.rests()
        await search_for(stage, "pengu")
        await stage.sees("1 found")
        await stage.press("enter")
        await stage.sees("‹ 1/2 ›")
        await stage.until(lambda: "The penguin." in stage.marked)
        assert stage.kept_texts == ["A bird?", "The penguin."]


async def test_a_hit_is_chosen_with_the_mouse_and_nothing_found_is_said(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("A bird?", "The penguin.")
        await stage.press("ctrl+n")
        await stage.misses("The penguin.")
        await search_for(stage, "zebra")
        await stage.sees("nothing found")
        await stage.press("enter")
        assert isinstance(stage.app.screen, SearchScreen)
        await stage.fill("#search", "penguin")
        await stage.sees("1 found")
        await stage.click("The penguin.")
        await stage.is_back()
        await stage.sees("The penguin.")


async def test_temporary_and_deleted_conversations_are_not_found(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("A deleted penguin?", "Gone.")
        await stage.slash("delete")
        await stage.misses("Gone.")
        await stage.slash("temporary")
        await stage.ask("A temporary penguin?", "Soon gone.")
        await search_for(stage, "penguin")
        await stage.sees("nothing found")


async def test_another_conversation_closes_the_bar_and_another_branch_is_searched(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("A bird?", "The penguin.")
        await stage.press("ctrl+r")
        await stage.until(lambda: len(stage.client.asked) == 2)
        stage.client.answer("The penguin is a penguin.")
        await stage.sees("is a penguin")
        await stage.rests()
        await stage.slash("find penguin")
        await stage.sees("1 of 2")
        await stage.press("alt+left")
        await stage.sees("1 of 1")
        await stage.press("ctrl+n")
        await stage.sees("New conversation")
        await stage.until(lambda: not stage.app.chat.query_one(FindBar).is_open)
        assert "of 1" not in stage.screen


async def test_a_hit_in_a_long_message_is_opened_at_its_words(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("Much", LONG.replace("with a needle", "with a **Sewing**  needle"))
        await stage.ask("Another sewing needle?", LONG)
        await stage.press("ctrl+n")
        await stage.misses("paragraph")
        await search_for(stage, "sewing paragraph")
        await stage.sees("1 found")
        await stage.press("enter")
        await stage.is_back()
        await stage.sees("paragraph 5 with a Sewing", "1 of 3")
        await stage.press("enter")
        await stage.sees("paragraph 50 with a Sewing", "2 of 3")


async def test_a_hit_whose_words_are_not_shown_is_opened_at_its_message(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("Where?", '[there](https://example.org "unseen")')
        await stage.press("ctrl+n")
        await stage.misses("there")
        await search_for(stage, "unseen")
        await stage.sees("1 found")
        await stage.press("enter")
        await stage.is_back()
        await stage.until(lambda: "there" in stage.marked)
        assert not stage.app.chat.query_one(FindBar).is_open


async def test_a_search_that_is_ended_in_the_transcript_closes_the_bar(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("Where is the Needle?", LONG)
        await stage.slash("find needle")
        await stage.sees("of 3")
        stage.transcript.focus()
        await stage.press("n", "escape")
        await stage.misses("of 3")
        assert not stage.app.chat.query_one(FindBar).is_open
        assert stage.transcript.has_focus
        # The next one begins anew.
        await stage.slash("find needle")
        await stage.sees("of 3")


async def test_code_is_saved_and_opened_with_keys_in_the_transcript(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opened: list[str] = []

    async def edit(_: object, text: str, **__: object) -> None:
        opened.append(text)

    monkeypatch.setattr("tui.editor.edit", edit)
    async with staged(store) as stage:
        await stage.ask("Code?", "```c\nint x;\n```\n\n```python\ny = 1\n```")
        stage.transcript.focus()
        await stage.press("left_square_bracket", "left_square_bracket", "o")
        await stage.until(lambda: opened == ["int x;\n"])
        await stage.press("s")
        await stage.opens(LineScreen)
        await stage.press("enter")
        await stage.is_back()
        await stage.until((tmp_path / "code.c").exists)
        assert written("code.c") == "int x;\n"
