"""The app's own two themes: calm, with one accent colour; Textual's others stay available."""

from __future__ import annotations

from textual.theme import Theme

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
        "block-cursor-background": "#dcd8f5",
        "block-cursor-foreground": "#1b1c22",
        "block-cursor-text-style": "none",
        "scrollbar": "#dedad0",
        "scrollbar-background": "#fbfaf7",
        "scrollbar-background-hover": "#fbfaf7",
        "scrollbar-background-active": "#fbfaf7",
    },
)
