"""Questions to a real engine."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localqwen.engine.engine import Engine
from localqwen.engine.job import Job, Request, Sink
from localqwen.engine.options import EngineOptions
from localqwen.events import AnswerEvent, Delta, Finished, Loading
from localqwen.params import ChatMessage, SamplingParams
from tests.server.running import DEADLINE, wait_until

JAPAN: list[ChatMessage] = [{"role": "user", "content": "What is the capital of Japan?"}]
STORY: list[ChatMessage] = [{"role": "user", "content": "Write a very long story about a lighthouse keeper."}]
LONG: list[ChatMessage] = [{"role": "user", "content": "word " * 6000}]


class Question:
    """A job and what comes of it."""

    def __init__(
        self, engine: Engine, messages: list[ChatMessage], params: SamplingParams, sink: Sink | None = None
    ) -> None:
        self._events: queue.SimpleQueue[AnswerEvent] = queue.SimpleQueue()
        self.job: Job = engine.submit(Request(engine.chat_prompt(messages), params), sink or self._events.put)

    def __iter__(self) -> Iterator[AnswerEvent]:
        while True:
            event = self._events.get(timeout=DEADLINE)
            yield event
            if isinstance(event, Finished):
                return


def ask(engine: Engine, messages: list[ChatMessage], **params: object) -> tuple[str, Finished]:
    events = list(Question(engine, messages, SamplingParams(**params)))  # type: ignore[arg-type]
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert sum(isinstance(event, Finished) for event in events) == 1
    return "".join(event.text for event in events if isinstance(event, Delta)), finished


@contextmanager
def loaded(path: Path, options: EngineOptions | None = None) -> Iterator[Engine]:
    engine = Engine(path, options)
    engine.start()
    wait_until(lambda: not isinstance(engine.state, Loading), "the model is loaded")
    yield engine
    assert engine.close()
