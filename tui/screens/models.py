"""Choosing another model: what is installed and what can be had, with size, window and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from localqwen.errors import LocalqwenError
from tui.model_list import ModelRow, advice, fit_words, gigabytes, matching, window_words
from tui.model_source import ModelSource
from tui.sanitize import safe, safe_line
from tui.screens.form import key_of
from tui.theme import pale
from tui.widgets.fields import LineField

NAME_CELLS = 28
# Of the dialog: its border, padding, title, filter and advice, and the most it takes with the list.
FRAME_LINES, MOST_LINES = 11, 32
FIT_STYLES = {"gpu": "$success", "ram": "$success", "partly": "$warning", "no": "$error", "unknown": ""}


class ModelsScreen(ModalScreen[ModelRow | None]):
    """A filter over the list. Dismissed with the model to open, or ``None``."""

    AUTO_FOCUS = "#models-filter"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close", id="dialog.cancel", show=False),
        # The list is moved while the filter keeps the cursor.
        Binding("up", "move(-1)", "Up", id="dialog.previous", show=False, priority=True),
        Binding("down", "move(1)", "Down", id="dialog.next", show=False, priority=True),
        Binding("enter", "choose", "Open", id="dialog.take", show=False, priority=True),
    ]

    DEFAULT_CSS = """
    ModelsScreen {
        align: center middle;
        background: $background 60%;

        & > #models {
            width: 90;
            max-width: 95%;
            height: 90%;
            padding: 1;
            background: $surface;
            border: round $primary 60%;
        }

        #models-title {
            text-style: bold;
            padding: 0 1 1 1;
        }

        #models-filter {
            border: none;
            height: 1;
            padding: 0 1;
            margin-bottom: 1;
        }

        #models-list {
            height: 1fr;
            border: none;
            background: $surface;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }

        #models-advice {
            height: 3;
            padding: 1 1 0 1;
            color: $text-muted;
        }
    }
    """

    def __init__(self, source: ModelSource, current: str) -> None:
        """``source`` has the models; the one called ``current`` is marked."""
        super().__init__()
        self._source = source
        self._current = current
        self._rows: list[ModelRow] = []
        self._shown: list[ModelRow] = []
        self._pointed: int | None = None

    def compose(self) -> ComposeResult:
        """A filter, the list, and what Enter does."""
        with Vertical(id="models"):
            yield Static("Models", id="models-title")
            yield LineField(placeholder="Type to filter", id="models-filter")
            yield OptionList(id="models-list", markup=False)
            yield Static("Looking…", id="models-advice", markup=False)

    def on_mount(self) -> None:
        """List first, judge later."""
        self._fit()
        self._load()

    @work(exclusive=True, group="models")
    async def _load(self) -> None:
        try:
            self._show(await self._source.listed())
            self._show(await self._source.judged())
        except LocalqwenError as error:
            self._advise(str(error))

    def _show(self, rows: Sequence[ModelRow]) -> None:
        self._rows = list(rows)
        self._fit()
        self._list()

    def _fit(self) -> None:
        """As tall as all models, whatever the filter leaves: a dialog that jumps at each letter is hard to read."""
        self.query_one("#models").styles.max_height = min(FRAME_LINES + max(len(self._rows), 1), MOST_LINES)

    def _list(self) -> None:
        options = self.query_one("#models-list", OptionList)
        marked = self._highlighted
        wanted = marked.name if marked is not None else self._current
        self._shown = matching(self._rows, self.query_one("#models-filter", Input).value)
        options.clear_options()
        options.add_options([Option(self._line(row)) for row in self._shown])
        self._pointed = None
        names = [row.name for row in self._shown]
        if names:
            options.highlighted = names.index(wanted) if wanted in names else 0
        else:
            self._advise("No model is called that." if self._rows else "There is no model.")

    @property
    def _highlighted(self) -> ModelRow | None:
        at = self.query_one("#models-list", OptionList).highlighted
        return self._shown[at] if at is not None and at < len(self._shown) else None

    def _line(self, row: ModelRow, *, pointed: bool = False) -> Content:
        current = row.name == self._current
        return line(row, self.app.theme_variables, current=current, pointed=pointed)

    def _point_at(self, at: int | None) -> None:
        """Mark a line with a sign too: Textual's mark is a colour, which not everybody has."""
        options = self.query_one("#models-list", OptionList)
        for index in {self._pointed, at}:
            if index is not None and index < len(self._shown):
                options.replace_option_prompt_at_index(index, self._line(self._shown[index], pointed=index == at))
        self._pointed = at

    def _advice(self, row: ModelRow) -> str:
        return advice(row, key_of(self, "dialog.take"))

    def _advise(self, text: str) -> None:
        self.query_one("#models-advice", Static).update(safe_line(text))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter."""
        event.stop()
        self._list()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Say what Enter does."""
        event.stop()
        self._point_at(event.option_list.highlighted)
        if (row := self._highlighted) is not None:
            self._advise("This model is open." if row.name == self._current else self._advice(row))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click opens too."""
        event.stop()
        self.action_choose()

    def action_move(self, step: int) -> None:
        """Go to another model."""
        options = self.query_one("#models-list", OptionList)
        options.action_cursor_down() if step > 0 else options.action_cursor_up()

    def action_choose(self) -> None:
        """Open the marked model, if that can be."""
        row = self._highlighted
        if row is None:
            return
        if row.name == self._current:
            self.dismiss(None)
        elif row.can_be_opened:
            self.dismiss(row)
        else:
            self._advise(self._advice(row))


def line(row: ModelRow, variables: Mapping[str, str], *, current: bool, pointed: bool = False) -> Content:
    """A model as one line."""
    mark = "●" if current else "○" if row.can_be_opened else " "
    name = safe_line(row.name)
    name_cells = Content(name).truncate(NAME_CELLS, ellipsis=True, pad=True)
    size = gigabytes(row.size) if row.size else ""
    if row.size and not row.is_installed:
        size = f"~{size}"
    return Content.assemble(
        ("❯" if pointed else " ", "$primary"),
        (mark, "$primary"),
        " ",
        name_cells if row.can_be_opened else name_cells.stylize(pale(variables, 60)),
        (safe(f" {size:>9}  {window_words(row):<9} "), pale(variables, 70)),
        (safe_line(fit_words(row)), FIT_STYLES[row.fit]),
    )
