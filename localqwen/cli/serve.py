"""``localqwen serve``: answer OpenAI's API."""

from __future__ import annotations

import errno
import faulthandler
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from localqwen.cli import printable
from localqwen.cli.model_options import model_options
from localqwen.endpoint import checked_key
from localqwen.errors import LocalqwenError

if TYPE_CHECKING:
    from localqwen.engine.engine import Engine, State
    from localqwen.serve_options import ServeOptions


@click.command("serve")
@click.argument("model")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others want an --api-key.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--served-model-name",
    "names",
    metavar="NAME",
    multiple=True,
    help="Name of the model in the API; may be given several times.  [default: as given here]",
)
@model_options
@click.option("--api-key", metavar="KEY", envvar="LOCALQWEN_API_KEY", help="Answer only requests that carry this key.")
@click.option(
    "--allowed-origins",
    "origins",
    metavar="ORIGIN",
    multiple=True,
    callback=lambda _context, _option, values: tuple(map(_checked_origin, values)),
    help="Web pages whose scripts may ask, as https://HOST, or * for all; may be given several times.",
)
@click.option("--uds", type=click.Path(path_type=Path), hidden=True)
@click.option("--private", is_flag=True, hidden=True)
def command(  # noqa: PLR0913, PLR0917 - an option each
    model: str,
    host: str,
    port: int,
    names: tuple[str, ...],
    options: ServeOptions,
    api_key: str | None,
    origins: tuple[str, ...],
    uds: Path | None,
    private: bool,
) -> None:
    """Answer OpenAI's API with MODEL until Ctrl-C; its documentation is then under /docs.

    What is not given is planned: see `localqwen plan MODEL`. Without --ctx, the context is the model's trained window
    up to 32768 tokens, and less where that would make answers more than a tenth slower, or not fit.
    """
    from localqwen.device_options import is_loopback

    if private:
        api_key = None  # the key of the environment is meant for a server that others reach
    elif api_key is not None:
        checked_key(api_key)
    if private and not uds:
        raise click.UsageError("--private needs --uds.")
    loopback = is_loopback(host)
    if not uds and not loopback and not api_key:
        raise click.UsageError(f"--host {host} lets other machines in: set an --api-key too.")
    if private:
        # A key in the chat must not wait until the engine has used up its time on every core.
        from localqwen.serve_options import PRIVATE_NICENESS

        os.nice(PRIVATE_NICENESS)
    _configure_logging(private)
    with _unix_socket(uds) if uds else _tcp_socket(host, port) as listener:
        from localqwen import library
        from localqwen.cli.engine_options import engine_options
        from localqwen.engine.engine import Engine
        from localqwen.engine.model import check_header
        from localqwen.server.app import Access
        from localqwen.server.process import serve

        path = library.resolve(model, notify=lambda line: click.echo(printable(line), err=True))
        check_header(path)
        names = names or (library.served_name(model),)
        engine = Engine(path, engine_options(options, path), names[0])
        if not uds:
            _announce(engine, listener, api_key)
        check_host = loopback and not uds and not api_key
        serve(engine, listener, Access(api_key, check_host, origins), names, private=private)


def _checked_origin(origin: str) -> str:
    """Browsers send scheme, host and port, and nothing else would ever match."""
    parts = urlsplit(origin)
    if origin != "*" and (not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}".lower()):
        raise click.BadParameter(f"{origin} is no origin: write it as https://HOST, without a path.")
    return origin


def _configure_logging(private: bool) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if private:
        faulthandler.enable()  # the log is all that is left of a process that crashes
    else:
        logging.getLogger("localqwen.llama").setLevel(logging.CRITICAL)  # errors are put into words anyway


@contextmanager
def _tcp_socket(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise LocalqwenError(f"{host} is no address of this machine: leave --host out, or give 127.0.0.1.") from error
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen()  # now, so that a second server on the port fails before it loads a model
        except OSError as error:
            raise LocalqwenError(_bind_failure(host, port, error)) from error
        yield listener


def _bind_failure(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is in use: stop the program that uses it, or choose another with --port."
    if error.errno == errno.EACCES:
        return f"Port {port} needs more rights than you have: choose one above 1023 with --port."
    return f"{host} is no address of this machine ({error.strerror}): leave --host out, or give 127.0.0.1."


@contextmanager
def _unix_socket(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        previous = os.umask(0o177)  # whoever can open the socket can use the model
        try:
            listener.bind(str(path))
            listener.listen()
        except OSError as error:
            reason = "a server listens there" if error.errno == errno.EADDRINUSE else error.strerror
            raise LocalqwenError(f"{path} cannot be a socket: {reason}.") from error
        finally:
            os.umask(previous)
        inode = path.stat().st_ino
        try:
            yield listener
        finally:
            with suppress(OSError):
                if path.stat().st_ino == inode:  # another server may have taken the place over
                    path.unlink()


def _announce(engine: Engine, listener: socket.socket, api_key: str | None) -> None:
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
    body = json.dumps({"model": engine.name, "messages": [{"role": "user", "content": "Hello!"}]})
    key = " -H 'Authorization: Bearer KEY'" if api_key else ""
    click.echo(f"Serving {printable(engine.name)} at {url} (Ctrl-C stops it). Try:")
    click.echo(f"  curl {url}/chat/completions{key} -H 'Content-Type: application/json' -d '{_shell_quoted(body)}'")
    sys.stdout.flush()
    engine.subscribe(_show_state)


def _shell_quoted(text: str) -> str:
    return text.replace("'", "'\\''")


def _show_state(state: State) -> None:
    from localqwen.events import Loading, Ready

    terminal = sys.stderr.isatty()
    if isinstance(state, Loading) and terminal:
        click.echo(f"\rLoading {state.progress:4.0%}", nl=False, err=True)
    elif isinstance(state, Ready):
        click.echo(f"{chr(13) if terminal else ''}Ready, with a context of {state.context} tokens.", err=True)
