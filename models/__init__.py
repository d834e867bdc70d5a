"""The catalogue: one TOML card per release. ``localqwen.catalog`` reads them."""

from __future__ import annotations
