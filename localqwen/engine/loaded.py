"""A loaded model with all that answers need: template, samplers' defaults, grammars, embeddings and the loop."""

from __future__ import annotations

import unicodedata
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from typing import Literal

from localqwen.engine.caches import Caches
from localqwen.engine.constraint import Constraints
from localqwen.engine.costs import StepCosts
from localqwen.engine.draft import DraftModel
from localqwen.engine.embedding import Embedder
from localqwen.engine.job import Begun, Job, Request, Sink
from localqwen.engine.jobs import JobLoop
from localqwen.engine.kept import KeptAnswers
from localqwen.engine.model import Model
from localqwen.engine.ngram import NgramDrafter
from localqwen.engine.penalties import LogitBias
from localqwen.engine.prompt import ChatTemplate
from localqwen.engine.rope import YarnMode, rope_for
from localqwen.engine.running import Running
from localqwen.engine.sampling import WISHES, decide, defaults
from localqwen.engine.speculation import Speculation
from localqwen.engine.stats import Stats
from localqwen.errors import InvalidRequestError, PromptTooLongError
from localqwen.params import ChatMessage, SamplingParams

SMALLEST_EMBEDDER = 512  # tokens
KEPT_TOKENS = 1 << 19  # of past answers: several of the longest conversations, in a few megabytes


class _Embedding:
    """One text's way to its vector."""

    def __init__(self, loaded: Loaded, tokens: Sequence[int]) -> None:
        self.future: Future[list[float]] = Future()
        self._loaded = loaded
        self._tokens = tokens
        self._steps: Generator[None, None, list[float]] | None = None

    def step(self) -> bool:
        if self.future.cancelled():
            return False
        try:
            if self._steps is None:
                self._steps = self._loaded.embedder_for(len(self._tokens)).steps(self._tokens)
            next(self._steps)
        except StopIteration as done:
            if self.future.set_running_or_notify_cancel():
                self.future.set_result(done.value)
        except Exception as error:
            if self.future.set_running_or_notify_cancel():
                self.future.set_exception(error)
        return not self.future.done()

    def drop(self) -> None:
        self.future.cancel()


class Loaded:
    """Made and run in the engine's thread; its public methods may be called from any."""

    def __init__(
        self,
        model: Model,
        template: str,
        caches: Caches,
        threads: int,
        stats: Stats,
        *,
        yarn: YarnMode,
        draft: DraftModel | Literal["ngram"] | None,
    ) -> None:
        """``draft`` guesses tokens of answers: a second model, or the conversation itself."""
        self.model = model
        self._kept = KeptAnswers(KEPT_TOKENS, model.piece, model.control_tokens.values())
        special_texts = {"bos_token": model.bos_text, "eos_token": model.eos_text}
        self.template = ChatTemplate(template, model.control_tokens, model.tokenize, special_texts, self._kept)
        self._draft = draft
        self._costs = StepCosts()
        self.loop = JobLoop(model, caches, stats, yarn, self._speculation, self._keep)
        self._sampling = defaults(model.metadata)
        self._constraints = Constraints(model)
        self._longest = caches.budget
        self._threads = threads
        self._yarn = yarn
        self._embedder: Embedder | None = None

    @property
    def sampling(self) -> SamplingParams:
        """What answers get for which nothing else is asked."""
        return SamplingParams(**{name: getattr(self._sampling, name) for name in WISHES})

    def run(self) -> None:
        """Work until the loop is stopped, and free everything."""
        try:
            self.loop.run()
        finally:
            if self._embedder is not None:
                self._embedder.close()

    def resumed_prompt(self, messages: Sequence[ChatMessage]) -> tuple[list[int], Begun]:
        """The tokens that ask for the rest of the last message, and what they hold of it."""
        asking, begun = self.template.resumed(messages)
        return [*asking, *begun], Begun(messages[-1]["content"], len(begun))

    def text_prompt(self, text: str, *, control: bool) -> list[int]:
        """The tokens of raw text."""
        return self.model.tokenize(unicodedata.normalize("NFC", text), special=control)

    def submit(self, request: Request, sink: Sink) -> Job:
        """Queue a request. Raises as :meth:`localqwen.engine.engine.Engine.submit`."""
        prompt = request.prompt
        if not prompt:
            raise InvalidRequestError("The prompt is empty.")
        self._check(prompt)
        if len(prompt) >= self._longest:
            raise PromptTooLongError(
                f"The prompt has {len(prompt)} tokens, and the context of {self._longest} must hold it and the "
                "answer: shorten it, or serve the model with a larger --ctx."
            )
        LogitBias(request.logit_bias, self.model.vocabulary_size)  # refuse it now and not in the loop
        sampling = decide(request.params, self._sampling)
        matcher = self._constraints.matcher(request.grammar) if request.grammar is not None else None
        job = Job(request, sampling, sink, matcher)
        self.loop.inbox.submit(job)
        return job

    def embed(self, tokens: Sequence[int]) -> Future[list[float]]:
        """Queue a text's tokens. Raises as :meth:`localqwen.engine.engine.Engine.embed`."""
        if not tokens:
            raise InvalidRequestError("There is no text to embed: the input is empty.")
        self._check(tokens)
        if len(tokens) > self._longest:
            raise PromptTooLongError(
                f"The text has {len(tokens)} tokens, and {self._longest} can be embedded at once: cut it into parts, "
                "or serve the model with a larger --ctx."
            )
        chore = _Embedding(self, tokens)
        self.loop.inbox.do(chore)
        return chore.future

    def embedder_for(self, tokens: int) -> Embedder:
        """One that is large enough. Its KV cache comes on top of the answers', so it is no larger than it has to be."""
        if self._embedder is None or self._embedder.size < tokens:
            if self._embedder is not None:
                self._embedder.close()
                self._embedder = None
            size = min(max(SMALLEST_EMBEDDER, 1 << (tokens - 1).bit_length()), self._longest)
            rope = rope_for(size, self.model.window, self._yarn)
            self._embedder = Embedder(self.model, size, self._threads, rope)
        return self._embedder

    def _speculation(self) -> Speculation | None:
        if self._draft is None:
            return None
        return Speculation(self._costs, NgramDrafter(self.model.end_tokens) if self._draft == "ngram" else self._draft)

    def _keep(self, running: Running) -> None:
        """Keep an answer's tokens for the next prompt, which will have its text."""
        begun = running.job.request.begun
        if begun is None:
            self._kept.remember(running.text, running.generated)
        else:
            first = running.job.prompt[len(running.job.prompt) - begun.count :]
            self._kept.remember(begun.text + running.text, [*first, *running.generated])

    def _check(self, tokens: Sequence[int]) -> None:
        # llama.cpp refuses a whole batch for one such token.
        if min(tokens) < 0 or max(tokens) >= self.model.vocabulary_size:
            raise InvalidRequestError(
                f"A token id of the prompt is not in the vocabulary of {self.model.vocabulary_size} tokens."
            )
