"""What the plain chat says, and how: answers in sentences, states and models as lines."""

from __future__ import annotations

from localqwen.events import Loading, Ready
from tui.asking import Asking
from tui.backend_state import Failed, State
from tui.model_list import ModelRow, fit_words, gigabytes
from tui.plain_terminal import Terminal
from tui.sanitize import SafeText, safe, safe_line
from tui.sentences import Sentences


class Speaking:
    """Says an answer in sentences as it grows, after its speaker's name."""

    def __init__(self, terminal: Terminal, asking: Asking, told: int = 0) -> None:
        """``told`` characters of the answer were said before."""
        self._terminal = terminal
        self._asking = asking
        self._sentences = Sentences()
        self._told = told
        self._ends_line = True
        self._has_begun = False

    def told(self, text: str) -> None:
        """The text so far."""
        pieces = self._sentences.feed(text[self._told :])
        self._told = len(text)
        for piece in pieces:
            self._say(piece)

    def finish(self, text: str) -> None:
        """The whole text."""
        self.told(text)
        self._say(self._sentences.finish())
        if not self._ends_line:
            self._terminal.say(SafeText("\n"))

    def _say(self, piece: str) -> None:
        if not piece:
            return
        if not self._has_begun:
            self._has_begun = True
            self._terminal.say(safe(f"{safe_line(self._asking.model)}: "))
        self._terminal.say(safe(piece))
        self._ends_line = piece.endswith("\n")


def waiting_words(state: State) -> str:
    """A line for each state that is worth one, and for each quarter of loading."""
    match state:
        case Loading(progress):
            return f"loading {int(progress * 4)}"
        case Ready() | Failed():
            return ""
        case _:
            return "Starting the model."


def model_words(row: ModelRow) -> str:
    """A model as a line."""
    about = [gigabytes(row.size)] if row.size else []
    about += [fit_words(row)] if row.fit != "unknown" else []
    about += ["installed" if row.is_installed else "" if row.is_remote else "not installed"]
    return f"{safe_line(row.name)}: {', '.join(filter(None, about))}".removesuffix(": ")


def chosen_row(found: list[ModelRow], wanted: str) -> ModelRow | None:
    """The model that a number of the list or a name means."""
    if wanted.isdecimal():
        return found[int(wanted) - 1] if 1 <= int(wanted) <= len(found) else None
    return next((row for row in found if row.name.lower() == wanted.lower()), None)
