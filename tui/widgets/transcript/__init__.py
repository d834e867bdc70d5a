"""The transcript: a line-API view over lines that are rendered once.

Stock Markdown widgets cost about 41 widgets per answer and re-mount the open list at each flush, so their cost grows
with the square of the answer and with the length of the chat. Here a message is a list of cached strips, only the
open block of the open answer is rendered again, and only what is in view is painted.
"""

from __future__ import annotations
