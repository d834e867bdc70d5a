"""Devices, and RPC servers that are none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from localqwen.engine import bandwidth, registry
from localqwen.engine.registry import DeviceError, check_rpc_server, split_endpoint


@contextmanager
def answering(reply: bytes | None) -> Iterator[str]:
    """Something that listens, and answers so, or not at all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(64)
                if reply is not None:
                    connection.sendall(reply)
                else:
                    done.wait()

        done = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        done.set()
        thread.join()


def test_the_cpu_is_there_with_its_memory() -> None:
    (host,) = [handle for handle in registry.handles() if handle.kind == "cpu"]
    free, total = host.memory()
    assert 0 < free <= total
    assert "CPU" in registry.backends()


def test_the_cpu_is_measured() -> None:
    (host,) = [handle for handle in registry.handles() if handle.kind == "cpu"]
    # Another program may take a core for as long as one of the two measurements lasts.
    speeds = (bandwidth.measure(host, 2, rows=2048) for _ in range(5))
    speed = next((one for one in speeds if one.compute > one.read), None)
    assert speed is not None, "weights that are read once are used for many tokens"
    assert 1e8 < speed.read < 1e13
    assert speed.upload > 1e8
    assert 0 < speed.latency < 1


@pytest.mark.parametrize("endpoint", ["", "here", "here:", ":5", "here:x", "here:0", "here:70000", "here:５"])
def test_no_address(endpoint: str) -> None:
    with pytest.raises(DeviceError, match="HOST:PORT"):
        split_endpoint(endpoint)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DeviceError, match=rf"127\.0\.0\.1:{port} cannot be reached .*localqwen worker"):
        check_rpc_server(f"127.0.0.1:{port}")


def test_no_answer() -> None:
    with answering(None) as endpoint, pytest.raises(DeviceError, match="does not answer within"):
        check_rpc_server(endpoint, timeout=0.2)


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_no_rpc_server(reply: bytes) -> None:
    with answering(reply) as endpoint, pytest.raises(DeviceError, match="is no RPC server"):
        check_rpc_server(endpoint)


@pytest.mark.parametrize("version", [(6, 0, 0), (7, 1, 0), (8, 0, 0)])
def test_another_protocol(version: tuple[int, int, int]) -> None:
    reply = (28).to_bytes(8, "little") + bytes(version) + bytes(25)
    with answering(reply) as endpoint, pytest.raises(DeviceError, match=rf"protocol {version[0]}\.{version[1]}"):
        check_rpc_server(endpoint)


def test_a_server_of_our_version_is_taken() -> None:
    reply = (28).to_bytes(8, "little") + bytes((*registry.RPC_VERSION, 0)) + bytes(25)
    with answering(reply) as endpoint:
        check_rpc_server(endpoint)
