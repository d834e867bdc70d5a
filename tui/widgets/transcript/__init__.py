"""The transcript: a line-API view over lines that are laid out once.

Stock Markdown widgets cost about 41 widgets per answer and re-mount the open list at each flush, so their cost grows
with the square of the answer and with the length of the chat. Here a message is a list of lines; what is settled of the
open block is never parsed or laid out again, colours come later, and only what is in view and has changed is painted.

From text to screen: ``stream`` (with ``open_block`` and ``inline_parser``) parses what arrives; ``growing`` and
``render`` (with ``flow``, ``inline``, ``table`` and ``code``) lay it out as values of ``line``; entries (``base``,
``entry``, ``answer``) own their lines; ``document`` (with ``extent``) stacks entries; ``line_view`` paints, follows and
measures (with ``paint`` and ``pacing``); ``view`` adds the reader: ``cursor``, ``selecting``, ``find`` and ``keys``.
"""

from __future__ import annotations
