"""Pictures of the app beside those that were looked at and accepted."""

from __future__ import annotations

import difflib
import html
import re
from collections import defaultdict
from pathlib import Path

from pytest_textual_snapshot import SVGImageExtension  # type: ignore[import-untyped]
from syrupy.assertion import SnapshotAssertion

from tests.tui.person import Person
from tests.tui.pictures.camera import still

CELL = 12.2
_TEXT = re.compile(r'<text class="terminal-[\w-]+" x="([\d.]+)" y="[\d.]+"[^>]*line-(\d+)\)">([^<]*)</text>')


class Album:
    """Takes pictures; at the end, it tells of all that are others than before."""

    def __init__(self, snapshot: SnapshotAssertion, folder: Path) -> None:
        """What is other than before is put into ``folder``, to be looked at."""
        self._snapshot = snapshot.use_extension(SVGImageExtension)
        self._folder = folder
        self._changes: list[str] = []

    async def take(self, person: Person, name: str) -> None:
        """Wait until nothing moves, and compare the screen with the picture ``name``."""
        picture = await still(person)
        accepted = self._snapshot(name=name)
        if accepted != picture:
            place = self._folder / f"{name}.svg"
            place.write_text(picture, encoding="utf-8")
            self._changes.append(f"{name} looks otherwise: {place}\n{_difference(accepted, picture)}")

    def close(self) -> None:
        """Fail if a picture has changed."""
        assert not self._changes, (
            "\n\n".join(self._changes) + "\n\nWhere that is right: --snapshot-update, after looking at each picture."
        )


def text_of(svg: str) -> str:
    """The text of a picture, as lines. (Wide characters count as one cell: good enough to compare.)"""
    lines: dict[int, str] = defaultdict(str)
    for x, line, text in _TEXT.findall(svg):
        lines[int(line)] = lines[int(line)].ljust(round(float(x) / CELL)) + html.unescape(text)
    return "\n".join(lines[number].replace("\xa0", " ").rstrip() for number in range(max(lines, default=0) + 1))


def _difference(accepted: SnapshotAssertion, picture: str) -> str:
    *_, latest = accepted.executions.values()
    old = str(latest.final_data or "")
    changed = difflib.unified_diff(text_of(old).splitlines(), text_of(picture).splitlines(), "before", "now", "", "", 1)
    return "\n".join(changed) or "(only colours or styles)"
