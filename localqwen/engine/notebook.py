"""What the planner remembers between runs: speeds, plans, and what loading taught. Never needed for correctness."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

LOCK_SECONDS = 2.0
MOST_ENTRIES = 200  # of a section; the oldest are dropped

log = logging.getLogger(__name__)


class Notebook:
    """A JSON file of sections, each a mapping of texts to plain values; several processes may write to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: tuple[tuple[int, int, int], dict[str, dict[str, Any]]] | None = None

    def get(self, section: str, key: str) -> Any:
        """What was noted, or ``None``."""
        return self._current().get(section, {}).get(key)

    def section(self, section: str) -> dict[str, Any]:
        """All that was noted in a section, oldest first."""
        return dict(self._current().get(section, {}))

    def put(self, section: str, key: str, value: Any) -> None:
        """Note something."""

        def change(entries: dict[str, Any]) -> None:
            entries.pop(key, None)
            entries[key] = value

        self._change(section, change)

    def remove(self, section: str, key: str) -> None:
        """Forget it."""
        self._change(section, lambda entries: entries.pop(key, None))

    def _change(self, section: str, change: Callable[[dict[str, Any]], object]) -> None:
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self._path}.lock", timeout=LOCK_SECONDS):
                data = self._read()
                entries = data.setdefault(section, {})
                change(entries)
                for oldest in list(entries)[:-MOST_ENTRIES]:
                    del entries[oldest]
                part.write_text(json.dumps(data))
                part.replace(self._path)
                self._known = None
        except (OSError, Timeout) as error:
            part.unlink(missing_ok=True)
            log.warning("What the planner learned could not be kept: %s", error)

    def _current(self) -> dict[str, dict[str, Any]]:
        """What the file holds, read again only after a change: every one makes a new file."""
        try:
            stat = self._path.stat()
        except OSError:
            return {}
        mark = stat.st_ino, stat.st_mtime_ns, stat.st_size
        if self._known is None or self._known[0] != mark:
            self._known = mark, self._read()
        return self._known[1]

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            data = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(data, dict):
            return {}
        return {name: entries for name, entries in data.items() if isinstance(entries, dict)}
