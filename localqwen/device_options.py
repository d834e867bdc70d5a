"""What `--devices`, `--tensor-split` and `--rpc` say, as values. Imports nothing heavy."""

from __future__ import annotations

import ipaddress

from localqwen.errors import InvalidOptionError


def endpoints(text: str | None) -> tuple[str, ...]:
    """``HOST:PORT,HOST:PORT`` as its parts; :func:`split_endpoint` says whether they are addresses."""
    return tuple(part.strip() for part in text.split(",")) if text else ()


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Host and port. Raises :class:`InvalidOptionError`."""
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidOptionError(
            f"{endpoint} is no address of an RPC server: write it as HOST:PORT, as 127.0.0.1:50052."
        )
    return host, int(port)


def warning(endpoint: str) -> str | None:
    """What to know before an RPC server is used that others can reach; ``None`` for one behind a loopback address."""
    if is_loopback(split_endpoint(endpoint)[0]):
        return None
    return (
        f"WARNING: --rpc {endpoint} goes through the network with no password and no encryption, and whoever listens "
        "there can read the conversation: use an SSH tunnel, as ssh -N -L 50052:127.0.0.1:50052 THAT_MACHINE, or "
        "WireGuard."
    )


def is_loopback(host: str) -> bool:
    """Whether a name or address always means this machine."""
    if host.lower() in {"localhost", "localhost."}:
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def limits(text: str) -> tuple[tuple[str, int | None], ...]:
    """``CUDA0:20,CUDA1`` as names and the most bytes of each, given in GiB. Raises :class:`InvalidOptionError`."""
    found = []
    for part in text.split(","):
        name, _, most = part.strip().partition(":")
        try:
            limit = name, round(float(most) * 2**30) if most else None
        except (ValueError, OverflowError) as error:
            raise InvalidOptionError(f"{part} is no device: write NAME or NAME:GIB, as CUDA0:20.") from error
        if not name or (limit[1] is not None and limit[1] < 0):
            raise InvalidOptionError(f"{part} is no device: write NAME or NAME:GIB, as CUDA0:20.")
        found.append(limit)
    return tuple(found)


def split(text: str) -> tuple[float, ...]:
    """``3,1`` as parts of the layers for each device. Raises :class:`InvalidOptionError`."""
    try:
        parts = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidOptionError(f"{text} is no tensor split: write parts for each device, as 3,1.") from error
    if not all(part >= 0 for part in parts) or not 0 < sum(parts) < float("inf"):
        raise InvalidOptionError(f"{text} is no tensor split: write parts for each device, as 3,1.")
    return parts
