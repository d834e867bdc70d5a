"""localqwen runs Qwen2 models on a person's own machine, offline.

Importing this package loads nothing heavy: llama.cpp, numpy and Textual are imported by the modules that need them.
"""

from __future__ import annotations

__version__ = "0.1.0"
