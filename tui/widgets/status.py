"""The line at the bottom: the model and its state on the left, the answer's figures on the right."""

from __future__ import annotations

from textual.app import RenderResult
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from localqwen.chats.answer import Answer
from localqwen.events import Loading, Ready
from tui.backend import Failed, State
from tui.sanitize import SafeText, safe_line

BAR_CELLS = 16
MUTED = "$foreground 55%"


class StatusLine(Widget):
    """One line; each part is replaced when it changes."""

    DEFAULT_CSS = """
    StatusLine {
        height: 1;
    }
    """

    left: reactive[Content] = reactive(Content)
    right: reactive[str] = reactive("")

    def show(self, model: str, state: State, answer: Answer | None) -> None:
        """Say what the model and the open conversation's answer are doing."""
        self.left = _left(safe_line(model), state, answer)
        self.right = figures(answer, state)

    def render(self) -> RenderResult:
        """Both parts, the right one at the edge; the left one gives way."""
        room = self.size.width - len(self.right) - 1
        left = self.left.truncate(max(0, room), ellipsis=True)
        gap = " " * max(1, self.size.width - left.cell_length - len(self.right))
        return Content.assemble(left, gap, (self.right, MUTED))


def _left(model: SafeText, state: State, answer: Answer | None) -> Content:
    match state:
        case Failed(reason):
            return Content.assemble(("● ", "$error"), model, ("  " + safe_line(reason), "$error"))
        case Loading(progress):
            done = round(progress * BAR_CELLS)
            bar = (("━" * done, "$primary"), ("━" * (BAR_CELLS - done), "$foreground 20%"))
            return Content.assemble(("● ", "$warning"), model, "  loading ", *bar, f" {progress:.0%}")
        case Ready():
            return Content.assemble(("● ", "$success"), model, ("  " + activity(answer), MUTED))
        case _:
            return Content.assemble(("● ", "$warning"), model, ("  starting", MUTED))


def activity(answer: Answer | None) -> str:
    """What the model does for this conversation, in a word or two."""
    if answer is None or answer.is_over:
        return "ready"
    if answer.tokens:
        return "answering"
    if answer.prefill is not None:
        return f"reading {answer.prefill.done}/{answer.prefill.total}"
    return "thinking"


def figures(answer: Answer | None, state: State) -> str:
    """Tokens per second and context, as far as they are known."""
    if answer is None:
        return ""
    parts = []
    if answer.tokens_per_second:
        parts.append(f"{answer.tokens_per_second:.1f} tok/s")
    usage = answer.message.usage
    prompt = answer.prefill.total if answer.prefill else 0
    used = usage.prompt_tokens + usage.completion_tokens if usage else prompt + answer.tokens if prompt else 0
    window = state.context if isinstance(state, Ready) else 0
    if used:
        parts.append(f"context {used}/{window}" if window else f"{used} tokens")
    return "  ".join(parts)
