"""Presets: a system prompt and sampling parameters under a name."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from localqwen.chats.database import ChatStoreError, Database
from localqwen.chats.rows import params_json, params_of, storable
from localqwen.params import SamplingParams


@dataclass(frozen=True, slots=True)
class Preset:
    """A way to begin conversations; in ``params``, what is ``None`` is the model's default."""

    id: int
    name: str
    system: str = ""
    params: SamplingParams = field(default_factory=SamplingParams)


class PresetRows(Database):
    """The table ``preset``."""

    def presets(self) -> list[Preset]:
        """All presets by name."""
        with self._reading() as db:
            rows = db.execute("SELECT id, name, system, params FROM preset ORDER BY name COLLATE NOCASE, id")
            return [Preset(id_, name, system, params_of(params)) for id_, name, system, params in rows]

    def add_preset(self, name: str, system: str, params: SamplingParams) -> Preset:
        """Keep a new preset.

        Raises:
            ChatStoreError: The name is empty or taken.
        """
        name = _checked(name)
        with self._writing() as db, _taken(name):
            cursor = db.execute(
                "INSERT INTO preset (name, system, params) VALUES (?, ?, ?)",
                (name, storable(system), params_json(params)),
            )
        assert cursor.lastrowid is not None
        return Preset(cursor.lastrowid, name, storable(system), params)

    def change_preset(self, preset: Preset) -> None:
        """Keep the preset with this id as it is now.

        Raises:
            ChatStoreError: The name is empty or taken, or the preset is gone.
        """
        name = _checked(preset.name)
        with self._writing() as db, _taken(name):
            cursor = db.execute(
                "UPDATE preset SET name = ?, system = ?, params = ? WHERE id = ?",
                (name, storable(preset.system), params_json(preset.params), preset.id),
            )
            if not cursor.rowcount:
                raise ChatStoreError(f"the preset {name!r} is gone; save it as a new one")

    def remove_preset(self, preset_id: int) -> None:
        """Forget a preset; conversations that began with it keep what it gave them."""
        with self._writing() as db:
            db.execute("DELETE FROM preset WHERE id = ?", (preset_id,))


def _checked(name: str) -> str:
    name = storable(" ".join(name.split()))
    if not name:
        raise ChatStoreError("a preset needs a name; type one")
    return name


@contextmanager
def _taken(name: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise ChatStoreError(f"there is a preset {name!r} already; choose another name") from None
