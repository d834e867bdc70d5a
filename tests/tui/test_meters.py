"""Figures of an answer, as values and as words."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from localqwen.chats.answer import Answer
from localqwen.chats.tree import Message
from localqwen.device_memory import DeviceMemory
from localqwen.events import Delta, Finished, Loading, Prefill, Ready, Usage
from localqwen.pace import Pace
from tests.tui.test_sanitize import is_harmless
from tui.meters import Meters, Watch, loading_words, meters, parts, reading_words

ANSWER = Answer(Message(1, 1, None, "assistant", "Once", "streaming", 0.0))
READY = Ready("m", 4096)


def watched(*events: tuple[float, Prefill | Delta | Finished]) -> Watch:
    watch = Watch()
    for now, event in events:
        watch = watch.see(event, now)
    return watch


def test_nothing_is_known_before_a_question() -> None:
    assert meters(None, READY) == Meters(window=4096)
    assert parts(meters(None, READY)) == []


def test_a_prompt_that_is_read_tells_how_long_it_takes() -> None:
    watch = watched((100, Prefill(0, 1000)), (102, Prefill(200, 1000)))
    assert reading_words(watch, 102) == "reading 200 of 1000 tokens, 8 s left"
    assert reading_words(watched((100, Prefill(900, 1000))), 100) == "reading 900 of 1000 tokens"
    assert reading_words(watched((100, Prefill(5, 5))), 100) == ""
    assert watched((100, Prefill(0, 9)), (103, Prefill(5, 9)), (104, Delta("x"))).reading_left(105) is None


def test_a_running_answer() -> None:
    answer = replace(
        ANSWER, prefill=Prefill(900, 900, 2.5), tokens=20, asked_at=-0.5, first_token_at=1.0, last_token_at=2.0
    )
    memory = (
        DeviceMemory("CUDA0", "A card", "gpu", 6 << 30, 8 << 30),
        DeviceMemory("CPU", "x", "cpu", 1 << 30, 2 << 30),
    )
    watch = watched((100, Prefill(900, 900)), (101.5, Delta("x")), (102, Delta("y")))
    assert parts(meters(answer, READY, watch, memory)) == [
        "19.0 tok/s",
        "context 920/4096",
        "YaRN ×2.5",
        "first token 1.5 s",
        "CUDA0 6.0/8.0 GiB",
        "RAM 1.0/2.0 GiB",
    ]


def test_an_answer_of_the_past_tells_what_was_kept_of_it() -> None:
    usage = Usage(40, 2, prefill_seconds=0.2, decode_seconds=0.5, yarn_factor=1.0, first_token_seconds=0.25)
    answer = replace(ANSWER, message=replace(ANSWER.message, state="done", usage=usage))
    assert parts(meters(answer, READY)) == ["4.0 tok/s", "context 42/4096", "first token 0.25 s"]
    assert parts(meters(answer, Ready("m", 0)))[1] == "context 42 tokens"
    unmeasured = replace(answer, message=replace(answer.message, usage=Usage(40, 2, prefill_seconds=0.2)))
    assert parts(meters(unmeasured, READY)) == ["context 42/4096"]


def test_loading_tells_bytes_and_time() -> None:
    pace = Pace().at(0.0, 0).at(0.5, 10)
    assert loading_words(Loading(0.5, 4_000_000_000, 8_000_000_000), pace, 10) == "50%, 4.0 of 8.0 GB, 10 s left"
    assert loading_words(Loading(0.5), Pace(), 0) == "50%"


@given(st.text())
def test_a_devices_name_is_foreign(name: str) -> None:
    (text,) = parts(Meters(memory=(DeviceMemory(name, "", "gpu", 1, 2),)))
    assert is_harmless(text)
