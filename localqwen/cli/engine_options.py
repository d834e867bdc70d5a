"""The options of the command line as the engine wants them. Imports the engine."""

from __future__ import annotations

from pathlib import Path

from localqwen import paths
from localqwen.engine.inventory import Limit
from localqwen.engine.options import EngineOptions
from localqwen.engine.registry import DeviceError, split_endpoint
from localqwen.engine.rope import parse_mode
from localqwen.engine.states import default_limit
from localqwen.errors import InvalidOptionError
from localqwen.plan import KV_TYPES, SPLIT_MODES
from localqwen.serve_options import ServeOptions


def engine_options(options: ServeOptions) -> EngineOptions:
    """The same as the engine's. Raises :class:`InvalidOptionError`."""
    disk_cache = options.disk_cache
    return EngineOptions(
        context=options.ctx,
        threads=options.threads,
        gpu_layers=options.gpu_layers,
        yarn=parse_mode(options.yarn or "auto"),
        speculation=options.speculation is not False,
        draft=Path(options.draft) if options.draft else None,
        disk_cache=default_limit(paths.states_dir()) if disk_cache is None else round(disk_cache * 1e9),
        kv_type=next((kind for kind in KV_TYPES if kind == options.kv_type), None),
        ubatch=options.ubatch,
        tensor_split=parse_split(options.tensor_split) if options.tensor_split else None,
        split_mode=next((mode for mode in SPLIT_MODES if mode == options.split_mode), None),
        devices=parse_limits(options.devices) if options.devices else None,
        rpc=parse_endpoints(options.rpc),
    )


def parse_endpoints(text: str | None) -> tuple[str, ...]:
    """``HOST:PORT,HOST:PORT`` as its parts. Raises :class:`InvalidOptionError` for what is no address."""
    endpoints = tuple(part.strip() for part in text.split(",")) if text else ()
    for endpoint in endpoints:
        try:
            split_endpoint(endpoint)
        except DeviceError as error:
            raise InvalidOptionError(str(error)) from error
    return endpoints


def parse_limits(text: str) -> tuple[Limit, ...]:
    """``CUDA0:20,CUDA1`` as devices with a limit in GiB. Raises :class:`InvalidOptionError`."""
    limits = []
    for part in text.split(","):
        name, _, most = part.strip().partition(":")
        try:
            limit = Limit(name, round(float(most) * 2**30) if most else None)
        except (ValueError, OverflowError) as error:
            raise InvalidOptionError(f"{part} is no device: write NAME or NAME:GIB, as CUDA0:20.") from error
        if not name or (limit.most is not None and limit.most < 0):
            raise InvalidOptionError(f"{part} is no device: write NAME or NAME:GIB, as CUDA0:20.")
        limits.append(limit)
    return tuple(limits)


def parse_split(text: str) -> tuple[float, ...]:
    """``3,1`` as parts of the layers for each device. Raises :class:`InvalidOptionError`."""
    try:
        parts = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidOptionError(f"{text} is no tensor split: write parts for each device, as 3,1.") from error
    if not all(part >= 0 for part in parts) or not 0 < sum(parts) < float("inf"):
        raise InvalidOptionError(f"{text} is no tensor split: write parts for each device, as 3,1.")
    return parts
