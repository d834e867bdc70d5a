"""What a popup offers while a word is typed: which word, which candidates, in which order. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

_T = TypeVar("_T")

# The word under the cursor: `@` at the start of a word, a path that may stand in quotes.
_PATH = re.compile(r'(?:^|(?<=\s))@(?:"([^"]*)"?|([^\s"]*))$')
# A whole word of that kind, and one that was just ended.
_MENTION = re.compile(r'(?:^|(?<=\s))@(?:"([^"\n]+)"|([^\s"]+))')
_ENDED = re.compile(_MENTION.pattern + r"\s\Z")
_BEHIND = ".,;:!?)]}'"
_ARGUMENT = re.compile(r"/([A-Za-z][\w-]*) +(.*)$", re.ASCII)
_COMMAND = re.compile(r"/([A-Za-z][\w-]*|)$", re.ASCII)
_COMMAND_LINE = re.compile(r"/([A-Za-z][\w-]*)(?:\s+(.*))?", re.ASCII | re.DOTALL)
_WORD_END = re.compile(r"\S*")
_SEPARATORS = "/\\_-. "

MATCH = 16
CONSECUTIVE = 12
WORD_START = 10
NAME_START = 14
GAP = 1


Offers: TypeAlias = Literal["files", "folders"] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SlashItem:
    """A command that a line can begin with."""

    name: str
    """Without the slash: ASCII letters, digits, ``-`` and ``_``."""
    help: str
    """What it does, in a few words."""
    argument: str | None = None
    """What its argument is called, such as ``"name"``; ``None`` for a command without one."""
    offers: Offers = ()
    """What its argument may be: files, folders, or one of these names."""
    aliases: tuple[str, ...] = ()
    """Other names for it, which are offered only where they are typed."""

    @property
    def names(self) -> tuple[str, ...]:
        """All that it can be called."""
        return (self.name, *self.aliases)


@dataclass(frozen=True, slots=True)
class Word:
    """The word that a popup completes, as columns of the cursor's line: ``start`` is that of the ``@`` or ``/``.

    A command's argument is the rest of its line; ``offers`` says what it may be.
    """

    kind: Literal["path", "command", "argument"]
    start: int
    end: int
    query: str
    offers: Offers = "files"


@dataclass(frozen=True, slots=True)
class Match:
    """How well a candidate fits, and which of its characters the query's are."""

    score: int
    positions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """A text that is a command: ``/name argument``."""

    name: str
    argument: str


@dataclass(frozen=True, slots=True)
class Literally:
    """A text to send, a doubled slash at its start already made one."""

    text: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """A text that looks like a command and is none: a sentence for the person."""

    sentence: str


Meaning: TypeAlias = Command | Literally | Mistake


def word_at(line: str, column: int, row: int = 0, items: Sequence[SlashItem] = ()) -> Word | None:
    """The word before the cursor that a popup can complete; commands only stand at the start of row 0.

    Its query ends at the cursor; the word itself goes on to the next space. ``items`` know about arguments.
    """
    before = line[:column]
    tail = _WORD_END.match(line, column)
    end = tail.end() if tail else column
    if row == 0 and (found := _COMMAND.match(before)):
        return Word("command", 0, end, found[1])
    if row == 0 and (found := _ARGUMENT.match(before)):
        item = named(found[1], items)
        if item is not None and item.offers:
            return Word("argument", found.start(2), len(line), found[2], item.offers)
    if found := _PATH.search(before):
        quoted = found[1] is not None
        return Word("path", found.start(), column if quoted else end, found[1] if quoted else found[2])
    return None


def meaning(text: str, items: Sequence[SlashItem]) -> Meaning:
    """What sending a text means: ``/name argument`` is a command, ``//`` begins a text with one slash.

    ``/etc/fstab`` has no command's shape and is only text; without any commands everything is.
    """
    if not items:
        return Literally(text)
    if text.startswith("//"):
        return Literally(text[1:])
    found = _COMMAND_LINE.fullmatch(text)
    if found is None and text.rstrip() != "/":
        return Literally(text)
    name, argument = (found[1], (found[2] or "").strip()) if found else ("", "")
    item = named(name, items)
    if item is None:
        return Mistake(f"There is no command /{name}. To send a text that begins with a slash, begin it with two.")
    if argument and item.argument is None:
        return Mistake(f"/{name} takes nothing behind it. To send this as a text, begin it with two slashes.")
    return Command(item.name, argument)


def named(name: str, items: Sequence[SlashItem]) -> SlashItem | None:
    """The command of that name."""
    return next((item for item in items if name in item.names), None)


def mentions(text: str) -> list[tuple[str, ...]]:
    """The paths that a text names with ``@``, each as what it may be: as it stands, and without signs behind it."""
    return [_readings(found) for found in _MENTION.finditer(text)]


def mention_ended(before: str) -> bool:
    """Whether such a word ends with the space or the line break right before the cursor."""
    return _ENDED.search(before) is not None


def _readings(found: re.Match[str]) -> tuple[str, ...]:
    if found[1] is not None:
        return (found[1],)
    return tuple(dict.fromkeys(filter(None, (found[2], found[2].rstrip(_BEHIND)))))


def as_typed(text: str, items: Sequence[SlashItem]) -> str:
    """What a person has to type to send ``text``: its slash doubled where it would mean a command otherwise."""
    return text if meaning(text, items) == Literally(text) else f"/{text}"


def commands_for(query: str, items: Sequence[SlashItem]) -> list[tuple[SlashItem, Match]]:
    """The commands that fit, best first; all of them, in their own order, for an empty query."""
    found = _ranked(query, [(item.name, item) for item in items])
    if query:
        # Other names come last, and with nothing to mark: what the row says is not what was typed.
        have = {item.name for item, _ in found}
        others = _ranked(query, [(alias, item) for item in items if item.name not in have for alias in item.aliases])
        found += dict.fromkeys((item, Match(0, ())) for item, _ in others)
    return found


def paths_for(query: str, paths: Iterable[str]) -> list[tuple[str, Match]]:
    """The paths that fit, best first."""
    return _ranked(query, [(path, path) for path in paths])


def fuzzy(query: str, candidate: str) -> Match | None:
    """Whether all characters of ``query`` come in ``candidate`` in this order, whatever their case.

    Starts of words, runs of neighbours and a file's own name (behind the last ``/``) count more, gaps count less.
    """
    if not query:
        return Match(0, ())
    needle, hay = _folded(query), _folded(candidate)
    name = candidate.rstrip("/").rfind("/") + 1
    best: Match | None = None
    # Two looks: at the name alone, where people mean the query to be, and at the whole path.
    for begin in {name, 0}:
        positions = _tightest(needle, hay, begin)
        if positions is None:
            continue
        score = _score(positions, candidate, name)
        if best is None or score > best.score:
            best = Match(score, positions)
    return best


def is_sure(query: str, candidate: str) -> bool:
    """Whether a query stands in a candidate as it was typed, whatever its case, so that this is likely to be meant."""
    return bool(query) and query.lower() in candidate.lower()


def _ranked(query: str, candidates: Sequence[tuple[str, _T]]) -> list[tuple[_T, Match]]:
    found = [
        (match, len(label), index, thing)
        for index, (label, thing) in enumerate(candidates)
        if (match := fuzzy(query, label)) is not None
    ]
    if query:
        found.sort(key=lambda entry: (-entry[0].score, entry[1], entry[2]))
    return [(thing, match) for match, _, _, thing in found]


def _folded(text: str) -> str:
    lower = text.lower()
    # A few characters fold to two, and positions must stay those of the original.
    return lower if len(lower) == len(text) else text


def _tightest(needle: str, hay: str, begin: int) -> tuple[int, ...] | None:
    """Positions of the needle's characters: the first end that can be reached, then back from it, keeping close."""
    at = begin - 1
    for char in needle:
        at = hay.find(char, at + 1)
        if at < 0:
            return None
    positions = [at]
    for char in reversed(needle[:-1]):
        at = hay.rfind(char, begin, at)
        positions.append(at)
    return tuple(reversed(positions))


def _score(positions: Sequence[int], candidate: str, name: int) -> int:
    score, previous = 0, None
    for at in positions:
        score += MATCH
        if previous is not None and at == previous + 1:
            score += CONSECUTIVE
        elif at == name:
            score += NAME_START
        elif at == 0 or candidate[at - 1] in _SEPARATORS or (candidate[at].isupper() and candidate[at - 1].islower()):
            score += WORD_START
        elif previous is not None:
            score -= min(GAP * (at - previous - 1), MATCH)
        previous = at
    return score
