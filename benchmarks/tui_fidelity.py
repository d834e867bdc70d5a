"""Whether an answer that arrives in pieces ends up as the same lines as one that is parsed at once.

    PYTHONPATH=. python -m benchmarks.tui_fidelity [CHUNKINGS] [SPEC ...]

A SPEC is a ``spec.txt`` of CommonMark or GFM, or an archive that holds one: ``pip download --no-deps --no-binary :all:
commonmark`` gets CommonMark's, ``apt-get source --download-only cmark-gfm`` GFM's with its extensions. Without one,
only the sources below are used. Each chunking takes one to four examples, joined, and cuts them at random places; in
half of them the answer is laid out after each piece. Compared are the painted strips in their final colours, and what
is copied of each line.
"""

from __future__ import annotations

import random
import re
import sys
import tarfile
import time
from pathlib import Path

from benchmarks.machine import description
from tui.sanitize import SafeText
from tui.theme import DARK
from tui.widgets.transcript.answer import AnswerEntry
from tui.widgets.transcript.base import Look
from tui.widgets.transcript.code import Code
from tui.widgets.transcript.styles import Styles

CHUNKINGS = 10_000
STYLES = Styles.from_theme(DARK.to_color_system().generate())
EXAMPLE = re.compile(r"^`{32} example[^\n]*\n(.*?)^\.\n.*?^`{32}$", re.MULTILINE | re.DOTALL)
# GFM's own: tables, task lists, strikethrough; then what models write, and text of every width.
OWN = (
    "| foo | bar |\n| --- | --- |\n| baz | bim |\n",
    "| abc | defghi |\n:-: | -----------:\nbar | baz\n",
    "| f\\|oo  |\n| ------ |\n| b `\\|` az |\n| b **\\|** im |\n",
    "| abc | def |\n| --- | --- |\n| bar | baz |\n> bar\n",
    "| abc | def |\n| --- | --- |\n| bar | baz |\nbar\n\nbar\n",
    "| abc | def |\n| --- |\n| bar |\n",
    "| abc | def |\n| --- | --- |\n| bar |\n| bar | baz | boo |\n",
    "| abc | def |\n| --- | --- |\n",
    "~~Hi~~ Hello, ~there~ world!\n",
    "This ~~has a\n\nnew paragraph~~.\n",
    "- [ ] foo\n- [x] bar\n",
    "- [x] foo\n  - [ ] bar\n  - [x] baz\n- [ ] bim\n",
    "".join(f"| row {n} | {'cell ' * (n % 7)} | 値{n} |\n" + "|---|:-:|--:|\n" * (n == 0) for n in range(130)),
    "".join(f"{n + 7}. item {n} with `code` and **bold** words\n" + "\n" * (n % 5 == 4) for n in range(30)),
    "".join(f"- item {n}\n  - nested\n\n    loose\n" for n in range(8)),
    "```python\ndef f(x):\n\t'''A\n\n\tdocstring'''\n\treturn \"```\" + x  # 説明\n" + "x = 1\n" * 20 + "```\n",
    "~~~~ c\n~~~\n/* a\n   comment */ int x;\n" + "long " * 60 + "\n~~~~\n",
    "1. do this:\n   ```sh\n   ls -la\n   ```\n2. then that\n",
    "A **bold** word, `code`, a [link](https://example.org \"t\") and *more* " * 30 + "\n",
    "It costs 2 * 3 * 4, a_b_c, [x] and (y), ![img](a.png), \\*not\\* &amp; so on. " * 20 + "\n",
    "日本語の文章です。とても長いので、折り返されます。" * 8 + "\n",
    "👩‍👩‍👧‍👦 family ❤️ heart 👍🏽 thumb e\u0301 " * 12 + "\n",
    "x" * 700 + " " + "日" * 200 + "\n",
    "## Heading with [foo]\n\n[foo]: /url\n",
    "[foo] and [bar][foo]\n",
    "Title\n===\nSub\n---\n",
    "".join(f"See https://example.org/{n}_a_b?x={n}, \\(a_{n} * b * c\\) and so on " for n in range(40)) + "\n",
    "\\[\n  a \\\\ b\n\\] and \\(open, http://\n",
    "1. [ ] task\n2. [x]\n* [ ] `code`\n+ a<br>b\n",
    "|" + "".join(f" column {n} |" for n in range(24)) + "\n" + "|---" * 24 + "|\n"
    + ("|" + "".join(f" cell<br>{n} |" for n in range(24)) + "\n") * 3,
    "> quote\n> - list\n>   in it\n> ```\n> code\n> ```\nlazy\n",
)  # fmt: skip


def examples(path: Path) -> list[str]:
    """The Markdown of a specification's examples, and of its extensions'."""
    if path.suffix == ".gz":
        text = ""
        with tarfile.open(path) as archive:
            for name in archive.getnames():
                if name.endswith(("/spec.txt", "/extensions.txt")):
                    file = archive.extractfile(name)
                    assert file is not None
                    text += file.read().decode() + "\n"
    else:
        text = path.read_text(encoding="utf-8")
    return [match[1].replace("→", "\t") for match in EXAMPLE.finditer(text)]


def painted(entry: AnswerEntry, look: Look) -> list[tuple[list[tuple[str, object]], str, str, bool]]:
    """All that is seen and copied of an answer; neighbouring runs of one style are one."""
    rows = []
    for line in entry.lines(look):
        if isinstance(line.colours, Code):
            while line.colours.wants_colours:
                line.colours.work(time.perf_counter() + 1)
        runs: list[tuple[str, object]] = []
        for text, style, _ in line.strip(look.styles):
            if runs and runs[-1][1] == style:
                runs[-1] = (runs[-1][0] + text, style)
            else:
                runs.append((text, style))
        rows.append((runs, line.join, line.lead, line.is_ornament))
    return rows


def streamed(source: str, cuts: list[int], look: Look, *, watched: bool) -> AnswerEntry:
    """An answer that arrived in pieces."""
    entry = AnswerEntry(SafeText("demo"))
    for cut in cuts:
        entry.set_text(source[:cut])
        if watched:
            entry.lines(look)
        else:
            entry._parse()
    entry.set_text(source)
    entry.finish()
    return entry


def chunking(chance: random.Random, sources: list[str]) -> tuple[str, list[int]]:
    """A source and where it is cut."""
    parts = [chance.choice(chance.choice((sources, OWN))) for _ in range(chance.randint(1, 4))]
    source = chance.choice(("", "\n", "\n\n")).join(parts)
    size = chance.choice((1, 3, 8, 40, 200))
    cuts, at = [], 0
    while at < len(source):
        at += chance.randint(1, 2 * size)
        cuts.append(min(at, len(source)))
    return source, cuts[-150:]


def main(count: int, specs: list[Path]) -> int:
    """Compare and count; returns the exit status."""
    sources = [*OWN, *(example for spec in specs for example in examples(spec))]
    print(f"{description('textual')}\n\n{len(sources)} examples, {count} chunkings")
    chance = random.Random(6)
    wrong = 0
    begin = time.process_time()
    for number in range(count):
        source, cuts = chunking(chance, sources)
        look = Look(chance.choice((24, 60, 120)), STYLES)
        whole = AnswerEntry(SafeText("demo"))
        whole.set_text(source)
        whole.finish()
        entry = streamed(source, cuts, look, watched=number % 2 == 0)
        if painted(entry, look) != painted(whole, look):
            wrong += 1
            if wrong <= 3:
                print(f"differs: {source!r}\n  cut at {cuts}, width {look.width}")
    share = 100 * (count - wrong) / count
    print(f"streamed view equals a fresh parse   goal 100 %   measured {share:.2f} %   stock Textual 49 of 60")
    print(f"{time.process_time() - begin:.0f} s of CPU")
    return 1 if wrong else 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    number = int(arguments.pop(0)) if arguments and arguments[0].isdigit() else CHUNKINGS
    sys.exit(main(number, [Path(argument) for argument in arguments]))
