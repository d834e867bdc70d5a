"""``localqwen worker``: lend this machine's devices to another one."""

from __future__ import annotations

import signal
import socket
import sys

import click

from localqwen.cli import printable
from localqwen.device_options import is_loopback, split_endpoint
from localqwen.errors import InvalidRequestError, LocalqwenError

LOUD = """\
WARNING: llama.cpp's RPC protocol has no password and no encryption, and known holes: whoever reaches this address can
run programs here. Let nobody but your own machines reach it: an SSH tunnel or WireGuard, never an open network."""


@click.command("worker")
@click.option("--listen", default="127.0.0.1:50052", show_default=True, metavar="HOST:PORT", help="Address to serve.")
@click.option(
    "--devices",
    metavar="NAME[:GIB],…",
    help="Devices to lend, and at most so much of each.  [default: the GPUs, or else the CPU]",
)
@click.option("--threads", type=click.IntRange(1, 512), metavar="N", help="CPU threads.  [default: all cores]")
@click.option("--i-know-it-is-insecure", "insecure", is_flag=True, help="Allow an address that others may reach.")
def command(listen: str, devices: str | None, threads: int | None, *, insecure: bool) -> None:
    """Lend this machine's devices to `localqwen … --rpc HOST:PORT` on another one, until Ctrl-C.

    Both need the same version of localqwen. From another machine, with this one's worker on its loopback address:
    ssh -L 50052:127.0.0.1:50052 THIS_MACHINE
    """
    try:
        host, port = split_endpoint(listen)
    except InvalidRequestError as error:
        raise click.UsageError(str(error)) from None
    from localqwen.cli.engine_options import device_limits
    from localqwen.engine import lending, registry
    from localqwen.engine.devices import physical_cores

    if not is_loopback(host) and not insecure:
        raise click.UsageError(
            f"--listen {listen} lets other machines in, and the protocol has no password: listen on 127.0.0.1 and use "
            "an SSH tunnel, or add --i-know-it-is-insecure for a WireGuard address."
        )
    _check_free(host, port)
    try:
        lent = lending.chosen(registry.handles(), device_limits(devices) if devices else None)
    except (registry.DeviceError, InvalidRequestError) as error:
        raise click.UsageError(str(error)) from None
    for one in lent:
        lending.tell_truly(one)
    click.echo(LOUD, err=True)
    names = ", ".join(f"{one.handle.name} ({one.handle.memory()[0] / 2**30:.1f} GiB free)" for one in lent)
    click.echo(printable(f"Lending {names} on {listen}; Ctrl-C ends it."), err=True)
    sys.stderr.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # llama.cpp never comes back to Python to hear of it
    registry.serve_rpc(listen, threads or physical_cores(), [one.handle for one in lent])
    raise LocalqwenError(f"The worker could not listen on {listen}: choose another port.")


def _check_free(host: str, port: int) -> None:
    """llama.cpp would only print why it cannot listen."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise LocalqwenError(
            f"The worker cannot listen on {host}:{port} ({error.strerror or error}): choose another --listen."
        ) from error
