"""Which models there are to choose from, and whether they fit here. Pure: files and devices are brought by others.

Whether a model fits is an estimate from sizes alone, for the engine never runs in this process; `localqwen plan MODEL`
knows exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from localqwen.catalog import DEMO, Card, Shape
from localqwen.library import InstalledModel

Fit: TypeAlias = Literal["gpu", "partly", "ram", "no", "unknown"]

# Q4_K_M takes about 4.85 bits for a weight of a layer; the output matrix has 6.56, the embedding 4.5.
LAYER_BITS, OUTPUT_BITS, EMBEDDING_BITS = 4.85, 6.56, 4.5
# Of a conversation that a model must hold to be of any use, in half precision.
CONTEXT = 8192
KV_BYTES = 2
# Activations, the driver and llama.cpp's own tables.
OVERHEAD = 600 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """Bytes that a model may take: of RAM, and of each card by its name."""

    ram: int
    cards: tuple[tuple[str, int], ...] = ()

    def with_back(self, taken: Mapping[str, int]) -> Machine:
        """As it will be when the model that is loaded now, which has ``taken`` so much of each device, is gone."""
        cards = tuple((name, free + taken.get(name, 0)) for name, free in self.cards)
        return Machine(self.ram + taken.get("CPU", 0), cards)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model. ``size`` is in bytes, a guess unless it ``is_installed``; 0 and ``None`` are unknown.

    ``window`` is the context in tokens as trained, ``longest`` what YaRN stretches it to.
    """

    name: str
    title: str = ""
    size: int = 0
    window: int = 0
    longest: int = 0
    path: Path | None = None
    is_remote: bool = False
    fit: Fit = "unknown"
    short: int = 0  # bytes that are missing where it does not fit

    @property
    def is_installed(self) -> bool:
        """Whether the file is on this machine."""
        return self.path is not None

    @property
    def can_be_opened(self) -> bool:
        """Whether choosing it leads to a chat."""
        return self.is_installed or self.is_remote


def rows(installed: Iterable[InstalledModel], cards: Iterable[Card], machine: Machine | None = None) -> list[ModelRow]:
    """Installed files first, then the releases of which no file is here, the smallest first."""
    files = list(installed)
    found = [
        _row(model.name, model.card, model.size, machine, path=model.path, title=model.card.title if model.card else "")
        for model in files
    ]
    here = {model.card.name for model in files if model.card is not None}
    found += [
        _row(card.name, card, quantized_size(card.shape), machine, title=card.title)
        for card in cards
        if card.name not in here
    ]
    return found


def _row(
    name: str, card: Card | None, size: int, machine: Machine | None, *, title: str, path: Path | None = None
) -> ModelRow:
    fit: Fit = "unknown"
    short = 0
    if machine is not None:
        wanted = needed(size, card.shape if card is not None else None)
        fit = judge(wanted, machine)
        short = max(0, wanted - machine.ram - sum(free for _, free in machine.cards)) if fit == "no" else 0
    window = card.window if card is not None else None
    return ModelRow(
        name,
        title,
        size,
        window.native if window else 0,
        window.longest if window else 0,
        path,
        fit=fit,
        short=short,
    )


def quantized_size(shape: Shape) -> int:
    """About how many bytes a release takes as Q4_K_M, to a tenth or so."""
    table = shape.vocabulary * shape.hidden
    bits = table * (OUTPUT_BITS if shape.tied else EMBEDDING_BITS + OUTPUT_BITS)
    layers = shape.parameters - table * (1 if shape.tied else 2)
    return round((bits + layers * LAYER_BITS) / 8)


def needed(size: int, shape: Shape | None) -> int:
    """About how many bytes a file of ``size`` takes when it is loaded, with room for a conversation."""
    kv = 0
    if shape is not None:
        kv = 2 * shape.layers * shape.hidden // shape.heads * shape.kv_heads * KV_BYTES * CONTEXT
    return size + kv + OVERHEAD


def judge(wanted: int, machine: Machine) -> Fit:
    """Where so many bytes would go. Cards are filled first; what does not fit there goes to RAM."""
    cards = sum(free for _, free in machine.cards)
    if cards and wanted <= cards:
        return "gpu"
    if cards and wanted <= cards + machine.ram:
        return "partly"
    return "ram" if wanted <= machine.ram else "no"


def fit_words(row: ModelRow) -> str:
    """Whether a model fits, in a few words."""
    match row.fit:
        case "gpu":
            return "fits on the GPU"
        case "partly":
            return "partly on the GPU"
        case "ram":
            return "fits"
        case "no":
            return f"{gigabytes(row.short)} too large"
        case "unknown":
            return ""


def gigabytes(size: int) -> str:
    """Bytes, as a person reads them."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"


def window_words(row: ModelRow) -> str:
    """The context, as ``32k`` or ``32k–128k``."""
    if not row.window:
        return ""
    short = _thousands(row.window)
    return f"{short}–{_thousands(row.longest)}" if row.longest > row.window else short


def matching(found: Sequence[ModelRow], words: str) -> list[ModelRow]:
    """The models in whose name or title every one of the ``words`` occurs."""
    wanted = words.lower().split()
    return [row for row in found if all(word in f"{row.name} {row.title}".lower() for word in wanted)]


def advice(row: ModelRow, key: str = "Enter") -> str:
    """What to do about a model that cannot be opened, or what opening it with ``key`` does."""
    if row.is_remote:
        return f"{key} asks {row.name} from now on; the conversation stays."
    if not row.is_installed and row.name == DEMO:
        return "Not here yet: `localqwen demo` in a terminal makes it, in about ten seconds."
    if not row.is_installed:
        return f"Not here yet: `localqwen pull {row.name}` in a terminal downloads and converts it."
    if row.fit == "no":
        return f"It is too large for the memory that is free now; {key} tries all the same."
    return f"{key} opens it; the conversation stays.{fit_remark(row)}"


def fit_remark(row: ModelRow) -> str:
    """For how long a conversation it was judged whether a model fits."""
    return "" if row.fit == "unknown" else f" It was judged with {_thousands(CONTEXT)} of context."


def _thousands(tokens: int) -> str:
    return f"{tokens // 1024}k" if tokens >= 1024 else str(tokens)
