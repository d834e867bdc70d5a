"""Downloads from a mock hub on this machine, through the real huggingface_hub."""

from __future__ import annotations
