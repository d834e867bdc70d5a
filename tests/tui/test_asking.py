"""Asking and being answered, at each moment of it; the model is scripted."""

from __future__ import annotations

from textual import events

from localqwen.chats.store import Store
from localqwen.events import Finished, Loading, Prefill, Ready, Usage
from tests.tui.fakes import SIZE, FakeConnection, last_message, press, screen_text, shows, type_text, until
from tests.tui.stage import staged
from tui.app import ChatApp
from tui.widgets.composer import Composer


async def test_a_question_is_answered_and_the_next_one_knows_it(
    app: ChatApp, store: Store, connection: FakeConnection
) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "ready", "Ask anything", "stays on this machine"))
        await type_text(pilot, "Capital of Japan?")
        await press(pilot, "enter")
        connection.client.say("It is ", "**Tokyo**.")
        await until(pilot, shows(pilot, "It is Tokyo.", "Esc stops"))
        usage = Usage(prompt_tokens=40, completion_tokens=2, decode_seconds=0.5)
        connection.client.events.put_nowait(Finished("stop", usage))
        await until(pilot, shows(pilot, "2 tokens · 4.0 tok/s", "context 42/4096", "Enter sends"))
        await type_text(pilot, "Sure?")
        await press(pilot, "enter")
        connection.client.answer("Yes.")
        await until(pilot, shows(pilot, "Yes."))
        assert connection.client.asked[1] == [
            {"role": "user", "content": "Capital of Japan?"},
            {"role": "assistant", "content": "It is **Tokyo**."},
            {"role": "user", "content": "Sure?"},
        ]
        await until(pilot, lambda: last_message(store).model == "fake")


async def test_what_is_sent_while_the_model_loads_waits_for_it(store: Store) -> None:
    connection = FakeConnection(ready=False)
    app = ChatApp(store, connection)
    async with app.run_test(size=SIZE) as pilot:
        await type_text(pilot, "early")
        connection.load(Loading(0.42))
        await press(pilot, "enter")
        await until(pilot, shows(pilot, "loading", "42%", "goes out when the model is loaded (42%)"))
        assert store.tree(store.chats()[0].id).path(last_message(store).id)[0].text == "early"
        assert connection.client.asked == []
        connection.load(Ready("fake", 8192))
        connection.client.events.put_nowait(Prefill(512, 2048))
        await until(pilot, shows(pilot, "reading 512/2048", "reading 512 of 2048 tokens"))
        connection.client.answer("at last")
        await until(pilot, shows(pilot, "at last", "Enter sends"))


async def test_escape_stops_a_message_that_waits_for_the_model(store: Store) -> None:
    app = ChatApp(store, FakeConnection(ready=False))
    async with app.run_test(size=SIZE) as pilot:
        await type_text(pilot, "hello")
        await press(pilot, "enter")
        await until(pilot, shows(pilot, "goes out when"))
        await press(pilot, "escape")
        await until(pilot, shows(pilot, "■ stopped"))


async def test_enter_breaks_no_line_and_the_others_do(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "a", "ctrl+j", "b", "shift+enter", "c", "alt+enter", "d")
        assert app.chat.query_one(Composer).text == "a\nb\nc\nd"
        await press(pilot, "enter")
        await until(pilot, lambda: connection.client.asked)
        assert connection.client.asked[0][0]["content"] == "a\nb\nc\nd"
        assert app.chat.query_one(Composer).text == ""


async def test_keys_that_come_in_one_burst_keep_their_order(
    app: ChatApp, store: Store, connection: FakeConnection
) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "ready"))

        def burst(*keys: str) -> None:
            for key in keys:
                app.post_message(events.Key(key, key if len(key) == 1 else None))

        burst("a", "ctrl+j", "b", "x", "backspace", "enter", "c", "d")
        await until(pilot, lambda: connection.client.asked)
        assert connection.client.asked[0][0]["content"] == "a\nb"
        await until(pilot, lambda: app.chat.query_one(Composer).text == "cd")
        burst("e", "ctrl+q")
        await until(pilot, lambda: store.chats()[0].draft == "cde")


async def test_nothing_is_sent_when_there_is_nothing(app: ChatApp, store: Store) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "enter", "space", "enter")
        await press(pilot, "ctrl+q")
    assert all(chat.tip is None for chat in store.chats())


async def test_what_is_sent_during_an_answer_waits_for_its_end(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "a", "enter")
        connection.client.say("answering")
        await until(pilot, shows(pilot, "answering"))
        await press(pilot, "b", "enter")
        await until(pilot, shows(pilot, "queued", "1 queued"))
        assert app.chat.query_one(Composer).text == ""
        connection.client.events.put_nowait(Finished("stop"))
        await until(pilot, lambda: len(connection.client.asked) == 2)
        assert connection.client.asked[1][-1] == {"role": "user", "content": "b"}
        connection.client.answer("second")
        await until(pilot, shows(pilot, "second", "Enter sends"))
        assert "queued" not in screen_text(app)


async def test_an_answer_goes_on_while_another_conversation_is_shown(
    app: ChatApp, store: Store, connection: FakeConnection
) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await type_text(pilot, "first")
        await press(pilot, "enter")
        connection.client.say("beginning")
        await until(pilot, shows(pilot, "beginning"))
        await press(pilot, "ctrl+n")
        await until(pilot, lambda: "beginning" not in screen_text(app))
        connection.client.say(" and end")
        await until(pilot, lambda: last_message(store).text == "beginning and end")
        await press(pilot, "ctrl+l", "home", "enter")
        await until(pilot, shows(pilot, "beginning and end", "Esc stops"))
        connection.client.say(" and more")
        await until(pilot, shows(pilot, "beginning and end and more"))
        connection.client.events.put_nowait(Finished("stop"))
        await until(pilot, shows(pilot, "Enter sends"))


async def test_an_answer_that_was_cut_off_says_so_and_can_be_gone_on_with(store: Store) -> None:
    async with staged(store) as stage:
        await stage.begin("A story", "Once upon")
        stage.client.events.put_nowait(Finished("length", Usage(9, 512, decode_seconds=10.0)))
        await stage.sees("■ cut off at 512 tokens · 51.2 tok/s · /continue goes on")
    async with staged(store) as stage:
        await stage.press("ctrl+l", "enter")
        await stage.sees("■ cut off at 512 tokens · 51.2 tok/s · /continue goes on")
        await stage.slash("continue")
        await stage.hear(" a time")
        await stage.misses("cut off")
        await stage.ends()
        assert (stage.kept[-1].text, stage.kept[-1].is_cut) == ("Once upon a time", False)
        await stage.misses("cut off")


async def test_an_answer_of_nothing_says_so(app: ChatApp, connection: FakeConnection) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await type_text(pilot, "a")
        await press(pilot, "enter")
        connection.client.events.put_nowait(Finished("stop"))
        await until(pilot, shows(pilot, "The answer is empty.", "Enter sends"))
