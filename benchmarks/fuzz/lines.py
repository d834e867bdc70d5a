"""What the plain chat and the other commands write, line by line: hostile strings in, and the bytes on a terminal.

Each source runs in a process of its own on a pseudo-terminal, started by :func:`fuzz_lines`.
"""

from __future__ import annotations

import asyncio
import os
import pty
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.fuzz import hostile
from benchmarks.fuzz.app import LOOK_SECONDS, HostileModel, portions
from benchmarks.fuzz.composer import make_files
from benchmarks.fuzz.grammar import foreign_in_lines
from benchmarks.fuzz.run import HOW, SILENCE_SECONDS, Step, environment
from benchmarks.fuzz.transcript import message, transfer
from localqwen import paths
from localqwen.chats.store import Store
from localqwen.events import Finished, Ready
from tui.plain import PlainChat
from tui.plain_terminal import StandardTerminal
from tui.sanitize import SafeText

START = "from benchmarks.fuzz.lines import main\nmain()\n"
NAKED = "from localqwen import cli\ncli.printable = naked\nfrom localqwen.cli import run\nrun.stripped = naked\n"


def fuzz_lines(count: int, seed: int, *, how: str = "hostile", sources: Iterable[str] | None = None) -> dict[str, Step]:
    """``count`` strings into each source, or into ``sources``, by their names; ``how`` as for the full screen."""
    before = HOW[how] + (NAKED if how == "naked" else "")
    return {what: _fuzz(what, count, seed, before) for what in sources or SOURCES}


def _fuzz(what: str, count: int, seed: int, before: str) -> Step:
    terminal, terminal_end = pty.openpty()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-c", before + START, what, str(count), str(seed)],
            stdin=terminal_end,
            stdout=terminal_end,
            stderr=terminal_end,
            env=environment(folder) | {"PYTHONPATH": str(Path.cwd())},
            cwd=folder,
            start_new_session=True,
        )
        os.close(terminal_end)
        data = b"".join(_written(terminal))
        os.close(terminal)
        if status := process.wait(SILENCE_SECONDS):
            raise RuntimeError(f"{what}: exit code {status}: {data[-3000:].decode(errors='replace')}")
    foreign = foreign_in_lines(data)
    return Step(count, len(set(hostile.MARK.findall(data))), len(data), sum(foreign.values()))


def _written(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            yield os.read(terminal, 1 << 20)
        except OSError:  # the process has ended
            return


# -- in the process on the terminal ----------------------------------------------------------------------------------


def main() -> None:
    """Let one source write: its name, how many strings, the seed."""
    what, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    SOURCES[what](random.Random(seed), count)


class _Typing(StandardTerminal):
    """Somebody who types the next line whenever they are asked to."""

    def __init__(self, model: HostileModel, lines: Iterator[str]) -> None:
        super().__init__()
        self._model = model
        self._typed = lines
        self._asked = asyncio.Event()

    def say(self, text: SafeText) -> None:
        """Write it, and look whether it asks."""
        super().say(text)
        if text in {"You: ", "... "}:
            self._asked.set()

    async def read(self) -> str | None:
        """The next line."""
        await self._asked.wait()
        self._asked.clear()
        while self._model.listener is None:  # noqa: ASYNC110 (it tells nobody when it lives)
            await asyncio.sleep(LOOK_SECONDS)
        return next(self._typed, None)


def _chat(
    chance: random.Random,
    lines: Callable[[HostileModel, Store], Iterator[str]],
    complaints: Sequence[str] = (),
    address: str | None = None,
) -> None:
    model = HostileModel(chance)
    model.address = address
    store = Store(Path("chats.sqlite3"))

    async def run() -> None:
        await PlainChat(store, model, _Typing(model, lines(model, store))).run(tuple(complaints))

    asyncio.run(run())
    store.close()


def _answers(chance: random.Random, count: int) -> None:
    texts = iter(hostile.strings(chance, "P1", range(count)))

    def lines(model: HostileModel, _store: Store) -> Iterator[str]:
        for portion in portions(count, 50):
            model.text = " ".join(next(texts) for _ in range(portion))
            yield "Go on."

    _chat(chance, lines)


def _words(chance: random.Random, count: int) -> None:
    words = iter(hostile.strings(chance, "P2", range(count), one_line=True))
    quarter = count // 4

    def lines(model: HostileModel, _store: Store) -> Iterator[str]:
        assert model.listener is not None
        for _ in range(quarter):
            model.listener.loaded(model, Ready(next(words), 4096))
            model.text, model.end = "x", Finished("error", error=next(words))
            yield "Go on."
        for _ in range(quarter):
            yield f"/{next(words)}"

    _chat(chance, lines, [next(words) for _ in range(count - 3 * quarter - 1)], address=next(words))


def _kept(chance: random.Random, count: int) -> None:
    texts = iter(hostile.strings(chance, "P3", range(count), one_line=True))

    def lines(_: HostileModel, store: Store) -> Iterator[str]:
        for portion in portions(count, 61):
            said = [
                message(number, "user", next(texts)) if number % 3 == 1 else
                message(number, "assistant", next(texts), model="model")
                for number in range(1, portion)
            ]  # fmt: skip
            store.add(transfer(next(texts), said or [message(1, "user", "x")]))
            yield "/list"
            yield "/open 1"

    _chat(chance, lines)


def _installed(chance: random.Random, count: int) -> None:
    _make_models(chance, count)
    _chat(chance, lambda *_: iter(["/model"]))


def _make_models(chance: random.Random, count: int) -> None:
    paths.models_dir().parent.mkdir(parents=True, exist_ok=True)
    names = [f"{name[:60]}.gguf" for name in hostile.strings(chance, "P4", range(count), one_line=True)]
    make_files(str(paths.models_dir()), names)


def _models(chance: random.Random, count: int) -> None:
    # The folder's name is shown too.
    os.environ["LOCALQWEN_HOME"] += "[red]\x1b[5m\u202e"
    _make_models(chance, count)
    _command("models")


def _inspect(chance: random.Random, count: int) -> None:
    import gguf

    texts = [one.encode("utf-8", "replace").decode() for one in hostile.strings(chance, "P5", range(count))]
    writer = gguf.GGUFWriter("x.gguf", "qwen2")
    writer.add_chat_template(" ".join(texts[: count // 3]))
    for key, value in zip(texts[count // 3 :: 2], texts[count // 3 + 1 :: 2], strict=False):
        writer.add_string(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    _command("inspect", "x.gguf")


def _run(chance: random.Random, count: int) -> None:
    from localqwen.cli.run import _write

    for text in hostile.strings(chance, "P6", range(count)):
        _write(text + "\n")


def _errors(chance: random.Random, count: int) -> None:
    for name in hostile.strings(chance, "P7", range(count), one_line=True):
        given = name.replace("\0", "")  # which no command line holds
        # An error of ours, or one of click's.
        _command(*chance.choice((("run", "--", given, "x"), ("models", "--", given))))


def _command(*arguments: str) -> None:
    from localqwen import cli

    sys.argv = ["localqwen", *arguments]
    try:
        cli.main()
    except SystemExit:
        return


SOURCES: dict[str, Callable[[random.Random, int], None]] = {
    "`chat --plain`: answers": _answers,
    "`chat --plain`: names of models, addresses, errors, complaints, commands": _words,
    "`chat --plain`: kept titles and messages": _kept,
    "`chat --plain`: names of installed files": _installed,
    "`models`: names of files": _models,
    "`inspect`: a GGUF's fields": _inspect,
    "`run`: answers": _run,
    "errors of the command line": _errors,
}
