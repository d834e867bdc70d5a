"""A mark on a message counts where it is seen, and not after something else has been said."""

from __future__ import annotations

from localqwen.chats.store import Store
from tests.tui.stage import Stage, staged
from tui.screens.edit import EditScreen

LONG = "\n\n".join(f"Paragraph {number}." for number in range(60))


async def two_answers(stage: Stage) -> None:
    await stage.ask("first?", "one")
    await stage.press("ctrl+r")
    await stage.until(lambda: len(stage.client.asked) == 2)
    stage.client.answer("uno")
    await stage.rests()


async def test_what_is_asked_after_a_switch_lets_go_of_its_mark(store: Store) -> None:
    async with staged(store) as stage:
        await two_answers(stage)
        await stage.press("alt+left")
        await stage.until(lambda: "one" in stage.marked)
        await stage.ask("second?", "two")
        assert stage.transcript.current is None
        await stage.press("ctrl+r")
        await stage.until(lambda: len(stage.client.asked) == 4)
        stage.client.answer("zwei")
        await stage.rests()
        assert stage.kept_texts == ["first?", "one", "second?", "zwei"]


async def test_a_queued_message_lets_go_of_a_mark_too(store: Store) -> None:
    async with staged(store) as stage:
        await two_answers(stage)
        await stage.begin("second?", "half")
        await stage.press("alt+up", "alt+up")
        await stage.until(lambda: stage.transcript.current)
        await stage.send("third?")
        assert stage.transcript.current is None


async def test_a_mark_that_is_out_of_view_counts_for_nothing(store: Store) -> None:
    async with staged(store) as stage:
        await two_answers(stage)
        await stage.ask("second?", LONG)
        await stage.press(*["alt+up"] * 4)
        await stage.until(lambda: "first?" in stage.marked)
        await stage.press("ctrl+end")
        await stage.misses("uno")
        await stage.press("f5")
        await stage.opens(EditScreen)
        await stage.sees("second?")
        await stage.press("escape")
        await stage.is_back()
        await stage.press("ctrl+r")
        await stage.until(lambda: len(stage.client.asked) == 4)
        stage.client.answer("short")
        await stage.rests()
        assert stage.kept_texts == ["first?", "uno", "second?", "short"]


async def test_a_long_message_is_marked_wherever_it_is_read(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("first?", LONG)
        await stage.ask("second?", "two")
        await stage.press(*["alt+up"] * 3)
        await stage.until(lambda: "Paragraph 1." in stage.marked)
        await stage.press("pagedown")
        await stage.misses("Paragraph 1.")
        await stage.press("f5")
        await stage.sees("Edit the answer")


async def test_a_question_that_no_answer_followed_is_answered(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("first?", "one")
        store.ask(stage.chat.id, stage.kept[-1].id, "second?")  # as a kill before the answer leaves it
    async with staged(store) as stage:
        await stage.press("ctrl+l", "enter")
        await stage.sees("second?")
        await stage.press("ctrl+r")
        await stage.until(lambda: len(stage.client.asked) == 1)
        stage.client.answer("two")
        await stage.rests()
        assert stage.kept_texts == ["first?", "one", "second?", "two"]


async def test_going_on_after_a_question_answers_it(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("first?", "one")
        store.ask(stage.chat.id, stage.kept[-1].id, "second?")
    async with staged(store) as stage:
        await stage.press("ctrl+l", "enter")
        await stage.sees("second?")
        await stage.slash("continue")
        await stage.until(lambda: len(stage.client.asked) == 1)
        stage.client.answer("two")
        await stage.rests()
        assert stage.client.resumed == [False]
        assert stage.kept_texts == ["first?", "one", "second?", "two"]


async def test_a_marked_question_is_answered_again(store: Store) -> None:
    async with staged(store) as stage:
        await stage.ask("first?", "one")
        await stage.ask("second?", "two")
        await stage.press("alt+up", "alt+up")
        await stage.until(lambda: "second?" in stage.marked)
        await stage.press("ctrl+r")
        await stage.until(lambda: len(stage.client.asked) == 3)
        stage.client.answer("zwei")
        await stage.rests()
        assert stage.kept_texts == ["first?", "one", "second?", "zwei"]
        await stage.press(*["alt+up"] * 4)
        await stage.until(lambda: "first?" in stage.marked)
        await stage.press("ctrl+r")
        await stage.until(lambda: len(stage.client.asked) == 4)
        stage.client.answer("eins")
        await stage.rests()
        assert stage.kept_texts == ["first?", "eins"]
