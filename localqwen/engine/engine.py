"""One model, loaded and answering, in a thread of its own."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import llama_cpp

from localqwen import paths
from localqwen.engine import native, rope
from localqwen.engine.caches import Caches
from localqwen.engine.context import ContextOptions
from localqwen.engine.devices import available_memory
from localqwen.engine.draft import DraftModel
from localqwen.engine.faults import remembering_death, step_down
from localqwen.engine.job import Begun, Job, Request, Sink
from localqwen.engine.loaded import Loaded
from localqwen.engine.model import Model, file_bytes
from localqwen.engine.notebook import Notebook
from localqwen.engine.options import EngineOptions
from localqwen.engine.planner import Planner, Solution
from localqwen.engine.rope import Rope
from localqwen.engine.states import SavedStates, model_digest
from localqwen.engine.stats import Stats
from localqwen.engine.template import Template
from localqwen.engine.users import Users
from localqwen.errors import InvalidModelError, LocalqwenError, OutOfMemoryError
from localqwen.events import Loading, Planned, Ready
from localqwen.params import ChatMessage
from localqwen.plan import KvType, Plan

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failed:
    """The model could not be loaded."""

    error: LocalqwenError


State: TypeAlias = Loading | Ready | Failed


class Engine:
    """Loads a GGUF file in the background, then runs jobs until :meth:`close`. Its methods may be called anywhere."""

    def __init__(
        self,
        path: Path,
        options: EngineOptions | None = None,
        name: str | None = None,
        available: Callable[[], int] = available_memory,
    ) -> None:
        """``name`` is what :class:`Ready` calls the model; ``available`` tells the bytes of RAM that may be used."""
        self.path = path
        self.name = name or path.stem
        self.stats = Stats()  # what has been done so far
        self.planned: Planned | None = None  # where the model goes, once that is known
        self._options = options or EngineOptions()
        self._available = available
        self._bytes = file_bytes(path)
        self._state: State = Loading(0.0, 0, self._bytes)
        self._users: Users[Loaded] = Users(self.name)
        self._listeners: list[Callable[[State], None]] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to load; :attr:`state` tells how far it is."""
        self._thread.start()

    def stop(self) -> None:
        """Give up loading, cancel all jobs and take no more; returns at once."""
        self._closing.set()
        if (loaded := self._users.thing) is not None:
            loaded.loop.inbox.stop()

    def close(self, timeout: float = 10.0) -> bool:
        """:meth:`stop` and free everything; return whether that was done within ``timeout`` seconds."""
        self.stop()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def state(self) -> State:
        """Loading, ready or failed."""
        return self._state

    @property
    def open_jobs(self) -> int:
        """How many jobs wait or run."""
        return loaded.loop.inbox.open_jobs if (loaded := self._users.thing) is not None else 0

    def subscribe(self, listener: Callable[[State], None]) -> Callable[[], None]:
        """Call ``listener`` with the present state now and with every later one in the engine's thread.

        Returns a function that ends it.
        """
        with self._lock:
            self._listeners.append(listener)
            listener(self._state)
        return lambda: self._unsubscribe(listener)

    def chat_prompt(self, messages: Sequence[ChatMessage]) -> list[int]:
        """The tokens that ask for the next assistant message.

        Raises :class:`InvalidRequestError` when the chat template refuses the messages.
        """
        with self._users.using() as loaded:
            return loaded.template.tokens(messages)

    def resumed_prompt(self, messages: Sequence[ChatMessage]) -> tuple[list[int], Begun]:
        """The tokens that ask for the rest of the last message, an assistant's, and what they hold of it.

        Raises :class:`InvalidRequestError` when there is nothing to continue, or as :meth:`chat_prompt`.
        """
        with self._users.using() as loaded:
            return loaded.resumed_prompt(messages)

    def text_prompt(self, text: str, *, control: bool = True) -> list[int]:
        """The tokens of raw text; with ``control``, control tokens' texts in it become control tokens."""
        with self._users.using() as loaded:
            return loaded.text_prompt(text, control=control)

    def submit(self, request: Request, sink: Sink) -> Job:
        """Queue a request; its events go to ``sink`` in the engine's thread.

        Raises :class:`InvalidRequestError` when a parameter is out of range or a grammar cannot be kept to,
        :class:`PromptTooLongError` when no token would fit after the prompt.
        """
        with self._users.using() as loaded:
            return loaded.submit(request, sink)

    def embed(self, tokens: Sequence[int]) -> Future[list[float]]:
        """Queue a text's tokens; the result is a vector of length 1. Cancelling the future gives the work up.

        Raises :class:`InvalidRequestError` for no tokens, :class:`PromptTooLongError` for too many.
        """
        with self._users.using() as loaded:
            return loaded.embed(tokens)

    def cancel(self, job: Job) -> None:
        """Stop a job; it still gets its :class:`~localqwen.events.Finished`."""
        if (loaded := self._users.thing) is not None:
            loaded.loop.inbox.cancel(job)

    def _unsubscribe(self, listener: Callable[[State], None]) -> None:
        with self._lock:
            self._listeners.remove(listener)

    def _set_state(self, state: State) -> None:
        with self._lock:
            self._state = state
            for listener in self._listeners:
                listener(state)

    def _work(self) -> None:
        try:
            self._load_and_run()
        except LocalqwenError as error:
            self._set_state(Failed(error))
        except Exception as error:
            log.exception("The engine failed")
            self._set_state(Failed(LocalqwenError(f"The engine failed with {self.name}: {error!r}.")))

    def _load_and_run(self) -> None:
        with Model.open(self.path) as facts:
            rope.rope_for(self._options.context or 1, facts.window, self._options.yarn)  # refuses a size that cannot be
            source = _template_source(facts)
            Template(source)  # a broken one is better refused before the weights are read
        notebook = Notebook(paths.planner_path())
        planner = Planner(self.path, self._options.for_planner, notebook, self._available)
        for sentence in planner.inventory.lost:
            log.warning("%s", sentence)
        while True:
            solution = planner.plan()
            self.planned = Planned(solution.plan)
            self._report(0.0)
            # What ends the process in an answer, as a driver without memory, teaches the next start as well.
            with remembering_death(planner, solution.plan), ExitStack() as stack:
                try:
                    loaded, reported = self._load(stack, solution, source)
                except OutOfMemoryError:
                    if self._options.gpu_layers is not None or not step_down(planner, solution.plan):
                        raise
                else:
                    self.planned = Planned(solution.plan, tuple(planner.loaded(solution.plan, reported).items()))
                    self._run(loaded, solution.plan)
                    return

    def _load(self, stack: ExitStack, solution: Solution, source: str) -> tuple[Loaded, dict[str, int]]:
        """Load all there is; ``stack`` frees it. Also returns what llama.cpp says the model takes on each device."""
        plan, options = solution.plan, self._options
        with native.allocations() as reported:
            model = stack.enter_context(Model.load(self.path, solution.placement, self._report))
            base = ContextOptions(plan.context, plan.threads, Rope(1.0, model.window.native), plan.kv_type, plan.ubatch)
            # RAM is everybody's, and so a cache there begins small. What was planned on a card is taken at once.
            start = min(plan.context, model.window.native) if plan.devices else None
            all_kv = sum(share.kv for share in plan.shares)
            in_ram = plan.shares[-1].kv / all_kv if all_kv else 1.0
            caches = Caches(model, base, self._states(plan.kv_type), functools.partial(self._may_grow, in_ram), start)
            stack.callback(caches.close)
            cache = caches.get(rope.rope_for(1, model.window, options.yarn), 1)  # fail now rather than at a request
            if plan.devices and cache is not None:
                cache.context.warm_up()
        draft = self._drafter(model, solution)
        if isinstance(draft, DraftModel):
            stack.callback(draft.close)
        loaded = Loaded(model, source, caches, plan.threads, self.stats, yarn=options.yarn, draft=draft)
        return loaded, reported()

    def _run(self, loaded: Loaded, plan: Plan) -> None:
        self._users.open(loaded)
        if self._closing.is_set():  # close() may have come before there was a loop to stop
            loaded.loop.inbox.stop()
        self._set_state(Ready(self.name, plan.context, loaded.sampling))
        try:
            loaded.run()
        finally:
            self._users.close()

    def _drafter(self, model: Model, solution: Solution) -> DraftModel | Literal["ngram"] | None:
        if not self._options.speculation:
            return None
        if self._options.draft is None or (self._options.draft_may_rest and solution.plan.draft_device is None):
            return "ngram"
        plan, go_on = solution.plan, lambda _: not self._closing.is_set()
        return DraftModel(self._options.draft, model, plan.context, plan.threads, solution.draft_placement, go_on)

    def _may_grow(self, share: float, state: int, more: int) -> bool:
        """Whether there is RAM for a larger KV cache: its ``state`` is copied there, and a ``share`` of it stays."""
        return state + share * more <= self._available()

    def _states(self, kv_type: KvType) -> SavedStates | None:
        if not self._options.disk_cache:
            return None
        identity = {
            "model": model_digest([self.path]),
            "llama.cpp": llama_cpp.__version__,
            "kv": [kv_type, kv_type],
        }
        return SavedStates(paths.states_dir(), self._options.disk_cache, identity)

    def _report(self, progress: float) -> bool:
        self._set_state(Loading(progress, round(progress * self._bytes), self._bytes))
        return not self._closing.is_set()


def _template_source(model: Model) -> str:
    source = model.chat_template
    if not source:
        raise InvalidModelError(
            f"{model.path} has no chat template, so nobody can chat with it: use an instruct model's file."
        )
    return source
