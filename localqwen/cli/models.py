"""``localqwen models``: what is installed, and what can be had."""

from __future__ import annotations

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from localqwen import catalog, library, paths
from localqwen.cli import printable


@click.command()
def command() -> None:
    """List what is installed and what can be had.

    Any name in the first column will do wherever a MODEL is asked for, once it is installed.
    """
    # A pipe gets whole rows: cut to 80 columns they would be of no use to a script.
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    console.print(installed_table(library.installed_models()))
    console.print()
    console.print(catalogue_table())


def installed_table(models: list[library.InstalledModel]) -> Table | Text:
    """The models directory."""
    folder = printable(str(paths.models_dir()))
    if not models:
        return Text(f"Nothing is installed in {folder} yet; `localqwen demo` makes a small model to try.")
    table = _table(f"Installed in {folder}", "Name", "Size", "Release")
    for model in models:
        table.add_row(
            Text(printable(model.name)), f"{model.size / 1e9:.2f} GB", model.card.title if model.card else "–"
        )
    return table


def catalogue_table() -> Table:
    """The cards: parameters, the download's size, the window with and without YaRN, the licence."""
    table = _table("Catalogue", "Name", "Parameters", "bf16", "Window", "Licence", "Repository or licence text")
    for card in catalog.cards().values():
        window = f"{card.window.native // 1024}k"
        if card.window.yarn:
            window += f", {card.window.yarn // 1024}k with YaRN"
        table.add_row(
            card.name,
            f"{card.shape.parameters / 1e9:.2f} B",
            f"{card.shape.parameters * 2 / 1e9:.1f} GB",
            window,
            card.licence.id,
            card.repository if card.licence.id == "apache-2.0" else card.licence.link,
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        right = column in {"Size", "Parameters", "bf16"}
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    return table
