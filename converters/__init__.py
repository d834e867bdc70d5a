"""safetensors in, GGUF out: a Hugging Face checkpoint of the Qwen2 family becomes a quantized GGUF in one pass.

This package knows nothing of ``localqwen`` and ``tui``.
"""

from __future__ import annotations
