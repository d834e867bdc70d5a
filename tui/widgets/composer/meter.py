"""How much of the context the draft takes, in words. Pure."""

from __future__ import annotations


def budget_words(draft: int | None, left: int | None, *, estimate: bool) -> tuple[str, bool]:
    """What the meter says of ``draft`` tokens where ``left`` fit, ``None`` if unknown; and whether it is too much."""
    about = "about " if estimate else ""
    match draft, left:
        case None, None:
            return "", False
        case None, int(left):
            return f"{_tokens(left)} left", False
        case int(draft), None:
            return f"draft {about}{_tokens(draft)}", False
        case int(draft), int(left) if draft > left:
            return f"draft {about}{_tokens(draft)}, {draft - max(0, left):,} more than fit", True
        case _:
            return f"draft {about}{draft:,} of {_tokens(left)} left", False


def _tokens(count: int | None) -> str:
    return "1 token" if count == 1 else f"{count:,} tokens"
