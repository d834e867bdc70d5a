"""``localqwen chat``: the terminal app."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from localqwen.cli import printable
from localqwen.cli.model_options import model_options
from localqwen.errors import ModelNotFoundError
from localqwen.serve_options import ServeOptions

if TYPE_CHECKING:
    from localqwen.chats.store import Store
    from localqwen.settings import Settings
    from tui.connections import Connection

PORT = 8666


@click.command("chat")
@click.argument("model", required=False)
@click.option("--endpoint", metavar="URL", help="Talk to this OpenAI-compatible server instead of a model here.")
@click.option("--api-key", metavar="KEY", envvar="LOCALQWEN_API_KEY", help="Key for --endpoint.")
@click.option("--plain", is_flag=True, help="Lines of text instead of a full screen: for screen readers.")
@click.option("--temporary", is_flag=True, help="Keep nothing of what is said.")
@click.option("--web", is_flag=True, help="Open the chat to this machine's browsers.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", help=f"Port for --web.  [default: {PORT}]")
@model_options
def command(  # noqa: PLR0917 - an option each
    model: str | None = None,
    endpoint: str | None = None,
    api_key: str | None = None,
    plain: bool = False,
    temporary: bool = False,
    web: bool = False,
    port: int | None = None,
    options: ServeOptions | None = None,
) -> None:
    """Chat in the terminal.

    MODEL is a path, an installed file's name or a catalogue name; without it, what is installed. With --endpoint it is
    the name of the server's model. A terminal that cannot do more (TERM=dumb) gets --plain.
    """
    source = click.get_current_context().get_parameter_source("api_key")
    if source == ParameterSource.COMMANDLINE and endpoint is None:
        raise click.UsageError("--api-key is for --endpoint; a model on this machine needs none.")
    if endpoint is not None and options is not None and options.given:
        named = " and ".join(f"--{name.replace('_', '-')}" for name in options.given)
        raise click.UsageError(f"{named} is for a model on this machine, not for --endpoint.")
    if port is not None and not web:
        raise click.UsageError("--port is for --web.")
    if web and plain:
        raise click.UsageError("--web shows the full screen: leave --plain out.")
    if temporary and endpoint is None:
        # Otherwise the server writes conversations that memory has no room for to the disk.
        options = replace(options or ServeOptions(), disk_cache=0.0)
    if web:
        _connection(model, endpoint, api_key, options)  # what is wrong with it is better said here
        _serve(_same_command(model, endpoint, options, temporary=temporary), api_key, port or PORT)
        return
    if not _is_terminal():
        raise click.UsageError("The chat needs a terminal; use `localqwen run MODEL PROMPT` in pipes and scripts.")
    # Until the first paint, which then takes a tenth less, nearly all that is made stays: there is nothing to collect.
    gc.disable()
    connection = _connection(model, endpoint, api_key, options)

    from localqwen import paths, settings

    chosen, complaints = settings.read(paths.settings_path())
    with _open_store(temporary=temporary) as store:
        if plain or (not _is_browser() and (chosen.plain or os.environ.get("TERM") in {"dumb", "unknown"})):
            _chat_in_lines(store, connection, chosen, complaints)
        else:
            _chat_on_a_screen(store, connection, chosen, complaints)


def _is_terminal() -> bool:
    """Whether a person sits there; a browser is as good as a terminal."""
    return (sys.stdin.isatty() and sys.stdout.isatty()) or _is_browser()


def _is_browser() -> bool:
    """Whether textual-serve has started this; what is said of the terminal, that it was started in, is not meant."""
    return "TEXTUAL_DRIVER" in os.environ


@contextmanager
def _open_store(*, temporary: bool) -> Iterator[Store]:
    from localqwen import paths
    from localqwen.chats.store import Store

    with closing(Store.temporary() if temporary else Store(paths.chats_path())) as store:
        yield store


def _chat_on_a_screen(store: Store, connection: Connection, chosen: Settings, complaints: Sequence[str]) -> None:
    # Textual waits this long (ms) after Esc for the rest of a key sequence; stopping an answer should not.
    os.environ.setdefault("ESCDELAY", "25")
    if not chosen.animations:
        os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")

    from localqwen import paths
    from tui.app import ChatApp

    app = ChatApp(
        store,
        connection,
        settings=chosen,
        settings_path=paths.settings_path(),
        complaints=complaints,
        log=paths.log_dir() / "chat.log",
    )
    app.run_sturdily()
    if app.return_code:
        raise SystemExit(app.return_code)


def _chat_in_lines(store: Store, connection: Connection, chosen: Settings, complaints: Sequence[str]) -> None:
    import asyncio

    from tui.plain import run_plain

    gc.enable()
    asyncio.run(run_plain(store, connection, chosen, tuple(map(printable, complaints))))


def _serve(arguments: Sequence[str], api_key: str | None, port: int) -> None:
    from tui.web import serve_chat

    if api_key is not None:
        os.environ["LOCALQWEN_API_KEY"] = api_key  # other users can read a command line, but not an environment
    serve_chat([sys.executable, "-P", "-m", "localqwen", "chat", *arguments], port, click.echo)


def _same_command(
    model: str | None, endpoint: str | None, options: ServeOptions | None, *, temporary: bool
) -> list[str]:
    """The arguments with which another process opens the same chat."""
    arguments = [*(options.arguments() if options is not None else ()), *(["--temporary"] if temporary else [])]
    if endpoint is not None:
        arguments += ["--endpoint", endpoint]
    return [*arguments, *(["--", model] if model is not None else [])]


def _connection(
    model: str | None, endpoint: str | None, api_key: str | None, options: ServeOptions | None
) -> Connection:
    return _remote(endpoint, api_key, model) if endpoint else _local(model, options)


def _remote(url: str, api_key: str | None, model: str | None) -> Connection:
    from localqwen.endpoint import Endpoint
    from tui.connections import RemoteServer

    endpoint = Endpoint(url, api_key=api_key)
    _ = endpoint.host, endpoint.authorization  # what is malformed is better refused here than shown inside the app
    return RemoteServer(endpoint, model)


def _local(model: str | None, options: ServeOptions | None) -> Connection:
    from localqwen import library
    from tui.connections import LocalServer

    name = model or library.default_model()
    if name is None:
        raise ModelNotFoundError("There is no model on this machine yet: `localqwen demo` makes a small one.")
    path = library.resolve(name)
    return LocalServer(path, path.stem if os.sep in name else name, options)
