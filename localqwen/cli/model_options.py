"""The options that say how a model is served: the same for every command that loads one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from localqwen import device_options
from localqwen.errors import InvalidRequestError
from localqwen.plan import KV_TYPES, SPLIT_MODES
from localqwen.serve_options import AUTO_DRAFT, WHOLE_WINDOW, ServeOptions

RPC_OPTION = click.option(
    "--rpc",
    metavar="HOST:PORT,…",
    callback=lambda _context, _option, value: _checked_servers(value),
    help="Other machines that run `localqwen worker`.",
)
_OPTIONS = (
    click.option(
        "--ctx",
        "--max-model-len",
        "ctx",
        metavar="N|max",
        callback=lambda _context, _option, value: _checked_context(value),
        help="Context in tokens.  [default: what fits]",
    ),
    click.option("--threads", type=click.IntRange(1, 512), metavar="N", help="CPU threads.  [default: all cores]"),
    click.option(
        "--gpu-layers", type=click.IntRange(min=0), metavar="N", help="Layers on GPUs.  [default: all, if any]"
    ),
    click.option(
        "--kv-type", type=click.Choice(KV_TYPES), help="What the KV cache is stored as.  [default: f16, q8_0 if tight]"
    ),
    click.option(
        "--ubatch", type=click.IntRange(16, 8192), metavar="N", help="Prompt tokens at once.  [default: planned]"
    ),
    click.option(
        "--tensor-split",
        metavar="A,B,…",
        callback=lambda _context, _option, value: _checked(value, device_options.split),
        help="Each device's part of the layers.  [default: planned]",
    ),
    click.option(
        "--split-mode",
        type=click.Choice(SPLIT_MODES),
        help="Whole layers on each card, or a part of every tensor.  [default: planned]",
    ),
    click.option(
        "--devices",
        metavar="NAME[:GIB],…",
        callback=lambda _context, _option, value: _checked(value, device_options.limits),
        help="Only these devices, and at most so much of each; `none` for the CPU alone.  [default: all]",
    ),
    RPC_OPTION,
    click.option(
        "--yarn",
        metavar="auto|off|FACTOR",
        help="How far positions are stretched beyond the trained window.  [default: as far as a text needs]",
    ),
    click.option(
        "--speculation/--no-speculation",
        default=None,
        help="Guess tokens from the conversation, where that makes answers faster.  [default: yes]",
    ),
    click.option(
        "--draft",
        metavar="MODEL|auto",
        help="A smaller model of the same family that guesses instead; auto takes the one that the catalogue names, if "
        "it is installed and worth its memory.",
    ),
    click.option(
        "--disk-cache",
        type=click.FloatRange(min=0),
        metavar="GB",
        help="Disk space for conversations that memory has no room for; 0 for none.  [default: 16, if there is room]",
    ),
)

_PASSED_ON = (
    *("gpu_layers", "speculation", "disk_cache", "kv_type", "ubatch"),
    *("tensor_split", "split_mode", "devices", "rpc"),
)
LEAST_CONTEXT = 64


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which gets them as its argument ``options``."""

    @functools.wraps(command)
    def with_options(
        *args: Any, yarn: str | None, draft: str | None, ctx: int | None, threads: int | None, **others: Any
    ) -> Any:
        if draft is not None and others["speculation"] is False:
            raise click.UsageError("--draft guesses tokens, and --no-speculation forbids it: leave one of them out.")
        own = {name: others.pop(name) for name in _PASSED_ON}
        options = ServeOptions(ctx=ctx, threads=threads, yarn=_checked_yarn(yarn), draft=_resolved(draft), **own)
        return command(*args, options=options, **others)

    for option in reversed(_OPTIONS):
        with_options = option(with_options)
    return with_options


def _checked_context(text: str | None) -> int | None:
    if text is None:
        return None
    if text == WHOLE_WINDOW:
        return 0
    if text.isascii() and text.isdigit() and int(text) >= LEAST_CONTEXT:
        return int(text)
    raise click.BadParameter(f"{text} is no context: give {LEAST_CONTEXT} or more tokens, or max.")


def _checked(text: str | None, read: Callable[[str], object]) -> str | None:
    """The text itself, once it can be read: another process reads it again."""
    if text is not None:
        try:
            read(text)
        except InvalidRequestError as error:
            raise click.BadParameter(str(error)) from None
    return text


def _checked_servers(text: str | None) -> str | None:
    for endpoint in device_options.endpoints(text):
        _checked(endpoint, device_options.split_endpoint)
        if (words := device_options.warning(endpoint)) is not None:
            click.echo(words, err=True)
    return text


def _checked_yarn(text: str | None) -> str | None:
    if text is not None:
        from localqwen.engine.rope import parse_mode

        parse_mode(text)
    return text


def _resolved(draft: str | None) -> str | None:
    """The file of a draft model: the server, which loads it, may run elsewhere."""
    if draft is None or draft == AUTO_DRAFT:
        return draft
    from localqwen import library

    return str(library.resolve(draft).resolve())
