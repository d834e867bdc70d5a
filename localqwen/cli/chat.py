"""``localqwen chat``: the terminal app."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from localqwen.errors import ModelNotFoundError

if TYPE_CHECKING:
    from tui.backend import Connection


@click.command("chat")
@click.argument("model", required=False)
@click.option("--endpoint", metavar="URL", help="Talk to this OpenAI-compatible server instead of a model here.")
@click.option("--api-key", metavar="KEY", envvar="LOCALQWEN_API_KEY", help="Key for --endpoint.")
@click.option("--ctx", type=click.IntRange(min=1), metavar="N", help="Context window in tokens.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads.")
@click.option("--gpu-layers", type=click.IntRange(min=0), metavar="N", help="Layers to put on the GPU.")
def command(
    model: str | None = None,
    endpoint: str | None = None,
    api_key: str | None = None,
    ctx: int | None = None,
    threads: int | None = None,
    gpu_layers: int | None = None,
) -> None:
    """Chat in the terminal.

    MODEL is a path, an installed file's name or a catalogue name; without it, what is installed. With --endpoint it is
    the name of the server's model.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("The chat needs a terminal; use `localqwen run MODEL PROMPT` in pipes and scripts.")
    if api_key is not None and endpoint is None:
        raise click.UsageError("--api-key is for --endpoint; a model on this machine needs none.")
    if endpoint is not None and any(value is not None for value in (ctx, threads, gpu_layers)):
        raise click.UsageError("--ctx, --threads and --gpu-layers are for a model on this machine, not for --endpoint.")
    # Textual waits this long (ms) after Esc for the rest of a key sequence; stopping an answer should not.
    os.environ.setdefault("ESCDELAY", "25")

    from localqwen import paths
    from localqwen.chats.store import Store

    connection = _remote(endpoint, api_key, model) if endpoint else _local(model, ctx, threads, gpu_layers)
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


def _local(model: str | None, ctx: int | None, threads: int | None, gpu_layers: int | None) -> Connection:
    from localqwen import library
    from tui.backend import LocalServer

    name = model or library.default_model()
    if name is None:
        raise ModelNotFoundError("There is no model on this machine yet: `localqwen demo` makes a small one.")
    path = library.resolve(name)
    return LocalServer(path, path.stem if os.sep in name else name, ctx=ctx, threads=threads, gpu_layers=gpu_layers)
