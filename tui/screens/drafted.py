"""Dialogs with a long text, which is kept while it is typed as the composer's drafts are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

from textual import work
from textual.widgets import TextArea

from localqwen.errors import LocalqwenError
from tui.later import Later
from tui.sanitize import SafeText, safe_line
from tui.screens.form import Form
from tui.widgets.fields import TextField

Result = TypeVar("Result")
Save: TypeAlias = Callable[[str | None], Awaitable[object]]

SAVE_SECONDS = 0.2


class DraftedForm(Form[Result]):
    """A form with one :class:`TextField`, whose text is the first of its :meth:`state`.

    What was typed before and neither accepted nor given up is there again. Whoever opens the form forgets it when the
    form was left in one of these ways.
    """

    def __init__(self, draft: str | None = None, save: Save | None = None) -> None:
        """``draft`` was typed before. ``save`` keeps what is typed (``None``: nothing was changed) or raises."""
        super().__init__()
        self._draft = draft
        self._save = save
        self._saved = draft
        self._is_saved = save is not None
        self._original = ""
        self._later = Later(self, self.save)

    @property
    def hint(self) -> SafeText:
        """What the keys do."""
        raise NotImplementedError

    @property
    def area(self) -> TextField:
        """Where the text is."""
        return self.query_one(TextField)

    def begin(self) -> None:
        """Have again what was typed before."""
        area = self.area
        self._original = area.text
        if self._draft is not None and self._draft != self._original:
            # As if it were typed, so that it can be undone.
            area.replace(self._draft, (0, 0), area.document.end, maintain_selection_offset=False)
            self.say(safe_line(f"What you typed before is here again. {self.hint}"))

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Keep it soon, and once for many keys."""
        event.stop()
        if self._save is not None:
            self._later.set(SAVE_SECONDS)

    def save(self) -> None:
        """Keep what is typed, in the background."""
        self._later.cancel()
        text = None if self.area.text == self._original else self.area.text
        if self._save is not None and text != self._saved:
            self._saved = text
            self._keep_draft(self._save, text)

    @work(group="drafts")
    async def _keep_draft(self, save: Save, text: str | None) -> None:
        try:
            await save(text)
        except LocalqwenError as error:
            self._is_saved = False
            self.complain(error)
        else:
            self._is_saved = True

    def complain(self, error: LocalqwenError) -> None:
        """Say what went wrong."""
        sentence = str(error)
        self.say(safe_line(f"{sentence[:1].upper()}{sentence[1:]}"))

    def may_quit(self, key: str) -> bool:
        """What is kept is there again after the next start; the other fields are not."""
        if not self._is_saved or self.state()[1:] != self._began[1:]:
            return super().may_quit(key)
        self.save()
        return True
