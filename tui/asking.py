"""One answer that is asked for, whatever model gives it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from localqwen.chats.tree import is_continuation
from localqwen.events import AnswerEvent, Asked, Finished
from localqwen.params import ChatMessage, SamplingParams
from tui.backend import Backend
from tui.meters import Watch


class Asking:
    """Which model answers, what the clock says, and the events."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._model: str | None = None
        self.watch = Watch()

    @property
    def model(self) -> str:
        """Who answers; who would, before that is settled."""
        return self._model or self._backend.model

    async def stream(self, said: list[ChatMessage], params: SamplingParams) -> AsyncGenerator[AnswerEvent, None]:
        """The events of the answer to what was said, once there is a model; of the rest of an answer that ends it.

        The first is :class:`Asked`: what is waited for until then is the model. When the server dies in the middle, the
        answer's error is why it died and not that the connection broke. When another model is chosen, it ends as
        cancelled. Raises :class:`ServerError` when there is no model.
        """
        for may_try_again in (True, False):
            async with aclosing(self._asked(said, params, may_try_again=may_try_again)) as events:
                async for event in events:
                    yield event
                    if isinstance(event, Finished):
                        return
            # Our own server was dead when it was asked, though nobody knew.
            self._backend.revive()

    async def _asked(
        self, said: list[ChatMessage], params: SamplingParams, *, may_try_again: bool
    ) -> AsyncGenerator[AnswerEvent, None]:
        """The same of one server; without :class:`Finished` if it never got the question and that ``may_try_again``."""
        backend = self._backend
        client, life = await backend.joined()
        self._model = backend.model
        is_ours = backend.connection.address is None
        yield Asked()
        events = client.stream(said, params, self._model, resume=is_continuation(said))
        async with aclosing(events):
            with backend.answering():
                while (event := await backend.next_event(events, life)) is not None:
                    self.watch = self.watch.see(event, time.monotonic())
                    if isinstance(event, Finished) and event.is_lost and not is_ours:
                        backend.gone(life, event.error or "")
                    elif isinstance(event, Finished) and event.reason == "error" and is_ours:
                        reason = await backend.reason_of_death(life)
                        if may_try_again and event.is_lost and reason is not None and not life.is_over:
                            return
                        event = Finished("cancelled") if life.is_over else replace(event, error=reason or event.error)
                    may_try_again = False
                    yield event
                    if isinstance(event, Finished):
                        return
