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
from localqwen.engine import native, plan, rope
from localqwen.engine.caches import Caches
from localqwen.engine.devices import available_memory, physical_cores
from localqwen.engine.draft import DraftModel
from localqwen.engine.job import Job, Request, Sink
from localqwen.engine.loaded import Loaded
from localqwen.engine.model import ALL_LAYERS, Model
from localqwen.engine.rope import YarnMode
from localqwen.engine.states import SavedStates, model_digest
from localqwen.engine.stats import Stats
from localqwen.engine.template import Template
from localqwen.engine.users import Users
from localqwen.errors import InvalidModelError, InvalidRequestError, LocalqwenError
from localqwen.events import Loading, Ready
from localqwen.params import ChatMessage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """``context`` in tokens, CPU ``threads``, ``gpu_layers`` to offload; ``None`` is chosen to suit the machine.

    ``yarn`` is how positions are scaled, ``disk_cache`` how many bytes evicted conversations may take on the disk.
    ``speculation`` drafts tokens from the conversation itself, or with the smaller model ``draft``.
    """

    context: int | None = None
    threads: int | None = None
    gpu_layers: int | None = None
    yarn: YarnMode = "auto"
    disk_cache: int = 0
    speculation: bool = True
    draft: Path | None = None


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
        self._options = options or EngineOptions()
        self._available = available
        self._state: State = Loading(0.0)
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
        gpu_layers = self._gpu_layers()
        with Model.open(self.path) as facts:
            size = self._context_size(facts, gpu_layers)
            rope.rope_for(size, facts.window, self._options.yarn)  # refuses a size that cannot be
            needed = plan.memory_needed(facts.shape, size, gpu_layers)
            share = facts.shape.cpu_share(gpu_layers)
            source = _template_source(facts)
            Template(source)  # a broken one is better refused before the weights are read
        if self._options.draft is not None:
            with Model.open(self._options.draft) as facts:
                needed += plan.memory_needed(facts.shape, size, gpu_layers)
        plan.check_memory(self.path.name, needed, self._available())
        threads = self._options.threads or physical_cores()
        with ExitStack() as stack:
            model = stack.enter_context(Model.load(self.path, gpu_layers, self._report))
            caches = Caches(model, threads, size, self._states(), functools.partial(self._may_grow, share))
            stack.callback(caches.close)
            caches.get(rope.rope_for(1, model.window, self._options.yarn), 1)  # fail now rather than at a request
            draft = self._drafter(model, size, threads, gpu_layers)
            if isinstance(draft, DraftModel):
                stack.callback(draft.close)
            loaded = Loaded(model, source, caches, threads, self.stats, yarn=self._options.yarn, draft=draft)
            self._users.open(loaded)
            if self._closing.is_set():  # close() may have come before there was a loop to stop
                loaded.loop.inbox.stop()
            self._set_state(Ready(self.name, size))
            try:
                loaded.run()
            finally:
                self._users.close()

    def _drafter(self, model: Model, size: int, threads: int, gpu_layers: int) -> DraftModel | Literal["ngram"] | None:
        if not self._options.speculation:
            return None
        if self._options.draft is None:
            return "ngram"
        return DraftModel(self._options.draft, model, size, threads, gpu_layers, lambda _: not self._closing.is_set())

    def _may_grow(self, share: float, state: int, more: int) -> bool:
        """Whether there is RAM for a larger KV cache: its ``state`` is copied there, and a ``share`` of it stays."""
        return state + share * more <= self._available()

    def _states(self) -> SavedStates | None:
        if not self._options.disk_cache:
            return None
        identity = {
            "model": model_digest([self.path]),
            "llama.cpp": llama_cpp.__version__,
            "kv": ["f16", "f16"],
        }
        return SavedStates(paths.states_dir(), self._options.disk_cache, identity)

    def _report(self, progress: float) -> bool:
        self._set_state(Loading(progress))
        return not self._closing.is_set()

    def _gpu_layers(self) -> int:
        asked = self._options.gpu_layers
        if native.has_gpu():
            return ALL_LAYERS if asked is None else asked
        if asked:
            raise InvalidRequestError("No GPU that llama.cpp can use was found: leave out --gpu-layers.")
        return 0

    def _context_size(self, model: Model, gpu_layers: int) -> int:
        asked = self._options.context
        return asked or plan.default_context(model.shape, model.window.native, self._available(), gpu_layers)


def _template_source(model: Model) -> str:
    source = model.chat_template
    if not source:
        raise InvalidModelError(
            f"{model.path} has no chat template, so nobody can chat with it: use an instruct model's file."
        )
    return source
