"""``localqwen run``: one answer on standard output."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from localqwen.cli import printable
from localqwen.cli.model_options import model_options
from localqwen.errors import ServerError, ServerGoneError
from localqwen.params import ChatMessage, SamplingParams
from localqwen.sanitize import stripped

if TYPE_CHECKING:
    from localqwen.client import Client
    from localqwen.serve_options import ServeOptions
    from localqwen.supervisor import Supervisor

STDIN = "-"
PIPE_CLOSED = 141  # as a program that SIGPIPE ended


@click.command("run")
@click.argument("model")
@click.argument("prompt", nargs=-1)
@click.option("--system", metavar="TEXT", help="What the model should know or be, before the prompt.")
@click.option("--temperature", type=click.FloatRange(0, 2), metavar="T", help="0 always takes the likeliest token.")
@click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="Stop after so many tokens.")
@click.option("--seed", type=int, metavar="N", help="Same seed, same answer.")
@model_options
def command(  # noqa: PLR0917 - an option each
    model: str,
    prompt: tuple[str, ...],
    system: str | None,
    temperature: float | None,
    max_tokens: int | None,
    seed: int | None,
    options: ServeOptions,
) -> int:
    """Ask MODEL one thing and print its answer as it comes.

    A PROMPT of - is standard input, which is also read when there is no PROMPT and it is not a terminal; several
    PROMPTs become paragraphs: cat notes.txt | localqwen run demo "Summarize this:" -

    A model that a chat or another run has loaded is used as it is. The exit code is 0 for an answer, 1 for a failure,
    2 for wrong usage, 130 after Ctrl-C and 141 when the reader of the output went away.
    """
    text = _prompt_text(prompt)
    messages: list[ChatMessage] = [{"role": "user", "content": text}]
    if system:
        messages.insert(0, {"role": "system", "content": system})

    from localqwen import library

    def notify(line: str) -> None:
        if sys.stderr.isatty():
            click.echo(printable(line), err=True)

    path = library.resolve(model, notify)
    from localqwen.supervisor import Supervisor

    params = SamplingParams(temperature=temperature, max_tokens=max_tokens, seed=seed)
    try:
        asyncio.run(_run(Supervisor(path, options), messages, params))
    except BrokenPipeError:
        # Python would complain when it flushes standard output at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    return 0


def _prompt_text(prompt: tuple[str, ...]) -> str:
    if not prompt and sys.stdin.isatty():
        raise click.UsageError("Give a PROMPT, or pipe one in.")
    parts = [_stdin_text() if part == STDIN else part for part in prompt or (STDIN,)]
    text = "\n\n".join(parts)
    if not text.strip():
        raise click.UsageError("The prompt is empty.")
    return text


def _stdin_text() -> str:
    return sys.stdin.buffer.read().decode("utf-8", "replace").rstrip("\n")


async def _run(supervisor: Supervisor, messages: list[ChatMessage], params: SamplingParams) -> None:
    from localqwen.client import Client

    endpoint = await supervisor.start()
    async with Client(endpoint) as client, aclosing(client.attach()) as states:
        # The attachment stays open while the answer comes: it is what keeps the server running.
        try:
            async for state in states:
                if _show(state):
                    break
        except ServerGoneError:
            raise ServerError(supervisor.failure()) from None
        await _print_answer(supervisor, client, messages, params)


def _show(state: object) -> bool:
    """Show the progress of loading if somebody watches; return whether the model is ready."""
    from localqwen.events import Loading, Ready

    if sys.stderr.isatty():
        line = f"Loading {state.progress:4.0%}" if isinstance(state, Loading) else ""
        click.echo(f"\r\x1b[K{line}", nl=False, err=True)
    return isinstance(state, Ready)


async def _print_answer(
    supervisor: Supervisor, client: Client, messages: list[ChatMessage], params: SamplingParams
) -> None:
    from localqwen.events import Delta, Finished

    wrote = "\n"
    async with aclosing(client.stream(messages, params)) as events:
        try:
            async for event in events:
                if isinstance(event, Delta):
                    _write(event.text)
                    wrote = event.text
                elif isinstance(event, Finished) and event.reason == "error":
                    running = await supervisor.is_running()
                    raise ServerError((event.error or "The answer failed.") if running else supervisor.failure())
        finally:
            if not wrote.endswith("\n"):
                _write("\n")


def _write(text: str) -> None:
    # A terminal gets what it can show and must not obey; a pipe gets everything.
    if sys.stdout.isatty():
        data = stripped(text).encode(sys.stdout.encoding or "utf-8", "replace")
    else:
        data = text.encode("utf-8", "replace")
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
