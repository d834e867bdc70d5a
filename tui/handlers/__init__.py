"""What commands do, by topic. Each class maps the ids of its commands to methods that take the argument."""

from __future__ import annotations
