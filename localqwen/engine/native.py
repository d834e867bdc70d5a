"""What llama.cpp offers beyond llama_cpp's bindings: the only ctypes of our own.

Importing this module loads libllama and takes over its log, so only the server process does.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import llama_cpp.llama_cpp as llama

from localqwen.engine import last_words

# Looking a symbol up through libllama also finds it in the ggml libraries that libllama itself uses. Opening those by
# file name would not do: a wheel holds copies where the build had links, and a copy has its own registry and callbacks.
LIBLLAMA: ctypes.CDLL = llama._lib
FOLDER = Path(__file__).resolve().parents[2]  # of install.py
REINSTALL = f"run `python3 install.py --rebuild` in {FOLDER}, which builds llama.cpp anew"
WARN, ERROR, CONTINUED = 3, 4, 5
GPU_DEVICE_TYPES = (1, 2)  # GGML_BACKEND_DEVICE_TYPE_GPU and _IGPU; llama_supports_gpu_offload() also counts RPC
RECENT_LINES = 40
LAST_WORDS_SECONDS = 1.0
GONE_SECONDS = 0.5

log = logging.getLogger("localqwen.llama")


# As "load_tensors: RPC0[127.0.0.1:50052] model buffer size =    73.24 MiB"; what is mapped or repacked is the CPU's.
_BUFFER = re.compile(r"(\w+)(?:\[[^\]]*\])?\s+(\w+) buffer size =\s*([\d.]+) MiB")
_IN_RAM = re.compile(r"CPU|\w*Host$")


class _Recent:
    """llama.cpp's last log lines, so that a failure can be explained in its words."""

    def __init__(self) -> None:
        self.buffers: dict[tuple[str, str], int] | None = None  # by name and use, while somebody wants to know
        self.muted = False  # llama.cpp calls it an error when it is told to stop
        self._lines: deque[tuple[int, str]] = deque(maxlen=RECENT_LINES)
        self._partial = ""
        self._level = 0
        self._lock = threading.Lock()  # loading logs from several threads

    def write(self, level: int, text: str) -> None:
        with self._lock:
            if level != CONTINUED:
                self._level = level
            *lines, self._partial = (self._partial + text).split("\n")
            for line in filter(str.strip, lines):
                self._lines.append((self._level, line))
                if self.buffers is not None and (match := _BUFFER.search(line)):
                    self.buffers[match[1], match[2]] = round(float(match[3]) * 2**20)
                if self._level in (WARN, ERROR) and not self.muted:
                    log.log(logging.ERROR if self._level == ERROR else logging.WARNING, "%s", line)

    def errors(self) -> list[str]:
        with self._lock:
            return [line for level, line in self._lines if level == ERROR]

    def last_errors(self) -> list[str]:
        """Without the lock, for a process that dies: whoever holds it will not give it back."""
        return [line for level, line in self._lines.copy() if level == ERROR]

    def clear(self) -> None:
        if not self._lines and not self._partial:
            return  # before every decode, this is nearly always so
        with self._lock:
            self._lines.clear()
            self._partial = ""


_recent = _Recent()


# ctypes declares `level` as a plain int; text may cut a character in two, so it is decoded leniently.
@llama.llama_log_callback  # type: ignore[untyped-decorator]
def _log_callback(level: int, text: bytes, _user_data: object) -> None:
    _recent.write(level, text.decode("utf-8", "replace"))


def forget_errors() -> None:
    """Start a new story: :func:`recent_errors` will tell only what happens from now on."""
    _recent.clear()


def recent_errors() -> list[str]:
    """llama.cpp's error lines since :func:`forget_errors`, oldest first, without the function's name in front."""
    return [line.partition(": ")[2] or line for line in _recent.errors()]


rpc_servers: list[str] = []  # HOST:PORT of those in use, for the last words


def _is_gone(server: str) -> bool:
    """Whether nobody listens at an RPC server's address any more."""
    host, _, port = server.rpartition(":")
    try:
        socket.create_connection((host, int(port)), GONE_SECONDS).close()
    except (OSError, ValueError):
        return True
    return False


@contextmanager
def allocations() -> Iterator[Callable[[], dict[str, int]]]:
    """What llama.cpp says to have allocated while the block ran: a function that tells the bytes by device."""
    buffers: dict[tuple[str, str], int] = {}

    def by_device() -> dict[str, int]:
        found: dict[str, int] = {}
        for (name, _), size in buffers.items():
            device = "CPU" if _IN_RAM.match(name) else name
            found[device] = found.get(device, 0) + size
        return found

    _recent.buffers = buffers
    try:
        yield by_device
    finally:
        _recent.buffers = None


# In its words, and CUDA's.
_NO_MEMORY = re.compile(r"out of memory|alloc|cudaGraphInstantiate", re.IGNORECASE)


def is_about_memory(text: str) -> bool:
    """Whether llama.cpp says with this that there was too little memory."""
    return bool(_NO_MEMORY.search(text))


_AbortCallback = ctypes.CFUNCTYPE(None, ctypes.c_char_p)


@_AbortCallback  # type: ignore[untyped-decorator]
def _abort_callback(message: bytes) -> None:
    # The process is about to die on a failed assertion, perhaps with the heap damaged: first of all, write.
    reason = " ".join(message.decode("utf-8", "replace").split())
    errors = _recent.last_errors()
    os.write(2, "".join(f"{line}\n" for line in (*errors, reason)).encode())
    sentence = last_words.sentence(reason, errors, rpc_servers, _is_gone)
    os.write(2, f"localqwen: {sentence}\n".encode())
    for listener in reversed(_at_abort):  # those who wait for an answer came last, and need it first
        with suppress(Exception):
            listener(sentence)
    if _at_abort:
        time.sleep(LAST_WORDS_SECONDS)  # other threads pass it on to whoever waits for an answer


_at_abort: list[Callable[[str], None]] = []


@contextmanager
def at_abort(listener: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, ``listener`` gets the sentence about a failed assertion, a moment before the process ends.

    It is called in any thread, and must only pass the sentence on.
    """
    _at_abort.append(listener)
    try:
        yield
    finally:
        _at_abort.remove(listener)


def take_log() -> None:
    """Have llama.cpp log to us."""
    llama.llama_log_set(_log_callback, ctypes.c_void_p(None))


_started = threading.Lock()
_is_started = False


def start() -> None:
    """Initialize llama.cpp once for the process: its backends, its log, and words for its assertions."""
    global _is_started  # noqa: PLW0603 - mirrors a process-wide state of the library
    with _started:
        if _is_started:
            return
        take_log()
        LIBLLAMA.ggml_set_abort_callback.argtypes = [_AbortCallback]
        LIBLLAMA.ggml_set_abort_callback.restype = ctypes.c_void_p
        LIBLLAMA.ggml_set_abort_callback(_abort_callback)
        llama.llama_backend_init()
        _is_started = True


# llama_cpp declares a pointer to float, which costs more to look into than to get.
_logits_ith = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32)(("llama_get_logits_ith", LIBLLAMA))


def logits_address(context: ctypes.c_void_p | None, row: int) -> int | None:
    """Where the float32 logits of a row of the last batch begin; ``None`` where there are none."""
    address: int | None = _logits_ith(context, row)
    return address


def has_gpu() -> bool:
    """Whether this build of llama.cpp finds a GPU on this machine."""
    start()
    find = LIBLLAMA.ggml_backend_dev_by_type
    find.argtypes, find.restype = [ctypes.c_int], ctypes.c_void_p
    return any(find(kind) for kind in GPU_DEVICE_TYPES)


class AbortFlag:
    """A flag that makes a running ``llama_decode`` stop, to be set from any thread.

    llama.cpp calls a function between the nodes of the graph, several hundred times a token. A Python function there
    would take the GIL each time and wait for the server's other threads, so libc's ``strlen`` is called instead: on
    an empty string it returns 0 (go on), on a string of one byte 1 (stop). Backends other than the CPU's do not ask.
    """

    def __init__(self) -> None:
        self._text = ctypes.create_string_buffer(2)
        strlen = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p)
        self.callback = llama.ggml_abort_callback(strlen.value)
        self.data = ctypes.cast(self._text, ctypes.c_void_p)

    def set(self) -> None:
        """Stop the decode that runs now, and every later one until :meth:`clear`."""
        _recent.muted = True
        self._text[0] = b"\x01"

    def clear(self) -> None:
        """Let decodes run again."""
        self._text[0] = b"\x00"
        _recent.muted = False

    def is_set(self) -> bool:
        """Whether decodes are being stopped."""
        return self._text[0] != b"\x00"
