"""Every place where foreign text comes into the chat, and how many strings of a million go in there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from benchmarks.fuzz import around, composer, dialogs, transcript
from benchmarks.fuzz.app import Fuzz

Source: TypeAlias = tuple[str, Callable[[Fuzz, int], Awaitable[None]], int]

# What it is, how it is done, how many strings. First those of which a tall screen shows many at once.
TALL: tuple[Source, ...] = (
    ("answers as they come", transcript.streamed, 60_000),
    ("conversations from the file of chats", transcript.opened, 700_000),
    ("kept names of models and files, kept errors", transcript.labels, 60_000),
    ("titles in the list", around.titles, 100_000),
    ("drafts in the list", around.drafts_listed, 15_000),
    ("messages in the editor", dialogs.edits, 10_000),
)
SMALL: tuple[Source, ...] = (
    # Before commands are typed, which would be recalled first.
    ("earlier messages, with the arrow", composer.recalled, 3_000),
    ("errors that a server sends", transcript.failed, 300),
    ("messages that wait to be sent", transcript.queued, 2_000),
    (transcript.COPIES, transcript.copied, 5_000),
    ("the open title", around.title, 500),
    ("the model's name in the status line", around.model_names, 1_500),
    ("names of devices in the status line", around.devices, 1_500),
    ("reasons why there is no model", around.reasons, 1_500),
    ("the server's address", around.addresses, 500),
    ("notifications", around.toasts, 1_000),
    ("commands with an argument", around.commands, 300),
    ("pastes into the composer", composer.pastes, 20_000),
    ("pastes as the terminal sends them", composer.sent_pastes, 4_000),
    ("what an editor saves", composer.edited, 3_000),
    ("drafts and names of files beside them", composer.drafts, 8_000),
    ("names of files after an @", composer.completions, 1_500),
    ("names and text of attached files", composer.attached, 600),
    ("models to choose from", dialogs.picker, 4_000),
    ("models that another server offers", dialogs.remote, 3_000),
    ("the plan's devices and words", dialogs.plans, 3_000),
    ("what a search finds", dialogs.found, 6_000),
    ("finding in a conversation", dialogs.finds, 1_000),
    ("fields of one line", dialogs.one_lines, 1_000),
    ("system prompts", dialogs.prompts, 4_000),
    ("names of presets", dialogs.presets, 1_000),
    ("settings", dialogs.settings, 300),
)
SOURCES = {"tall": TALL, "small": SMALL, "all": TALL + SMALL}
