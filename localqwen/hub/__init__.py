"""The Hugging Face hub: what a repository holds, its files by byte ranges, and models converted while they download.

Nothing here runs unless a person asks for a download; ``HF_ENDPOINT``, ``HF_TOKEN`` and ``HF_HUB_OFFLINE`` mean what
they mean to huggingface_hub, whose session and headers are used.
"""

from __future__ import annotations
