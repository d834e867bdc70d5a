"""The transcript's colours, taken from the app's theme."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from rich.style import Style
from textual.color import Color


@dataclass(frozen=True)
class Styles:
    """One Rich style for each thing a transcript shows; the backgrounds are the theme's."""

    base: Style
    muted: Style
    rule: Style
    person: Style
    person_bar: Style
    name: Style
    heading: Style
    strong: Style
    emphasis: Style
    strike: Style
    inline_code: Style
    link: Style
    url: Style
    bullet: Style
    column: Style
    quote: Style
    quote_bar: Style
    code: Style
    code_label: Style
    keyword: Style
    string: Style
    number: Style
    function: Style
    comment: Style
    queued: Style
    queued_mark: Style
    chip: Style
    mark: Style
    found: Style
    found_current: Style
    error: Style
    warning: Style
    selection: Style

    @cached_property
    def of_code(self) -> Mapping[str, Style]:
        """Each kind of token in code, and ``""`` for all else."""
        kinds = ("keyword", "string", "number", "function", "comment")
        return {"": self.code} | {kind: self.code + getattr(self, kind) for kind in kinds}

    def switch(self, direction: int, key: int | None) -> Style:
        """An arrow that leads to another variant of a message; see ``Transcript.Switch``."""
        return self.muted + Style(meta={"switch": (key, direction)})

    @classmethod
    def from_theme(cls, variables: Mapping[str, str]) -> Styles:
        """The styles for a theme's CSS variables."""
        colors = {name: _color(variables, name) for name in _NAMES}
        back, text = colors["background"], colors["foreground"]
        plain = back.ansi is not None or text.ansi is not None
        is_strong = "high-contrast" in variables
        reverses = plain or is_strong

        def fg(
            color: Color, over: Color = back, part: float = 1.0, *, bold: bool = False, italic: bool = False
        ) -> Style:
            if plain:
                # The terminal's own colours cannot be mixed; dim says the same.
                return Style(color=color.rich_color, bold=bold, italic=italic, dim=part < 0.9)
            mixed = color if is_strong else over.blend(color, part)
            return Style(color=mixed.rich_color, bold=bold or None, italic=italic or None)

        def bg(color: Color) -> Style:
            return Style(bgcolor=color.rich_color)

        panel, surface = colors["panel"], colors["surface"]
        return cls(
            base=fg(text) + bg(back),
            muted=fg(text, part=0.55),
            rule=fg(text, part=0.25),
            person=fg(text, surface) + bg(surface),
            person_bar=fg(colors["primary"], surface) + bg(surface),
            name=fg(colors["primary"], bold=True),
            heading=fg(colors["primary"], bold=True),
            strong=Style(bold=True),
            emphasis=Style(italic=True),
            strike=Style(strike=True),
            inline_code=fg(colors["secondary"]) + (Style() if plain else bg(surface)),
            link=fg(colors["secondary"]) + Style(underline=True),
            url=fg(text, part=0.55),
            bullet=fg(colors["primary"]),
            column=fg(text, part=0.55),
            quote=fg(text, part=0.75, italic=True),
            quote_bar=fg(colors["primary"], part=0.6),
            code=fg(text, panel, 0.95) + bg(panel),
            code_label=fg(text, panel, 0.5) + bg(panel),
            keyword=fg(colors["primary"], panel),
            string=fg(colors["success"], panel),
            number=fg(colors["warning"], panel),
            function=fg(colors["secondary"], panel),
            comment=fg(text, panel, 0.5, italic=True),
            queued=fg(text, part=0.55),
            queued_mark=fg(text, part=0.4, italic=True),
            chip=fg(colors["secondary"], panel) + bg(panel),
            mark=fg(colors["primary"]),
            found=Style(underline=True) if reverses else bg(back.blend(colors["warning"], 0.3)),
            found_current=Style(reverse=True, bold=True) if reverses else bg(back.blend(colors["warning"], 0.6)),
            error=fg(colors["error"]),
            warning=fg(colors["warning"]),
            selection=Style(reverse=True) if reverses else bg(back.blend(colors["primary"], 0.4)),
        )


_NAMES = ("background", "foreground", "surface", "panel", "primary", "secondary", "success", "warning", "error")


def _color(variables: Mapping[str, str], name: str) -> Color:
    return Color.parse(variables[name])
