"""A disk on which nothing fits any more."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """No answer's end fits on the disk; SQLite itself says so."""
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON message WHEN NEW.state <> 'streaming' "
            "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
        yield
        db.execute("DROP TRIGGER full")
