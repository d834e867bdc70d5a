"""Runs a model with llama.cpp; knows nothing of HTTP or of screens.

Only :mod:`localqwen.server` imports this package, and only in the server process: llama.cpp may end the process that
uses it, and takes memory that is freed for certain only when the process ends.
"""

from __future__ import annotations
