"""``localqwen chat``: the terminal app."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from localqwen.cli.model_options import model_options
from localqwen.errors import ModelNotFoundError
from localqwen.serve_options import ServeOptions

if TYPE_CHECKING:
    from tui.backend import Connection


@click.command("chat")
@click.argument("model", required=False)
@click.option("--endpoint", metavar="URL", help="Talk to this OpenAI-compatible server instead of a model here.")
@click.option("--api-key", metavar="KEY", envvar="LOCALQWEN_API_KEY", help="Key for --endpoint.")
@model_options
def command(
    model: str | None = None,
    endpoint: str | None = None,
    api_key: str | None = None,
    options: ServeOptions | None = None,
) -> None:
    """Chat in the terminal.

    MODEL is a path, an installed file's name or a catalogue name; without it, what is installed. With --endpoint it is
    the name of the server's model.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("The chat needs a terminal; use `localqwen run MODEL PROMPT` in pipes and scripts.")
    if api_key is not None and endpoint is None:
        raise click.UsageError("--api-key is for --endpoint; a model on this machine needs none.")
    if endpoint is not None and options is not None and options.given:
        named = " and ".join(f"--{name.replace('_', '-')}" for name in options.given)
        raise click.UsageError(f"{named} is for a model on this machine, not for --endpoint.")
    # Textual waits this long (ms) after Esc for the rest of a key sequence; stopping an answer should not.
    os.environ.setdefault("ESCDELAY", "25")

    from localqwen import paths
    from localqwen.chats.store import Store

    connection = _remote(endpoint, api_key, model) if endpoint else _local(model, options)
    store = Store(paths.chats_path())
    try:
        from tui.app import ChatApp

        app = ChatApp(store, connection)
        app.run()
    finally:
        store.close()
    if app.return_code:
        raise SystemExit(app.return_code)


def _remote(url: str, api_key: str | None, model: str | None) -> Connection:
    from localqwen.client import Client, Endpoint
    from tui.backend import RemoteServer

    endpoint = Endpoint(url, api_key=api_key)
    Client(endpoint)  # a malformed address is better refused here than shown inside the app
    return RemoteServer(endpoint, model)


def _local(model: str | None, options: ServeOptions | None) -> Connection:
    from localqwen import library
    from tui.backend import LocalServer

    name = model or library.default_model()
    if name is None:
        raise ModelNotFoundError("There is no model on this machine yet: `localqwen demo` makes a small one.")
    path = library.resolve(name)
    return LocalServer(path, path.stem if os.sep in name else name, options)
