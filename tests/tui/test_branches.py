"""Versions of questions and answers: made by asking again and by editing, switched by keys and by clicks."""

from __future__ import annotations

from localqwen.chats.attachment import Attachment
from localqwen.chats.store import Store
from tests.tui.stage import Stage, staged
from tui.screens.edit import EditScreen


async def again(stage: Stage, answer: str) -> None:
    count = len(stage.client.asked)
    await stage.press("ctrl+r")
    await stage.until(lambda: len(stage.client.asked) > count)
    stage.client.answer(answer)
    await stage.rests()
    await stage.sees(answer)


async def three_answers(stage: Stage) -> None:
    await stage.ask("A number?", "It is one.")
    await again(stage, "It is two.")
    await again(stage, "It is three.")
    await stage.sees("‹ 3/3 ›")


async def edit_last(stage: Stage, text: str) -> None:
    await stage.press("alt+up", "f5")
    await stage.opens(EditScreen)
    await stage.fill("#edit", text)
    await stage.press("ctrl+s")
    await stage.is_back()


async def test_three_answers_are_switched_by_clicks(store: Store) -> None:
    async with staged(store) as stage:
        await three_answers(stage)
        await stage.click("‹ 3/3")
        await stage.sees("‹ 2/3 ›", "It is two.")
        assert stage.kept_texts == ["A number?", "It is two."]
        await stage.click("‹ 2/3")
        await stage.sees("‹ 1/3 ›", "It is one.")
        await stage.click("›")
        await stage.sees("‹ 2/3 ›", "It is two.")
        assert stage.all_texts == ["A number?", "It is one.", "It is two.", "It is three."]


async def test_three_answers_are_switched_by_keys_and_the_choice_is_kept(store: Store) -> None:
    async with staged(store) as stage:
        await three_answers(stage)
        await stage.press("alt+left")
        await stage.sees("‹ 2/3 ›", "It is two.")
        await stage.press("alt+left")
        await stage.sees("‹ 1/3 ›", "It is one.")
        await stage.press("alt+right")
        await stage.sees("‹ 2/3 ›", "It is two.")
    async with staged(store) as stage:
        await stage.press("ctrl+l", "enter")
        await stage.sees("‹ 2/3 ›", "It is two.")


async def test_what_is_asked_next_goes_on_from_the_branch_that_is_shown(store: Store) -> None:
    async with staged(store) as stage:
        await three_answers(stage)
        await stage.press("alt+left")
        await stage.sees("It is two.")
        await stage.ask("And then?", "Three.")
        assert [message["content"] for message in stage.client.asked[-1]] == ["A number?", "It is two.", "And then?"]
        await stage.click("›")
        await stage.sees("It is three.")
        await stage.misses("And then?")
        await stage.click("‹ 3/3")
        await stage.sees("It is two.", "And then?", "Three.")


async def test_an_edited_question_keeps_the_old_one_and_its_files(store: Store) -> None:
    async with staged(store) as stage:
        stage.composer.fill("What is it?", [Attachment("notes.txt", "the notes")])
        await stage.press("enter")
        stage.client.answer("Notes.")
        await stage.sees("Notes.", "notes.txt")
        await stage.rests()
        await stage.press("f5")
        await stage.fill("#edit", "What is in it?")
        await stage.press("ctrl+s")
        await stage.until(lambda: len(stage.client.asked) == 2)
        stage.client.answer("Words.")
        await stage.sees("You  ‹ 2/2 ›", "What is in it?", "notes.txt", "Words.")
        await stage.rests()
        assert "the notes" in stage.client.asked[1][0]["content"]
        await stage.click("‹ 2/2")
        await stage.sees("You  ‹ 1/2 ›", "What is it?", "Notes.")


async def test_an_edited_answer_is_gone_on_with_in_the_same_message(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("Count", "one two five")
        await edit_last(stage, "one two three ")
        await stage.sees("‹ 2/2 ›", "one two three")
        assert len(stage.client.asked) == 1
        edited = stage.kept[-1].id
        await stage.slash("continue")
        await stage.hear("four")
        await stage.sees("one two three four")
        await stage.ends()
        assert stage.client.asked[1][-1] == {"role": "assistant", "content": "one two three "}
        assert stage.client.resumed == [False, True]
        assert (stage.kept[-1].id, stage.kept[-1].text) == (edited, "one two three four")
        assert stage.all_texts == ["Count", "one two five", "one two three four"]


async def test_an_answer_further_up_is_asked_for_again_and_what_followed_stays(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("first", "one")
        await stage.ask("second", "two")
        await stage.press("alt+up", "alt+up", "alt+up")
        await stage.until(lambda: "one" in stage.marked)
        await again(stage, "another one")
        await stage.misses("second")
        assert stage.kept_texts == ["first", "another one"]
        await stage.click("‹ 2/2")
        await stage.sees("second", "two")


async def test_a_changed_text_is_given_up_at_the_second_escape_only(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("first", "one")
        await stage.press("f5")
        await stage.fill("#edit", "something else")
        await stage.press("escape")
        await stage.sees("Esc again gives the changes up")
        await stage.press("escape")
        await stage.is_back()
        assert stage.all_texts == ["first", "one"]


async def test_there_is_nothing_to_switch_without_branches(store: Store) -> None:
    async with staged(store) as stage:
        await stage.press("alt+left")
        await stage.sees("There are no branches here")
        await stage.press("f5")
        await stage.sees("There is no message yet.")
        await stage.press("ctrl+r")
        await stage.sees("There is no answer yet.")
        await stage.slash("continue")
        await stage.sees("There is no answer to continue.")


async def test_branches_are_not_switched_or_edited_under_an_answer(store: Store) -> None:
    async with staged(store) as stage:
        await three_answers(stage)
        await stage.begin("And?", "half")
        for key in ("alt+left", "f5", "ctrl+r"):
            await stage.press(key)
        await stage.sees("answer is on its way")
        await stage.hear(" and more")
        await stage.ends()
        assert stage.kept_texts == ["A number?", "It is three.", "And?", "half and more"]
