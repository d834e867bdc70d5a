"""What to tell a person when llama.cpp ends the process, made of what it says itself. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_SERVER_GONE = re.compile(r"Remote RPC server crashed")
_NO_CONNECTION = re.compile(r"(?:Failed to connect to|RPC handshake failed for) (\S+)")
# ggml_cuda_error() of ggml-cuda.cu logs three lines and aborts with "CUDA error"; ROCm's and MUSA's are the same code.
_DRIVER = re.compile(r"^(CUDA|ROCm|MUSA) error: (.+)")
_DEVICE = re.compile(r"^\s*current device: (\d+)")
_CALL = re.compile(r"^\s+(\w+)\(")


def sentence(reason: str, errors: Sequence[str], servers: Sequence[str], is_gone: Callable[[str], bool]) -> str:
    """Why the process ends, and what to do.

    ``reason`` is the failed check, ``errors`` are the error lines before it, oldest first, ``servers`` the RPC servers
    in use, and ``is_gone`` tells which of them are not there any more.
    """
    if found := _NO_CONNECTION.search(reason):
        return _server_words([found[1]], certain=True)
    if _SERVER_GONE.search(reason):
        gone = [server for server in servers if len(servers) == 1 or is_gone(server)]
        return _server_words(gone or list(servers), certain=bool(gone))
    if re.search(r"(CUDA|ROCm|MUSA) error$", reason) and (words := _driver_words(errors)) is not None:
        return words
    cause = f" ({errors[-1].strip()})" if errors else ""  # the check itself often says nothing
    return f"llama.cpp stopped on an internal check, {reason}{cause}."


def _server_words(servers: Sequence[str], *, certain: bool) -> str:
    names = " and ".join(servers)
    who = f"The RPC server{'s' if len(servers) > 1 else ''} {names}" if certain else f"One of the RPC servers {names}"
    return (
        f"{who} went away in the middle of the work: start `localqwen worker` there again, or leave it out of --rpc, "
        "and load the model again."
    )


def _driver_words(errors: Sequence[str]) -> str | None:
    """The driver's last error, on which device and in which call."""
    at = next((i for i in range(len(errors) - 1, -1, -1) if _DRIVER.match(errors[i])), None)
    if at is None:
        return None
    found = _DRIVER.match(errors[at])
    assert found is not None
    after = errors[at + 1 :]
    number = next((match[1] for line in after if (match := _DEVICE.match(line))), "")
    call = next((match[1] for line in after if (match := _CALL.match(line))), "")
    device, cause = f"{found[1]}{number}", f"{found[2].strip()}{f' in {call}' if call else ''}"
    if "out of memory" in cause:
        return (
            f"{device} has no memory left in the middle of the work ({cause}): close other programs that use it, or "
            "use a smaller --ctx, and load the model again."
        )
    return (
        f"{device} failed in the middle of the work ({cause}): load the model again, and if that fails too, restart "
        "the machine and run `localqwen doctor`."
    )
