"""Where the model list comes from: this machine's files and devices, or a server's list."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from localqwen import catalog, library
from localqwen.events import Planned
from localqwen.serve_options import AUTO_DRAFT, ServeOptions
from tui.connections import Connection, LocalServer, RemoteServer
from tui.model_list import Machine, ModelRow, rows

LOOK_SECONDS = 60.0  # the first look at a new device measures it


class ModelSource(Protocol):
    """Models to choose from, and the way to each."""

    async def listed(self) -> list[ModelRow]:
        """What there is, at once. Raises :class:`localqwen.errors.LocalqwenError`."""
        ...

    async def judged(self) -> list[ModelRow]:
        """The same with what fits here, which may take a second or two."""
        ...

    def connection(self, row: ModelRow) -> Connection:
        """The way to a model that can be opened."""
        ...


def source_for(connection: Connection, planned: Planned | None = None) -> ModelSource:
    """The models that can take the place of the one behind ``connection``, which is loaded as ``planned``."""
    if isinstance(connection, RemoteServer):
        return RemoteModels(connection)
    if isinstance(connection, LocalServer):
        opened = tuple(dict.fromkeys((connection.model, *connection.others)))
        return LocalModels(connection.options, _taken(planned), opened, connection)
    return LocalModels(None, _taken(planned))


def name_among_them(connection: Connection, model: str) -> str:
    """What a source calls the model behind ``connection``, which answers as ``model``; a file has several names."""
    return connection.model.stem if isinstance(connection, LocalServer) else model


class LocalModels:
    """The models directory, what else was opened, and the catalogue."""

    def __init__(
        self,
        options: ServeOptions | None = None,
        taken: Mapping[str, int] | None = None,
        opened: tuple[Path, ...] = (),
        server: LocalServer | None = None,
    ) -> None:
        """``options`` are for the next server; ``taken`` is what the present ``server`` gives back of each device.

        ``opened`` are files that a person can go back to, in the models directory or not.
        """
        self._server = server
        self._options = options
        self._opened = opened
        self._taken = dict(taken or {})

    async def listed(self) -> list[ModelRow]:
        """See :class:`ModelSource`."""
        return await asyncio.to_thread(self._rows, None)

    async def judged(self) -> list[ModelRow]:
        """See :class:`ModelSource`."""
        # Another process would take some hundred MB of each card to ask it, which may be planned to the last byte.
        devices = await self._server.devices() if self._server is not None else []
        machine = machine_of(devices) if devices else await look_at_machine(self._options)
        if machine is not None:
            machine = machine.with_back(self._taken)
            if self._options is not None and self._options.devices:
                machine = limited(machine, self._options.devices)
        return await asyncio.to_thread(self._rows, machine)

    def connection(self, row: ModelRow) -> Connection:
        """See :class:`ModelSource`. A draft model that was pinned belongs to the model that it was pinned for."""
        assert row.path is not None
        options = self._options
        if options is not None and options.draft != AUTO_DRAFT:
            options = replace(options, draft=None)
        return LocalServer(row.path, row.name, options, self._opened)

    def _rows(self, machine: Machine | None) -> list[ModelRow]:
        installed = library.installed_models()
        known = {model.path.resolve() for model in installed}
        elsewhere = [path for path in self._opened if path.resolve() not in known and path.is_file()]
        installed += [library.InstalledModel(path, path.stat().st_size, library.card_of(path)) for path in elsewhere]
        return rows(installed, catalog.cards().values(), machine)


class RemoteModels:
    """What a server offers."""

    def __init__(self, connection: RemoteServer) -> None:
        self._endpoint = connection.endpoint

    async def listed(self) -> list[ModelRow]:
        """See :class:`ModelSource`."""
        from localqwen.client import Client

        async with Client(self._endpoint) as client:
            return [
                ModelRow(model.name, window=model.window, longest=model.window, is_remote=True)
                for model in await client.offered()
            ]

    async def judged(self) -> list[ModelRow]:
        """Whether a model fits is the server's matter."""
        return await self.listed()

    def connection(self, row: ModelRow) -> Connection:
        """See :class:`ModelSource`."""
        return RemoteServer(self._endpoint, row.name)


async def look_at_machine(options: ServeOptions | None = None) -> Machine | None:
    """The memory that is free now, as `localqwen devices` tells it in a process of its own; ``None`` if it cannot."""
    command = [sys.executable, "-P", "-m", "localqwen", "devices", "--json"]
    if options is not None and options.rpc:
        command += ["--rpc", options.rpc]
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdin=nothing, stdout=pipe, stderr=nothing)
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            output, _ = await process.communicate()
        return read_machine(output)
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def read_machine(output: bytes) -> Machine | None:
    """What `localqwen devices --json` has printed. Pure."""
    try:
        return machine_of(json.loads(output))
    except ValueError:
        return None


def machine_of(found: object) -> Machine | None:
    """The memory of devices that are described as `localqwen devices --json` does. Pure."""
    try:
        devices = [(str(one["name"]), str(one["kind"]), int(one["free"])) for one in found]  # type: ignore[attr-defined]
    except (ValueError, LookupError, TypeError):
        return None
    cards = tuple((name, free) for name, kind, free in devices if kind != "cpu")
    return Machine(sum(free for _, kind, free in devices if kind == "cpu"), cards)


def limited(machine: Machine, devices: str) -> Machine:
    """What ``--devices`` leaves of a machine, such as ``CUDA0:20,CPU:8`` or ``none``. Pure."""
    most: dict[str, float] = {}
    for part in devices.lower().split(","):
        name, _, gib = part.strip().partition(":")
        try:
            most[name] = float(gib) * 2**30 if gib else float("inf")
        except ValueError:  # the next server will refuse it
            return machine
    cards = tuple((name, int(min(free, most[name.lower()]))) for name, free in machine.cards if name.lower() in most)
    return Machine(int(min(machine.ram, most.get("cpu", float("inf")))), cards)


def _taken(planned: Planned | None) -> dict[str, int]:
    if planned is None:
        return {}
    real = dict(planned.taken)
    # Weights in RAM are mapped from the file: what is free there counts them as free already. (Those that llama.cpp has
    # repacked for the CPU are not, but nobody tells how many; a model that fits is better called too large than not.)
    return {
        share.device: share.kv + share.compute if share.kind == "cpu" else real.get(share.device, share.used)
        for share in planned.plan.shares
    }
