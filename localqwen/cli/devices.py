"""``localqwen devices``: what models can run on."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from localqwen.cli import printable
from localqwen.cli.model_options import RPC_OPTION
from localqwen.device_options import endpoints

if TYPE_CHECKING:
    from localqwen.engine.machine import Device


@click.command("devices")
@RPC_OPTION
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(rpc: str | None, *, as_json: bool) -> None:
    """List the GPUs and the CPU that the installed llama.cpp can use, with memory and measured speed.

    A device is measured once, in about a second, and again after an update of llama.cpp or of its driver.
    """
    from localqwen import paths
    from localqwen.engine import registry
    from localqwen.engine.inventory import take_inventory
    from localqwen.engine.notebook import Notebook

    registry.add_rpc_servers(endpoints(rpc))
    inventory = take_inventory(Notebook(paths.planner_path()))
    found = (*inventory.devices, inventory.cpu)
    if as_json:
        click.echo(json.dumps([asdict(device) for device in found], indent=2))
        return
    width = max(len(device.name) for device in found)
    for device in found:
        click.echo(printable(f"{device.name:<{width}}  {_line(device)}"))


def _line(device: Device) -> str:
    speed = device.speed
    return (
        f"{device.description} ({device.backend}): {device.free / 2**30:.1f} of {device.total / 2**30:.1f} GiB free, "
        f"reads weights at {speed.read / 1e9:,.1f} GB/s, takes uploads at {speed.upload / 1e9:,.1f} GB/s"
    )
