"""How many tokens to guess before the model is asked, so that one ``llama_decode`` yields several. Pure.

A drafter guesses how the answer goes on; the job's loop decodes the guess together with the last token, samples each
position with the job's own sampler and keeps what agrees (https://arxiv.org/abs/2211.17192; a draft without
probabilities of its own needs no rejection step). The text is therefore the same as without, and only its speed is
decided here: by what drafts of each length have cost on this machine (:class:`StepCosts`), and by how often this
job's guesses came true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from localqwen.engine.costs import StepCosts

MARGIN = 1.03  # by how much a draft must be expected to beat plain decoding
# How far drafts may fall behind plain decoding: some plain steps, and a share of all. What they have won before may be
# lost again, up to a point. Together it keeps 200 tokens within 3 % of plain decoding whatever the text.
ALLOWANCE, SHARE, WINNINGS = 3.0, 0.01, 6.0
# The weight of what is known so far when a further draft is judged. A drafter that takes time is asked less often once
# it seems not worth it, and what it would have said is then not seen: so it is not judged by a few drafts.
MEMORY_IF_FREE, MEMORY = 0.9, 0.94
PRIOR_WEIGHT = 2.0
FIRST_PAUSE, LONGEST_PAUSE = 8, 512


class Drafter(Protocol):
    """Guesses how a sequence of tokens goes on."""

    @property
    def priors(self) -> Sequence[tuple[float, float]]:
        """For each level of confidence, how often the first guess and each later one may be expected to hold."""

    @property
    def free(self) -> bool:
        """Whether a guess costs next to nothing, so that guesses can be judged without being decoded."""

    @property
    def spent(self) -> float:
        """Seconds spent on guesses so far, without those of reading the prompt."""

    def confidence(self, tokens: Sequence[int]) -> int | None:
        """Which level of confidence a guess after ``tokens`` has, or ``None`` when there is none.

        ``tokens`` is a list that only grows from call to call, or another list for another answer.
        """

    def draft(self, tokens: Sequence[int], limit: int) -> Sequence[int]:
        """Guess up to ``limit`` tokens, after :meth:`confidence` of the same tokens."""

    def abort(self) -> None:
        """End a guess that is being made, and make none until :meth:`resume`; any thread may call it."""

    def resume(self) -> None:
        """Allow guessing again."""


class Speculation:
    """Decides for one job, before each step, what to decode besides the last token."""

    def __init__(self, costs: StepCosts, drafter: Drafter, max_draft: int = 15) -> None:
        """At most ``max_draft`` tokens are drafted; the context must have room for one more row of logits."""
        self._costs = costs
        self._drafter = drafter
        self._max_draft = max_draft
        memory = MEMORY_IF_FREE if drafter.free else MEMORY
        self._acceptance = [_Acceptance(first, later, memory) for first, later in drafter.priors]
        self._level = 0
        self._depth = 0
        self._shadow: _Shadow | None = None
        self._drafting = 0.0  # seconds of the last proposal
        self._per_token = 0.0  # seconds of one drafted token
        # Everything below is counted in plain steps, so that a machine that slows down changes nothing.
        self._balance = 0.0
        self._tokens = 0
        self._waited, self._pause = 0, FIRST_PAUSE

    def abort(self) -> None:
        """End a running :meth:`propose` soon; any thread may call it."""
        self._drafter.abort()

    def resume(self) -> None:
        """Allow proposals again."""
        self._drafter.resume()

    def propose(self, tokens: Sequence[int], room: int) -> Sequence[int]:
        """What to decode after the last of ``tokens`` (prompt and answer so far): up to ``room`` tokens, or none."""
        self._depth = len(tokens)
        self._drafting = 0.0
        if self._shadow is not None and self._shadow.is_settled(tokens):
            self._shadow = None
        level = self._drafter.confidence(tokens)
        limit = min(room, self._max_draft)
        if level is None or limit <= 0:
            return ()
        self._level = level
        length = self._length(limit)
        if length == 0:
            if self._drafter.free and self._shadow is None:
                guess = self._drafter.draft(tokens, self._max_draft)
                self._shadow = _Shadow(self._acceptance[level], guess, len(tokens))
            return ()
        self._shadow = None  # the draft itself will be judged
        before = self._drafter.spent
        draft = self._drafter.draft(tokens, length)
        self._drafting = self._drafter.spent - before
        each = self._drafting / max(1, len(draft))
        self._per_token = each if not self._per_token else 0.7 * self._per_token + 0.3 * each
        return draft

    def record(self, drafted: int, accepted: int, seconds: float) -> None:
        """Learn from a ``llama_decode`` of one and ``drafted`` tokens, of which ``accepted`` held, in ``seconds``.

        To be called after every step in which this job ran alone, the plain ones too. ``seconds`` are the decode's;
        what drafting took is asked of the drafter.
        """
        self._costs.record(1 + drafted, self._depth, seconds)
        self._tokens += accepted + 1
        plain = self._costs.plain(self._depth)
        if (not drafted and not self._drafting) or not plain:
            return
        ratio = self._costs.worst(1 + drafted, self._depth)
        won = accepted + 1 - ratio - self._drafting / plain
        self._drafting = 0.0
        self._balance = min(WINNINGS, self._balance + won)
        self._waited = 0
        self._pause = FIRST_PAUSE if won > 0 else min(2 * self._pause, LONGEST_PAUSE)
        if drafted:
            self._acceptance[self._level].judge(drafted, accepted)

    def _length(self, limit: int) -> int:
        """The length that yields the most tokens a second of those that can be afforded; 0 is plain decoding."""
        plain = self._costs.plain(self._depth)
        if plain is None or self._costs.wants_plain(self._depth):
            return 0
        limit = min(limit, 2 * self._costs.longest - 1)  # what is unknown is approached in steps
        curve = self._costs.curve(self._depth, 1 + limit)
        each = self._per_token / plain
        purse = self._balance + ALLOWANCE + SHARE * self._tokens
        best, best_rate = 0, 0.0
        for length, expected in enumerate(self._acceptance[self._level].expected(limit), 1):
            if self._costs.worst(1 + length, self._depth) - 1 + length * each > purse:
                continue
            rate = expected / (curve[length] + length * each)
            if rate > best_rate:
                best, best_rate = length, rate
        if best_rate > MARGIN:
            return best
        if self._drafter.free:
            return 0
        self._waited += 1
        return best if self._waited >= self._pause else 0


class _Acceptance:
    """How often guesses of one level of confidence held, recent ones counting more.

    The first guess and later ones are kept apart: a text that is being copied holds for long or not at all.
    """

    def __init__(self, first: float, later: float, memory: float) -> None:
        self._memory = memory
        self._first, self._firsts = first * PRIOR_WEIGHT, PRIOR_WEIGHT
        self._later, self._laters = later * PRIOR_WEIGHT, PRIOR_WEIGHT

    def expected(self, longest: int) -> list[float]:
        """How many tokens a step is expected to yield with a draft of 1, 2, ... ``longest`` tokens."""
        chance, each = self._first / self._firsts, self._later / self._laters
        yields, total = [], 1.0
        for _ in range(longest):
            total += chance
            chance *= each
            yields.append(total)
        return yields

    def judge(self, drafted: int, accepted: int) -> None:
        """Take note of a draft of which ``accepted`` tokens held."""
        self.judge_first(accepted > 0)
        if accepted > 0:
            self._later += accepted - 1
            self._laters += min(accepted, drafted - 1)

    def judge_first(self, held: bool) -> None:
        """Take note of a draft's first token."""
        self._first, self._firsts = self._memory * self._first + held, self._memory * self._firsts + 1
        self._later, self._laters = self._memory * self._later, self._memory * self._laters

    def judge_later(self, held: bool) -> None:
        """Take note of a further token of the same draft."""
        self._later, self._laters = self._later + held, self._laters + 1


@dataclass(slots=True)
class _Shadow:
    """A guess that was not decoded, to be judged by what the model says instead; it stands from ``start`` on."""

    acceptance: _Acceptance
    guess: Sequence[int]
    start: int
    judged: int = 0

    def is_settled(self, tokens: Sequence[int]) -> bool:
        """Judge the guess by what has come since; return whether nothing is left of it to judge."""
        while self.judged < len(self.guess) and self.start + self.judged < len(tokens):
            held = self.guess[self.judged] == tokens[self.start + self.judged]
            if self.judged == 0:
                self.acceptance.judge_first(held)
            else:
                self.acceptance.judge_later(held)
            self.judged += 1
            if not held:
                return True
        return self.judged >= len(self.guess)
