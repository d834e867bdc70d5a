"""One history for the text of a draft and for what belongs to it: each step is undone and done again in its turn."""

from __future__ import annotations

from collections.abc import Callable

from textual.document._document import EditResult
from textual.document._edit import Edit
from textual.document._history import EditHistory
from textual.widgets import TextArea


class OutsideStep(Edit):
    """A change of something beside the text. The text is edited by nothing at its start."""

    def __init__(self, undo: Callable[[], None], redo: Callable[[], None]) -> None:
        """``undo`` and ``redo`` change it back and again."""
        super().__init__("", (0, 0), (0, 0), maintain_selection_offset=True)
        self._undo, self._redo = undo, redo
        self._edit_result = EditResult((0, 0), "")

    def do(self, text_area: TextArea, record_selection: bool = True) -> EditResult:
        """Change it again."""
        self._redo()
        assert self._edit_result is not None
        return self._edit_result

    def undo(self, text_area: TextArea) -> EditResult:
        """Change it back."""
        self._undo()
        assert self._edit_result is not None
        return self._edit_result


class Steps(EditHistory):
    """Textual's history of a text area, which has a place for other steps as well."""

    def add(self, step: OutsideStep, *, joined: bool) -> None:
        """Add what was just changed, as a step of its own or, ``joined``, as a part of the last one."""
        if joined and self._undo_stack:
            self._undo_stack[-1].append(step)
        else:
            self._undo_stack.append([step])
        self._redo_stack.clear()
        self.checkpoint()
