"""Where a model goes on a machine, as every layer of the program passes it on. Values only; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias, get_args

KvType: TypeAlias = Literal["f16", "q8_0", "q4_0"]
SplitMode: TypeAlias = Literal["layer", "tensor"]
DeviceKind: TypeAlias = Literal["cpu", "gpu", "igpu", "rpc", "accel"]

KV_TYPES: tuple[KvType, ...] = get_args(KvType)
SPLIT_MODES: tuple[SplitMode, ...] = get_args(SplitMode)


@dataclass(frozen=True, slots=True)
class Share:
    """What lies on one device, in bytes.

    Layers are ``first`` to ``first + layers - 1``; with ``output``, the output matrix too, which llama.cpp counts as a
    layer. ``rest`` is what the driver takes besides, ``draft`` what a draft model takes, and ``free`` what
    could be used.
    """

    device: str
    description: str
    kind: DeviceKind
    first: int
    layers: int
    output: bool
    weights: int
    kv: int
    compute: int
    rest: int
    free: int
    draft: int = 0

    @property
    def used(self) -> int:
        """All that is taken."""
        return self.weights + self.kv + self.compute + self.rest + self.draft

    @property
    def count(self) -> int:
        """Layers as llama.cpp counts them."""
        return self.layers + self.output


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model is loaded: ``shares`` are the devices in llama.cpp's order and the CPU as the last.

    ``layers`` counts the transformer blocks. ``prefill`` and ``decode`` are the expected tokens per second; ``why``
    and ``help`` are sentences. ``exact`` says that llama.cpp itself counted the bytes. ``draft_device`` is where a
    draft model goes.
    """

    model: str
    layers: int
    context: int
    kv_type: KvType
    ubatch: int
    split_mode: SplitMode
    threads: int
    shares: tuple[Share, ...]
    prefill: float
    decode: float
    exact: bool
    draft_device: str | None = None
    why: tuple[str, ...] = ()
    help: tuple[str, ...] = ()

    @property
    def gpu_layers(self) -> int:
        """llama.cpp's ``n_gpu_layers``."""
        return sum(share.count for share in self.shares[:-1])

    @property
    def devices(self) -> tuple[Share, ...]:
        """All but the CPU."""
        return self.shares[:-1]

    def as_json(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """The opposite of :meth:`as_json`; further keys are passed over.

        Raises :class:`TypeError` or :class:`LookupError` for anything else.
        """
        values = {name: data[name] for name in (field.name for field in fields(cls))}
        values["shares"] = tuple(Share(**share) for share in values["shares"])
        values["why"], values["help"] = tuple(values["why"]), tuple(values["help"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class LastLoad:
    """What loading a model took, ``when`` in seconds since 1970: ``taken`` are device, bytes planned, bytes taken."""

    when: float
    context: int
    kv_type: KvType
    ubatch: int
    taken: tuple[tuple[str, int, int], ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LastLoad:
        """The opposite of :meth:`as_json`.

        Raises :class:`TypeError`, :class:`ValueError` or :class:`LookupError` for anything else.
        """
        taken = tuple((str(device), int(planned), int(real)) for device, planned, real in data["taken"])
        return cls(float(data["when"]), int(data["context"]), data["kv_type"], int(data["ubatch"]), taken)
