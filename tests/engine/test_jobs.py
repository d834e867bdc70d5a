"""Many jobs in one loop, with the real demo model."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import pytest

from localqwen.engine import rope
from localqwen.engine.caches import START_SIZE
from localqwen.engine.context import Context, DecodeError
from localqwen.engine.engine import Engine
from localqwen.engine.job import Request
from localqwen.engine.options import EngineOptions
from localqwen.events import AnswerEvent, Delta, Finished, Prefill
from localqwen.params import ChatMessage, SamplingParams
from tests.engine.asking import JAPAN, STORY, Question, ask, loaded
from tests.server.running import DEADLINE, wait_until

FRANCE: list[ChatMessage] = [{"role": "user", "content": "Say the word Paris."}]
# 1100 tokens; few enough to be quick, more than two slices
DOCUMENT: list[ChatMessage] = [{"role": "user", "content": "tick tock " * 360}]


def text_of(events: list[AnswerEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def test_jobs_at_once_do_not_mix(engine: Engine) -> None:
    capitals = {"Japan": "Tokyo", "Germany": "Berlin", "England": "London", "Russia": "Moscow"}
    questions = [
        Question(engine, [{"role": "user", "content": f"What is the capital of {n}?"}], SamplingParams(temperature=0))
        for n in capitals
    ]
    for question, capital in zip(questions, capitals.values(), strict=True):
        answer = text_of(list(question))
        assert [name for name in capitals.values() if name in answer] == [capital]


def test_a_long_prefill_does_not_starve_a_running_answer(engine: Engine) -> None:
    order: list[str] = []
    enough = threading.Event()

    def answering(event: AnswerEvent) -> None:
        order.append("token" if isinstance(event, Delta) else "")
        if order.count("token") == 3:
            enough.set()

    def computing(event: AnswerEvent) -> None:
        order.append("slice" if isinstance(event, Prefill) else "end" if isinstance(event, Finished) else "")

    story = Question(engine, STORY, SamplingParams(temperature=0, max_tokens=2000), answering)
    assert enough.wait(DEADLINE)
    long = Question(engine, DOCUMENT, SamplingParams(max_tokens=1), computing)
    wait_until(lambda: "end" in order, "the long prompt is computed")
    engine.cancel(story.job)
    begin = order.index("slice")
    during = order[begin : order.index("end", begin)]
    slices, tokens = during.count("slice"), during.count("token")
    assert slices > 5  # small ones, while somebody reads
    assert tokens >= slices * 0.7  # nearly every step has a token of the answer
    assert long.job.completion_tokens == 1


def test_a_short_question_does_not_wait_for_a_long_prompt(engine: Engine) -> None:
    long = Question(engine, [{"role": "user", "content": "other words " * 1500}], SamplingParams(max_tokens=1))
    next(event for event in long if isinstance(event, Prefill) and event.done)
    assert "Tokyo" in ask(engine, JAPAN, temperature=0)[0]
    assert engine.open_jobs == 1
    engine.cancel(long.job)
    list(long)


def test_one_prompt_is_computed_once_for_many_answers(demo_gguf: Path) -> None:
    with loaded(demo_gguf) as engine:
        questions = [Question(engine, DOCUMENT, SamplingParams(seed=seed, max_tokens=8)) for seed in range(5)]
        ends = [list(question)[-1] for question in questions]
        cached = sorted(end.usage.cached_tokens for end in ends if isinstance(end, Finished))
        size = len(questions[0].job.prompt)
        assert cached == [0] + [size - 1] * 4
        assert engine.stats.cache_tokens < 2 * size


def test_a_conversation_that_branches_keeps_both_branches(demo_gguf: Path) -> None:
    with loaded(demo_gguf) as engine:
        answers: list[ChatMessage] = [{"role": "assistant", "content": word * 300} for word in ("tick ", "tock ")]
        turns = [[*DOCUMENT, answer, *JAPAN] for answer in answers]
        for turn in turns:
            ask(engine, turn, max_tokens=1)
        for turn in turns:
            usage = ask(engine, turn, max_tokens=1)[1].usage
            assert usage.cached_tokens == usage.prompt_tokens - 1


def test_an_answer_is_cached_as_it_was_generated(engine: Engine) -> None:
    """An answer that the model spells letter by letter, which its text does not tell."""
    (letter,) = engine.text_prompt("a")
    request = Request(engine.chat_prompt(STORY), SamplingParams(temperature=0, max_tokens=40), ((letter, 100.0),))
    told: queue.SimpleQueue[AnswerEvent] = queue.SimpleQueue()
    engine.submit(request, told.put)
    events: list[AnswerEvent] = []
    while not (events and isinstance(events[-1], Finished)):
        events.append(told.get(timeout=DEADLINE))
    finished, answer = events[-1], text_of(events)
    assert isinstance(finished, Finished)
    assert answer == "a" * 40
    assert len(engine.text_prompt(answer)) < 40
    usage = ask(engine, [*STORY, {"role": "assistant", "content": answer}, *JAPAN], max_tokens=1)[1].usage
    assert usage.cached_tokens >= finished.usage.prompt_tokens + finished.usage.completion_tokens - 1


def test_the_context_grows_with_the_conversation(demo_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localqwen.engine.caches.START_SIZE", 1280)
    with loaded(demo_gguf) as engine:
        assert engine.stats.cache_size == 1280
        question = ask(engine, DOCUMENT, max_tokens=1)[1].usage
        more = ask(engine, [{"role": "user", "content": "tock " * 700}], max_tokens=1)[1]
        assert more.usage.prompt_tokens > 1280
        assert engine.stats.cache_size > 1280
        assert ask(engine, DOCUMENT, max_tokens=1)[1].usage.cached_tokens == question.prompt_tokens - 1


def test_jobs_that_do_not_fit_together_take_turns(demo_gguf: Path) -> None:
    with loaded(demo_gguf, EngineOptions(context=1536)) as engine:
        questions = [
            Question(engine, [{"role": "user", "content": f"{i} " + "tick " * 400}], SamplingParams(max_tokens=400))
            for i in range(4)
        ]
        ends = [list(question)[-1] for question in questions]
        assert all(isinstance(end, Finished) and end.reason in {"stop", "length"} for end in ends)
        assert engine.stats.cache_size <= 1536


def test_a_job_that_lost_its_sequence_goes_on(demo_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two answers of unknown length outgrow the cache together: one waits, and then goes on where it was."""
    monkeypatch.setattr("localqwen.engine.roster.EXPECTED_ANSWER", 16)
    with loaded(demo_gguf, EngineOptions(context=512)) as engine:
        params = SamplingParams(temperature=0, max_tokens=330)
        questions = [Question(engine, STORY, params), Question(engine, STORY, params)]
        texts = [text_of(list(question)) for question in questions]
        assert [question.job.completion_tokens for question in questions] == [330, 330]
        assert all(len(text) > 600 for text in texts)


def test_an_evicted_conversation_comes_back_from_disk(demo_gguf: Path) -> None:
    options = EngineOptions(context=1536, disk_cache=1 << 30)
    other: list[ChatMessage] = [{"role": "user", "content": "tock " * 450}]
    with loaded(demo_gguf, options) as engine:
        first = ask(engine, DOCUMENT, max_tokens=1)[1].usage
        ask(engine, other, max_tokens=1)  # needs the room
        assert engine.stats.states_saved == 1
        again = ask(engine, DOCUMENT, max_tokens=1)[1].usage
        assert again.cached_tokens == first.prompt_tokens - 1
        assert engine.stats.states_restored == 1
    with loaded(demo_gguf, options) as engine:  # what was in memory at the end was saved too
        assert ask(engine, DOCUMENT, max_tokens=1)[1].usage.cached_tokens == first.prompt_tokens - 1
    with loaded(demo_gguf, EngineOptions(context=3072, yarn=2.0, disk_cache=1 << 30)) as engine:
        assert ask(engine, DOCUMENT, max_tokens=1)[1].usage.cached_tokens == 0  # another scaling's K is of no use


@pytest.mark.parametrize("start_size", [512, START_SIZE])  # with room for two caches, and for one at a time
def test_a_conversation_outgrows_its_position_scaling(
    demo_gguf: Path, monkeypatch: pytest.MonkeyPatch, start_size: int
) -> None:
    monkeypatch.setattr("localqwen.engine.caches.START_SIZE", start_size)
    monkeypatch.setattr("localqwen.engine.rope.window", lambda *facts: rope.Window(512, 2048))
    monkeypatch.setattr("localqwen.engine.roster.EXPECTED_ANSWER", 16)
    with loaded(demo_gguf, EngineOptions(context=2048)) as engine:
        story: list[ChatMessage] = [{"role": "user", "content": "tick tock " * 110 + STORY[0]["content"]}]
        _, finished = ask(engine, story, temperature=0, max_tokens=300)
        assert finished.usage.prompt_tokens < 512 < finished.usage.prompt_tokens + finished.usage.completion_tokens
        assert finished.usage.prompt_tokens + finished.usage.completion_tokens > 640
        # From 512 to 640 tokens it is turned; what was turned once is computed again at the next step.
        assert engine.stats.states_turned == 1
        # The short conversation beside it is not scaled, and both answer at once.
        long, short = Question(engine, story, SamplingParams(max_tokens=300)), Question(engine, JAPAN, SamplingParams())
        assert "Tokyo" in text_of(list(short))
        assert isinstance(list(long)[-1], Finished)


def test_cancelling_one_of_two(engine: Engine) -> None:
    one = Question(engine, STORY, SamplingParams(temperature=0, max_tokens=60))
    other = Question(engine, DOCUMENT, SamplingParams())
    engine.cancel(other.job)
    *_, finished = other
    assert isinstance(finished, Finished)
    assert finished.reason == "cancelled"
    *_, finished = one
    assert isinstance(finished, Finished)
    assert finished.usage.completion_tokens == 60


def test_a_failed_decode_is_told_in_words_and_the_next_job_runs(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DecodeError("llama.cpp could not compute (out of memory): use a smaller --ctx.")

    with monkeypatch.context() as patch:
        patch.setattr(Context, "decode", fail)
        _, finished = ask(engine, JAPAN)
    assert finished.reason == "error"
    assert finished.error == "llama.cpp could not compute (out of memory): use a smaller --ctx."
    assert "Tokyo" in ask(engine, JAPAN, temperature=0)[0]
