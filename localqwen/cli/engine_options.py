"""The options of the command line as the engine wants them. Imports the engine."""

from __future__ import annotations

from pathlib import Path

from localqwen import device_options, library, paths
from localqwen.engine.inventory import Limit
from localqwen.engine.options import EngineOptions
from localqwen.engine.rope import parse_mode
from localqwen.engine.states import default_limit
from localqwen.plan import KV_TYPES, SPLIT_MODES
from localqwen.serve_options import AUTO_DRAFT, ServeOptions


def engine_options(options: ServeOptions, model: Path) -> EngineOptions:
    """The same as the engine's, for the file ``model``. Raises :class:`InvalidOptionError`."""
    disk_cache = options.disk_cache
    draft = _partner(model) if options.draft == AUTO_DRAFT else Path(options.draft) if options.draft else None
    return EngineOptions(
        context=options.ctx,
        threads=options.threads,
        gpu_layers=options.gpu_layers,
        yarn=parse_mode(options.yarn or "auto"),
        speculation=options.speculation is not False,
        draft=draft,
        draft_may_rest=options.draft == AUTO_DRAFT,
        disk_cache=default_limit(paths.states_dir()) if disk_cache is None else round(disk_cache * 1e9),
        kv_type=next((kind for kind in KV_TYPES if kind == options.kv_type), None),
        ubatch=options.ubatch,
        tensor_split=device_options.split(options.tensor_split) if options.tensor_split else None,
        split_mode=next((mode for mode in SPLIT_MODES if mode == options.split_mode), None),
        devices=device_limits(options.devices) if options.devices else None,
        rpc=device_options.endpoints(options.rpc),
    )


def _partner(model: Path) -> Path | None:
    """The installed file of the draft model that the catalogue names for a release."""
    card = library.card_of(model)
    partner = library.find_installed(card.draft) if card is not None and card.draft is not None else None
    return partner if partner != model else None


def device_limits(text: str) -> tuple[Limit, ...]:
    """``CUDA0:20,CUDA1`` as devices with a limit in GiB. Raises :class:`InvalidOptionError`."""
    return tuple(Limit(name, most) for name, most in device_options.limits(text))
