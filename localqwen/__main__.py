"""``python -m localqwen`` is ``localqwen``."""

from __future__ import annotations

from localqwen.cli import main

main()
