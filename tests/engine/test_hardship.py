"""Memory that does not suffice, and what fails in the middle of work: every job ends, and the next one runs."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import llama_cpp.llama_cpp as llama
import pytest

from localqwen.engine import native, rope
from localqwen.engine.cache import Cache
from localqwen.engine.context import Context, ContextOptions, DecodeError
from localqwen.engine.model import Model
from localqwen.engine.options import EngineOptions
from localqwen.errors import InvalidRequestError, LocalqwenError, OutOfMemoryError
from localqwen.events import Delta, Finished, Prefill
from localqwen.params import ChatMessage, SamplingParams
from tests.engine.asking import JAPAN, STORY, Question, ask, loaded
from tests.fixtures.hollow import Size, write_hollow
from tests.server.running import wait_until

allocate = Context._allocate


def ticks(count: int, more: str = "") -> list[ChatMessage]:
    """A prompt of about three times as many tokens."""
    return [{"role": "user", "content": "tick tock " * count + more}]


def end_of(question: Question) -> Finished:
    finished = list(question)[-1]
    assert isinstance(finished, Finished)
    return finished


@pytest.fixture
def cramped(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Caches begin small, and hardly anything is expected of an answer."""
    monkeypatch.setattr("localqwen.engine.caches.START_SIZE", 512)
    monkeypatch.setattr("localqwen.engine.roster.EXPECTED_ANSWER", 16)
    return monkeypatch


def refuse_more_than(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    def refuse(self: Context, options: ContextOptions) -> object:
        if options.size > cells:
            raise OutOfMemoryError("There is not enough memory.")
        return allocate(self, options)

    monkeypatch.setattr(Context, "_allocate", refuse)


def test_jobs_take_turns_in_a_cache_that_cannot_grow(demo_gguf: Path, cramped: pytest.MonkeyPatch) -> None:
    refuse_more_than(cramped, 512)
    with loaded(demo_gguf, EngineOptions(context=4096)) as engine:
        params = SamplingParams(temperature=0, max_tokens=350)
        questions = [Question(engine, ticks(10, word), params) for word in ("Tell a story.", "Write a song.")]
        assert {end_of(question).reason for question in questions} <= {"length", "stop"}


def test_a_conversation_that_memory_is_too_small_for_ends_in_words(
    demo_gguf: Path, cramped: pytest.MonkeyPatch
) -> None:
    refuse_more_than(cramped, 512)
    with loaded(demo_gguf, EngineOptions(context=4096)) as engine:
        finished = end_of(Question(engine, ticks(360), SamplingParams()))
        assert finished.reason == "error"
        assert finished.error == "There is not enough memory for this conversation: use a smaller --ctx."
        assert "Tokyo" in ask(engine, JAPAN, temperature=0)[0]


def test_a_cache_that_is_lost_ends_its_answers_only(demo_gguf: Path, cramped: pytest.MonkeyPatch) -> None:
    with loaded(demo_gguf, EngineOptions(context=4096)) as engine:
        question = Question(engine, STORY, SamplingParams(temperature=0, max_tokens=600))
        next(event for event in question if isinstance(event, Delta))
        with cramped.context() as patch:
            refuse_more_than(patch, 0)
            finished = end_of(question)
        assert finished.reason == "error"
        assert "was lost" in str(finished.error)
        assert "Tokyo" in ask(engine, JAPAN, temperature=0)[0]


def test_a_failure_between_two_decodes_ends_the_answers_and_not_the_engine(
    demo_gguf: Path, cramped: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise MemoryError

    with loaded(demo_gguf, EngineOptions(context=4096)) as engine:
        with cramped.context() as patch:
            patch.setattr(Cache, "grow", fail)
            finished = end_of(Question(engine, STORY, SamplingParams(temperature=0, max_tokens=600)))
        assert finished.reason == "error"
        assert "Tokyo" in ask(engine, JAPAN, temperature=0)[0]


def test_two_position_scalings_share_the_memory(demo_gguf: Path, cramped: pytest.MonkeyPatch) -> None:
    """One answer under factor 1.75 and two that grow under 1: together they need more than there is."""
    cramped.setattr(rope, "window", lambda *facts: rope.Window(512, 2048))
    with loaded(demo_gguf, EngineOptions(context=1280)) as engine:
        long = Question(engine, ticks(230, "Write a long story."), SamplingParams(temperature=0, max_tokens=120))
        next(event for event in long if isinstance(event, Delta))
        short = [Question(engine, ticks(count), SamplingParams(temperature=0, max_tokens=150)) for count in (50, 60)]
        reasons = [end_of(question).reason for question in [long, *short]]
        assert set(reasons) <= {"length", "stop"}


def test_an_answer_goes_on_while_another_scaling_computes_a_prompt(
    demo_gguf: Path, cramped: pytest.MonkeyPatch
) -> None:
    cramped.setattr(rope, "window", lambda *facts: rope.Window(512, 4096))
    with loaded(demo_gguf, EngineOptions(context=4096)) as engine:
        answer = Question(engine, STORY, SamplingParams(temperature=0, max_tokens=300))
        next(event for event in answer if isinstance(event, Delta))
        prefills = [
            e.done for e in Question(engine, ticks(300), SamplingParams(max_tokens=1)) if isinstance(e, Prefill)
        ]
        slices = [after - before for before, after in itertools.pairwise(prefills)]
        assert max(slices) < 512
        assert end_of(answer).usage.completion_tokens == 300


def test_both_branches_are_there_after_a_restart(demo_gguf: Path) -> None:
    options = EngineOptions(context=4096, disk_cache=1 << 30)
    turns = [[*ticks(360), {"role": "assistant", "content": word}, *JAPAN] for word in ("Tick.", "Tock.")]
    with loaded(demo_gguf, options) as engine:
        for turn in turns:
            ask(engine, turn, max_tokens=1)  # type: ignore[arg-type]
    with loaded(demo_gguf, options) as engine:
        for turn in turns:
            usage = ask(engine, turn, max_tokens=1)[1].usage  # type: ignore[arg-type]
            assert usage.cached_tokens > usage.prompt_tokens - 64


def test_a_file_that_does_not_fit_costs_nothing_else(demo_gguf: Path, cramped: pytest.MonkeyPatch) -> None:
    with loaded(demo_gguf, EngineOptions(context=2048, disk_cache=1 << 30)) as engine:
        ask(engine, ticks(450), max_tokens=1)
    with loaded(demo_gguf, EngineOptions(context=1024, disk_cache=1 << 30)) as engine:
        first = ask(engine, JAPAN, max_tokens=8)[1].usage
        ask(engine, ticks(250), max_tokens=1)  # begins as the file does
        assert ask(engine, JAPAN, max_tokens=1)[1].usage.cached_tokens == first.prompt_tokens - 1
        assert engine.stats.states_restored == 0


def test_closing_waits_for_who_still_tokenizes(demo_gguf: Path) -> None:
    with loaded(demo_gguf) as engine:
        counts: list[int] = []

        def tokenize() -> None:
            with pytest.raises(InvalidRequestError, match="not loaded"):
                while True:
                    counts.append(len(engine.text_prompt("some words here and there " * 5000)))

        thread = threading.Thread(target=tokenize)
        thread.start()
        wait_until(lambda: len(counts) > 2, "it tokenizes")
        assert engine.close()
        thread.join()
        assert len(set(counts)) == 1


def test_a_context_that_cannot_be_is_no_want_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_hollow(tmp_path / "odd.gguf", Size(3, 320, 640, 20, 4, 1000))  # with heads of 16 values
    with Model.load(path) as model:
        options = ContextOptions(512, 1, rope.Rope(1.0, 32768), "q8_0", 64)
        with pytest.raises(LocalqwenError, match=r"leave out --kv-type") as caught:
            Context(model, options)
        assert not isinstance(caught.value, OutOfMemoryError)
        # What llama.cpp says when memory is all there is too little of.
        monkeypatch.setattr(llama, "llama_init_from_model", lambda *_: None)
        monkeypatch.setattr(native, "recent_errors", lambda: ["failed to allocate buffer for kv cache"])
        with pytest.raises(OutOfMemoryError, match=r"kv cache.*use a smaller --ctx"):
            Context(model, options)


def test_warming_up_without_memory_is_want_of_memory(demo_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Model.load(demo_gguf) as model:
        context = Context(model, ContextOptions(512, 1, rope.Rope(1.0, 8192)))
        try:
            with monkeypatch.context() as patch, pytest.raises(OutOfMemoryError):
                patch.setattr(llama, "llama_decode", lambda *_: -2)  # as where its buffers cannot grow
                context.warm_up()
            with monkeypatch.context() as patch, pytest.raises(DecodeError):
                patch.setattr(llama, "llama_decode", lambda *_: -3)
                context.warm_up()
        finally:
            context.close()
