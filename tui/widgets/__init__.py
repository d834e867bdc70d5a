"""One widget per file."""

from __future__ import annotations
