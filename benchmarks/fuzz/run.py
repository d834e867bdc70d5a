"""One fuzz of the chat on a pseudo-terminal: starts the app, reads what it writes, and counts for each source."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.fuzz import hostile
from benchmarks.fuzz.grammar import Grammar

COLUMNS = 140
# Which sources are shown in how many lines: the more lines, the more strings in a frame, and the dearer a frame that
# shows one of them.
SCREENS = (("tall", 400), ("small", 40))
# Nothing is written any more when nothing has come for so long.
QUIET_SECONDS = 0.05
SILENCE_SECONDS = 60.0
WHOLE = 1_000_000
FEWEST = 20
START = "from benchmarks.fuzz.app import main\nmain()\n"
HOW = {
    "hostile": "",
    "harmless": "from benchmarks.fuzz import hostile\nhostile.fragment = lambda _: 'word'\n",
    # A half of a character cannot be written at all, so that goes even here.
    "naked": (
        "from tui import sanitize\n"
        "def naked(text): return text.encode('utf-8', 'replace').decode()\n"
        "for name in ('safe', 'safe_line', 'safe_cells', 'inert', 'without_controls'):\n"
        "    setattr(sanitize, name, naked)\n"
    ),
}


@dataclass
class Step:
    """What has come of one source.

    Attributes:
        made: How many strings went in.
        painted: How many of them were seen on the screen.
        written: Bytes.
        foreign: Bytes that the chat does not make itself.
        copies: How many texts were copied, ``wrong`` of them not as they should have been.
    """

    made: int = 0
    painted: int = 0
    written: int = 0
    foreign: int = 0
    copies: int = 0
    wrong: int = 0

    def __add__(self, other: Step) -> Step:
        names = self.__dataclass_fields__
        return Step(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass
class Result:
    """What one run has shown.

    Attributes:
        steps: By source, in their order.
        excerpts: What must not be there, and how often.
        status: The app's exit status; ``tail`` is what it wrote last.
    """

    steps: dict[str, Step] = field(default_factory=dict)
    excerpts: Counter[bytes] = field(default_factory=Counter)
    status: int = 0
    tail: bytes = b""
    seconds: float = 0.0

    @property
    def whole(self) -> Step:
        """The sum of the steps."""
        return sum(self.steps.values(), Step())


def fuzz(
    strings: int,
    seed: int,
    *,
    how: str = "hostile",
    fewest: int = FEWEST,
    screens: Sequence[tuple[str, int]] = SCREENS,
) -> Result:
    """One run, with at least ``fewest`` strings at each source.

    ``how`` is ``hostile``, ``harmless`` for words in place of what is hostile, or ``naked`` for no sanitizer.
    """
    result = Result()
    begin = time.monotonic()
    for sources, lines in screens:
        _fuzz(result, lines, (sources, str(strings / WHOLE), str(fewest), str(seed)), how)
    result.seconds = time.monotonic() - begin
    return result


def _fuzz(result: Result, lines: int, arguments: tuple[str, ...], how: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out, out_end = os.pipe()
        back_end, back = os.pipe()
        terminal, terminal_end = pty.openpty()
        fcntl.ioctl(terminal_end, termios.TIOCSWINSZ, struct.pack("HHHH", lines, COLUMNS, 0, 0))
        with subprocess.Popen(
            [sys.executable, "-c", HOW[how] + START, *arguments, folder, str(out_end), str(back_end)],
            stdin=terminal_end,
            stdout=terminal_end,
            stderr=terminal_end,
            env=environment(folder),
            pass_fds=(out_end, back_end),
            start_new_session=True,
        ) as app:
            for end in (terminal_end, out_end, back_end):
                os.close(end)
            try:
                _Reader(result, lines, terminal, out, back).read()
            except TimeoutError:
                app.kill()
                raise
            finally:
                for end in (terminal, out, back):
                    os.close(end)
            result.status = result.status or app.wait(SILENCE_SECONDS)


class _Reader:
    """Reads the terminal and the app's reports until the app ends."""

    def __init__(self, result: Result, lines: int, terminal: int, out: int, back: int) -> None:
        self._result = result
        self._grammar = Grammar(COLUMNS, lines)
        self._terminal, self._out, self._back = terminal, out, back
        self._reports = b""
        self._text = b""
        self._seen: set[bytes] = set()
        self._counted = Step()
        self._expected: list[bytes] = []

    def read(self) -> None:
        """To the end."""
        while True:
            ready, _, _ = select.select([self._terminal, self._out], [], [], SILENCE_SECONDS)
            if not ready:
                raise TimeoutError(f"silent after {list(self._result.steps)[-1:]}: {self._result.tail!r}")
            if self._terminal in ready and not self._take_written():
                break
            if self._out in ready and not self._take_reports():
                break
        while select.select([self._terminal], [], [], QUIET_SECONDS)[0] and self._take_written():
            pass
        self._grammar.finish()
        self._end_step("the end", {})
        self._result.excerpts += self._grammar.foreign

    def _take_written(self) -> bool:
        try:
            data = os.read(self._terminal, 1 << 20)
        except OSError:
            return False
        self._result.tail = (self._result.tail + data)[-5000:]
        text = self._text + self._grammar.feed(data)
        self._seen.update(b"".join(found) for found in hostile.MARK.findall(text))
        self._text = text[-16:]
        return bool(data)

    def _take_reports(self) -> bool:
        data = os.read(self._out, 1 << 20)
        self._reports += data
        *lines, self._reports = self._reports.split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        return bool(data)

    def _take(self, report: dict[str, object]) -> None:
        match report:
            case {"copied": str(data)}:
                text = base64.b64decode(data).decode("utf-8", "surrogatepass")
                self._expected.append(hostile.without_controls(text).encode())
            case {"type": str(data)}:
                os.write(self._terminal, base64.b64decode(data))
            case {"done": str(what), "made": dict(made)}:
                while select.select([self._terminal], [], [], QUIET_SECONDS)[0]:
                    self._take_written()
                self._end_step(what, made)
                self._grammar.end() if what == "the end" else self._grammar.run()
                os.write(self._back, b".")

    def _end_step(self, what: str, made: Mapping[str, int]) -> None:
        """Count for this source what has come since the one before."""
        copies = self._compared()
        before = self._counted
        now = Step(
            max(before.made, sum(made.values())), len(self._seen), self._grammar.bytes, self._grammar.foreign_bytes
        )
        self._counted = now
        step = Step(
            now.made - before.made,
            now.painted - before.painted,
            now.written - before.written,
            now.foreign - before.foreign,
        )
        self._result.steps[what] = self._result.steps.get(what, Step()) + step + copies

    def _compared(self) -> Step:
        theirs, ours = self._grammar.copies, self._expected
        wrong = abs(len(theirs) - len(ours)) + sum(one != other for one, other in zip(theirs, ours, strict=False))
        count = len(ours)
        theirs.clear()
        ours.clear()
        return Step(copies=count, wrong=wrong)


def environment(home: str) -> dict[str, str]:
    """This process's, without what would change what the chat writes."""
    hidden = ("LOCALQWEN", "TEXTUAL", "DISPLAY", "WAYLAND", "TMUX", "NO_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return {**kept, "LOCALQWEN_HOME": home, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
