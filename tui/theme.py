"""The app's own themes: calm, with one accent colour; Textual's others stay available.

What matters less is paler, but not in the themes of high contrast: it has a variable (``$text-muted``,
``$foreground-muted`` and ``$text-disabled`` are Textual's, :func:`more_variables` has the others), or :func:`pale`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

from textual.theme import Theme

from tui.sanitize import SafeText, safe_line

DARK = Theme(
    name="localqwen-dark",
    primary="#a59bf5",
    secondary="#86b8c9",
    accent="#e0b87a",
    foreground="#d9dbe3",
    background="#14161b",
    surface="#1c1f27",
    panel="#1f232c",
    success="#a3bf8a",
    warning="#e0b87a",
    error="#e2777f",
    dark=True,
    variables={
        "foreground-muted": "#d9dbe3 55%",
        "text-muted": "#d9dbe3 70%",
        "block-cursor-background": "#2d3040",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-text-style": "none",
        "input-selection-background": "#a59bf5 35%",
        "scrollbar": "#2a2e39",
        "scrollbar-hover": "#3b4050",
        "scrollbar-active": "#a59bf5",
        "scrollbar-background": "#14161b",
        "scrollbar-background-hover": "#14161b",
        "scrollbar-background-active": "#14161b",
    },
)

LIGHT = Theme(
    name="localqwen-light",
    primary="#5a49c8",
    secondary="#2b6f86",
    accent="#9a6700",
    foreground="#2a2c33",
    background="#fbfaf7",
    surface="#f1efe9",
    panel="#f1efe9",
    success="#47702c",
    warning="#9a6700",
    error="#b3303c",
    dark=False,
    variables={
        "foreground-muted": "#2a2c33 55%",
        "text-muted": "#2a2c33 70%",
        "block-cursor-background": "#dcd8f5",
        "block-cursor-foreground": "#1b1c22",
        "block-cursor-text-style": "none",
        "scrollbar": "#dedad0",
        "scrollbar-background": "#fbfaf7",
        "scrollbar-background-hover": "#fbfaf7",
        "scrollbar-background-active": "#fbfaf7",
    },
)

# For eyes and screens that need it: black and white, full colours, at least 7:1 (WCAG 2 AAA) for every text.
CONTRAST_DARK = Theme(
    name="localqwen-contrast-dark",
    primary="#ffd75f",
    secondary="#7fe3ff",
    accent="#ffd75f",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#000000",
    success="#8dff8d",
    warning="#ffd75f",
    error="#ff9c9c",
    dark=True,
    variables={
        "high-contrast": "1",
        "foreground-muted": "#ffffff",
        "text-muted": "#ffffff",
        "text-disabled": "#c8c8c8",
        "placeholder": "#c8c8c8",
        "palette-help-style": "not bold",
        "faint": "#ffffff",
        "open-background": "#222222",
        "chosen-background": "#222222",
        "chosen-foreground": "#ffffff",
        "chosen-text-style": "bold underline",
        "block-cursor-blurred-background": "#222222",
        "block-cursor-background": "#ffffff",
        "block-cursor-foreground": "#000000",
        "block-cursor-text-style": "bold",
        "input-selection-background": "#ffffff",
        "input-selection-foreground": "#000000",
        "scrollbar": "#ffffff",
        "scrollbar-hover": "#ffd75f",
        "scrollbar-active": "#ffd75f",
        "scrollbar-background": "#000000",
        "scrollbar-background-hover": "#000000",
        "scrollbar-background-active": "#000000",
    },
)

CONTRAST_LIGHT = Theme(
    name="localqwen-contrast-light",
    primary="#3b00b3",
    secondary="#004a63",
    accent="#5c3d00",
    foreground="#000000",
    background="#ffffff",
    surface="#ffffff",
    panel="#ffffff",
    success="#004d00",
    warning="#5c3d00",
    error="#8c0010",
    dark=False,
    variables={
        "high-contrast": "1",
        "foreground-muted": "#000000",
        "text-muted": "#000000",
        "text-disabled": "#404040",
        "placeholder": "#404040",
        "palette-help-style": "not bold",
        "faint": "#000000",
        "open-background": "#e0e0e0",
        "chosen-background": "#e0e0e0",
        "chosen-foreground": "#000000",
        "chosen-text-style": "bold underline",
        "block-cursor-blurred-background": "#e0e0e0",
        "block-cursor-background": "#000000",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-text-style": "bold",
        "input-selection-background": "#000000",
        "input-selection-foreground": "#ffffff",
        "scrollbar": "#000000",
        "scrollbar-hover": "#3b00b3",
        "scrollbar-active": "#3b00b3",
        "scrollbar-background": "#ffffff",
        "scrollbar-background-hover": "#ffffff",
        "scrollbar-background-active": "#ffffff",
    },
)

THEMES = (DARK, LIGHT, CONTRAST_DARK, CONTRAST_LIGHT)
# In turns: our own, and the terminal's colours.
CYCLE = (*(theme.name for theme in THEMES), "ansi-dark", "ansi-light")


def next_theme(name: str) -> str:
    """The one after a theme, or the first one after one that is none of ours."""
    return CYCLE[(CYCLE.index(name) + 1) % len(CYCLE)] if name in CYCLE else CYCLE[0]


def more_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """A theme's ``variables``, and what it lacks of ours: the palest texts, and rows marked while the focus is away."""
    cursor = variables["block-cursor-background"]
    return {
        "faint": f"{variables['foreground']} 45%",
        "placeholder": f"{variables['text']} 40%",
        "palette-help-style": "dim not bold",
        "open-background": f"{cursor} 60%",
        "chosen-background": cursor,
        "chosen-foreground": variables["block-cursor-foreground"],
        "chosen-text-style": "none",
        **variables,
    }


def pale(variables: Mapping[str, str], percent: int) -> SafeText:
    """A style for markup of what matters less, by an app's ``theme_variables``; in a variable a percentage is lost."""
    return SafeText("$foreground") if "high-contrast" in variables else safe_line(f"$foreground {percent}%")


def has_no_color(environ: Mapping[str, str]) -> bool:
    """Whether the person wants no colours at all (https://no-color.org); as Textual, whatever the value is."""
    return "NO_COLOR" in environ


def first_theme(wanted: str, available: Collection[str], environ: Mapping[str, str]) -> str:
    """The theme to begin with.

    Without colours it is an ansi one: it styles by bold, dim and reverse, which stay when Textual takes the colours out
    of an app with ``ansi_color``; the others would become shades of grey.
    """
    if has_no_color(environ):
        return "ansi-dark"
    return wanted if wanted in available else DARK.name


def theme_complaint(wanted: str, available: Collection[str]) -> str | None:
    """A sentence about a theme that there is none of."""
    if wanted in available:
        return None
    near = get_close_matches(wanted, sorted(available), 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f'[view] theme = "{wanted}": there is no such theme{hint}; {DARK.name} counts.'


def theme_names(available: Iterable[str]) -> list[str]:
    """Themes to choose from: our own first, then the terminal's own colours, then the others."""
    names = set(available)
    return [name for name in CYCLE if name in names] + sorted(names.difference(CYCLE, {"textual-ansi"}))
