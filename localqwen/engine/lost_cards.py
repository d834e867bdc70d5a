"""Graphics cards that the machine has, or had, and llama.cpp does not see: sentences."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from localqwen.engine import drivers
from localqwen.engine.notebook import Notebook
from localqwen.engine.registry import Handle

CARDS = "cards"
DAY = 24 * 3600.0
REMEMBERED_SECONDS = 30 * DAY  # a card that was taken out is not missed for ever
# With one of these the user decides which cards there are.
CHOSEN_BY = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES")
WORTH_A_BACKEND = ("NVIDIA", "AMD")  # Intel's are mostly part of a CPU that is as fast


def lost_cards(notebook: Notebook, found: Sequence[Handle], now: float | None = None) -> Iterator[str]:
    """A sentence for each kind of card that is gone, or else of which llama.cpp sees none."""
    gone = list(gone_cards(notebook, found, now))
    yield from gone
    if not gone and not _is_chosen() and not any(handle.kind in {"gpu", "igpu"} for handle in found):
        for vendor in dict.fromkeys(card for card in drivers.cards() if card in WORTH_A_BACKEND):
            yield f"The machine has a card of {vendor} that llama.cpp does not see: `localqwen doctor` says what to do."


def gone_cards(notebook: Notebook, found: Sequence[Handle], now: float | None = None) -> Iterator[str]:
    """A sentence for each kind of card that was here and is not there any more; those that are there are noted."""
    now = time.time() if now is None else now
    known = _known(notebook)
    here = Counter(f"{handle.description} ({handle.backend})" for handle in found if handle.kind in {"gpu", "igpu"})
    for name, (count, when) in known.items():
        if here[name] < count and now - when < REMEMBERED_SECONDS and not _is_chosen():
            who = name if count == 1 else f"{count - here[name]} of {count} cards {name}"
            day = time.strftime("%Y-%m-%d", time.localtime(when))
            yield f"{who} was here on {day} and is gone: check its place and its driver with `localqwen doctor`."
    for name, count in here.items():
        before, when = known.get(name, (0, 0.0))
        if count > before or (count == before and now - when > DAY) or now - when >= REMEMBERED_SECONDS:
            notebook.put(CARDS, name, [count, now])


def _is_chosen() -> bool:
    return any(name in os.environ for name in CHOSEN_BY)


def _known(notebook: Notebook) -> dict[str, tuple[int, float]]:
    """How many cards of each kind there were, and when they were seen last."""
    known = {}
    for name, value in notebook.section(CARDS).items():
        if isinstance(value, list) and len(value) == 2 and all(isinstance(part, int | float) for part in value):
            known[name] = (int(value[0]), float(value[1]))
    return known
