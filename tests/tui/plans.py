"""A plan to show."""

from __future__ import annotations

from localqwen.plan import Plan, Share

CARD = Share("CUDA0", "A card", "gpu", 0, 24, True, 3 << 30, 1 << 30, 1 << 28, 1 << 26, 8 << 30)
HOST = Share("CPU", "A processor", "cpu", 0, 0, False, 1 << 27, 0, 1 << 20, 1 << 28, 16 << 30)
SMALL_PLAN = Plan("m.gguf", 24, 32768, "f16", 512, "layer", 4, (CARD, HOST), 900.0, 45.6, exact=True, why=("All.",))
