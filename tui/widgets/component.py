"""The style of a part of a widget."""

from __future__ import annotations

from textual.style import Style
from textual.widget import Widget


def component_style(widget: Widget, name: str) -> Style:
    """As ``Widget.get_visual_style(name)``, which forgets ``text-style: reverse`` in Textual 8.2.8.

    Where there are no colours, it is the only thing that says which row is chosen.
    """
    style = widget.get_visual_style(name)
    return style + Style(reverse=True) if widget.get_component_styles(name).text_style.reverse else style
