"""ggml's registry: the devices that the installed llama.cpp can use, and RPC servers as further ones.

Asking a GPU for its memory makes a context of a few hundred MiB on it, so only the process that loads the model asks.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from localqwen import device_options
from localqwen.engine import native
from localqwen.errors import InvalidRequestError, LocalqwenError
from localqwen.plan import DeviceKind

_KINDS: tuple[DeviceKind, ...] = ("cpu", "gpu", "igpu", "accel")  # enum ggml_backend_dev_type
RPC = "RPC"
ANSWER_SECONDS = 5.0
# ggml-rpc.h of the pinned llama.cpp: a server of another major version, or of a newer minor one, cannot be used, and
# asking it would end the process.
RPC_VERSION = (7, 0)
_HELLO, _CAPABILITIES = 14, 24


class DeviceError(LocalqwenError):
    """A device, or a machine with devices, cannot be used."""


@dataclass(frozen=True, slots=True)
class Handle:
    """One device; ``address`` is ggml's."""

    address: int
    name: str
    description: str
    backend: str
    kind: DeviceKind

    def memory(self) -> tuple[int, int]:
        """Bytes free and in all, as the backend tells them; a CPU's are those of the whole machine."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        _function("ggml_backend_dev_memory", None, 3)(self.address, ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value


def handles() -> list[Handle]:
    """Every device there is now, RPC servers that were added included."""
    native.start()
    count = _function("ggml_backend_dev_count", ctypes.c_size_t, 0)()
    return [_handle(_function("ggml_backend_dev_get", ctypes.c_void_p, ("size",))(i)) for i in range(count)]


class _Props(ctypes.Structure):
    """How ``ggml_backend_dev_props`` begins, and room for the rest of it."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("free", ctypes.c_size_t),
        ("total", ctypes.c_size_t),
        ("kind", ctypes.c_int),
        ("id", ctypes.c_char_p),
        ("capabilities", ctypes.c_ubyte * 64),
    )


def device_id(handle: Handle) -> str | None:
    """The PCI address of a card, by which two backends mean the same one; ``None`` where it is not known.

    Asks the card for its memory too.
    """
    props = _Props()
    _function("ggml_backend_dev_get_props", None, 2)(handle.address, ctypes.byref(props))
    return props.id.decode() if props.id else None


def backends() -> list[str]:
    """The names of the backends in this build, such as CPU, CUDA, RPC."""
    native.start()
    get = _function("ggml_backend_reg_get", ctypes.c_void_p, ("size",))
    name = _function("ggml_backend_reg_name", ctypes.c_char_p, 1)
    return [name(get(i)).decode() for i in range(_function("ggml_backend_reg_count", ctypes.c_size_t, 0)())]


def add_rpc_servers(endpoints: Iterable[str]) -> None:
    """Register the devices of ``localqwen worker`` processes, each once whatever it is called.

    Raises :class:`DeviceError`.
    """
    seen: set[tuple[str, int]] = set()
    for endpoint in endpoints:
        address = _address(endpoint)
        if address in seen:
            continue
        seen.add(address)
        check_rpc_server(endpoint)
        registered = _rpc("ggml_backend_rpc_add_server", ctypes.c_void_p, [ctypes.c_char_p])(endpoint.encode())
        if not registered:
            raise DeviceError(f"The RPC server {endpoint} has no devices: start `localqwen worker` there again.")
        _function("ggml_backend_register", None, 1)(registered)
        if endpoint not in native.rpc_servers:
            native.rpc_servers.append(endpoint)


def check_rpc_server(endpoint: str, timeout: float = ANSWER_SECONDS) -> None:
    """Raise :class:`DeviceError` unless a server of our protocol answers: llama.cpp itself would end the process.

    The greeting is that of ggml-rpc.cpp: a command byte, the length of its body, and the body.
    """
    host, port = split_endpoint(endpoint)
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(struct.pack("<BQ", _HELLO, _CAPABILITIES) + bytes(_CAPABILITIES))
            answer = b""
            while len(answer) < 11 and (part := connection.recv(64)):
                answer += part
    except TimeoutError as error:
        raise DeviceError(
            f"The RPC server {endpoint} does not answer within {timeout:g} s: it serves one program at a time, so end "
            "the other one, or check the address."
        ) from error
    except (OSError, UnicodeError) as error:
        raise DeviceError(
            f"The RPC server {endpoint} cannot be reached ({getattr(error, 'strerror', None) or error}): start "
            f"`localqwen worker --listen {endpoint}` there, or check the address."
        ) from error
    version = tuple(answer[8:10])
    if len(answer) < 11 or int.from_bytes(answer[:8], "little") != 4 + _CAPABILITIES:
        raise DeviceError(f"{endpoint} is no RPC server of llama.cpp, or of another version: install the same there.")
    if version[0] != RPC_VERSION[0] or version[1] > RPC_VERSION[1]:
        raise DeviceError(
            f"The RPC server {endpoint} speaks protocol {version[0]}.{version[1]}, and this build "
            f"{RPC_VERSION[0]}.{RPC_VERSION[1]}: install the same version of localqwen on both machines."
        )


def serve_rpc(endpoint: str, threads: int, devices: Iterable[Handle]) -> None:
    """Lend devices to another machine until the process ends. Returns only when it cannot listen."""
    chosen = list(devices)
    array = (ctypes.c_void_p * len(chosen))(*(device.address for device in chosen))
    kinds = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p]
    start = _rpc("ggml_backend_rpc_start_server", None, kinds)
    start(endpoint.encode(), None, threads, len(chosen), array)


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Host and port. Raises :class:`DeviceError`."""
    try:
        return device_options.split_endpoint(endpoint)
    except InvalidRequestError as error:
        raise DeviceError(str(error)) from error


def _address(endpoint: str) -> tuple[str, int]:
    """What an address comes down to: ``localhost`` and ``127.0.0.1`` are the same. Raises :class:`DeviceError`."""
    host, port = split_endpoint(endpoint)
    try:
        found = {str(address[4][0]) for address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):  # asking it will say so
        return host.lower(), port
    # A worker listens on IPv4 alone, and the name of this machine has an address of each kind.
    return min(found, key=lambda address: (":" in address, address)), port


@cache
def _handle(address: int) -> Handle:
    def text(name: str) -> str:
        return (_function(f"ggml_backend_dev_{name}", ctypes.c_char_p, 1)(address) or b"").decode("utf-8", "replace")

    registry = _function("ggml_backend_dev_backend_reg", ctypes.c_void_p, 1)(address)
    backend = _function("ggml_backend_reg_name", ctypes.c_char_p, 1)(registry).decode()
    kind = _function("ggml_backend_dev_type", ctypes.c_int, 1)(address)
    is_rpc = backend.startswith(RPC)
    return Handle(address, text("name"), text("description"), backend, "rpc" if is_rpc else _KINDS[min(kind, 3)])


def _rpc(name: str, result: Any, arguments: list[Any]) -> Callable[..., Any]:
    """A function of the RPC backend, which a build may lack."""
    native.start()
    registry = _function("ggml_backend_reg_by_name", ctypes.c_void_p, ("text",))(RPC.encode())
    address = registry and _function("ggml_backend_reg_get_proc_address", ctypes.c_void_p, ("pointer", "text"))(
        registry, name.encode()
    )
    if not address:
        raise DeviceError(f"This build of llama.cpp has no RPC backend: {native.REINSTALL}, with -DGGML_RPC=ON.")
    return ctypes.CFUNCTYPE(result, *arguments)(address)


_TYPES = {"pointer": ctypes.c_void_p, "size": ctypes.c_size_t, "text": ctypes.c_char_p}


@cache
def _function(name: str, result: Any, arguments: int | tuple[str, ...]) -> Callable[..., Any]:
    """A function of ggml; ``arguments`` are so many pointers, or their kinds."""
    kinds = ("pointer",) * arguments if isinstance(arguments, int) else arguments
    function = getattr(native.LIBLLAMA, name)
    function.argtypes, function.restype = [_TYPES[kind] for kind in kinds], result
    return function  # type: ignore[no-any-return]
