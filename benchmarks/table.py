"""Tables of runs side by side, with the worst of them, which is what is quoted elsewhere."""

from __future__ import annotations

from collections.abc import Sequence


class Table:
    """Prints row by row."""

    def __init__(self, runs: int, compared: str = "stock Textual") -> None:
        """So many runs; ``compared`` names the last column."""
        columns = ["figure", "goal", *(f"run {number + 1}" for number in range(runs)), "worst", compared]
        print(f"| {' | '.join(columns)} |")
        print("| --- | --- |" + " ---: |" * (runs + 1) + " --- |")

    def row(
        self,
        figure: str,
        goal: str,
        values: Sequence[float],
        form: str = "{:.1f} ms",
        compared: str = "",
    ) -> None:
        """A figure of each run, of which the highest is the worst."""
        cells = [form.format(value) for value in (*values, max(values))]
        print(f"| {figure} | {goal} | {' | '.join(cells)} | {compared} |")
