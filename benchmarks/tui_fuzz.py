"""A million hostile strings through every source of the chat, and every byte that reaches the terminal.

    PYTHONPATH=. python -m benchmarks.tui_fuzz [--strings 1000000] [--lines 2000] [--seed 0]

The real app runs on a pseudo-terminal with Textual's own driver, over a scripted model in the same process: what it
says is the point here and not what it costs. The strings (controls, escape sequences, bidirectional overrides, markup,
entities, half characters; :mod:`benchmarks.fuzz.hostile`) go in at each place where foreign text does, and everything
is scrolled through. What is written must be what the chat makes itself, by :mod:`benchmarks.fuzz.grammar`; a string
counts as seen when its mark was on the screen. A run with harmless words in their place shows that the grammar takes
all that the chat needs; a run with the sanitizer taken away, that it sees what leaks at each source. So many lines go
through each source of the plain chat and of the other commands.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from benchmarks.fuzz.lines import fuzz_lines
from benchmarks.fuzz.run import Result, Step, fuzz
from benchmarks.machine import description

CONTROL_STRINGS = 5_000
CONTROL_LINES = 200


def table(steps: Mapping[str, Step], naked: Mapping[str, Step]) -> list[str]:
    """A row for each source, and the sum."""
    rows = [
        "| where they come in | strings | seen | bytes written | not made by the UI | bytes without the sanitizer |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for what, step in steps.items():
        if step.made:
            control = naked.get(what, Step())
            rows.append(f"| {what} | {_counts(step)} | {control.foreign:,} from {control.made:,} strings |")
    return [*rows, f"| all | {_counts(sum(steps.values(), Step()))} | |"]


def _counts(step: Step) -> str:
    return f"{step.made:,} | {step.painted:,} | {step.written:,} | {step.foreign:,}"


def report(screen: Result, harmless: Result, naked: Result, seed: int) -> None:
    """Print what the full screen has shown."""
    whole = screen.whole
    print(f"{description('textual')}, seed {seed}, {screen.seconds:.0f} s\n")
    print(*table(screen.steps, naked.steps), sep="\n")
    print(f"\nCopied texts: {whole.copies}, of which {whole.wrong} were not the original less its controls.")
    words = harmless.whole
    print(f"Harmless words: {words.made:,}, bytes not made by the UI {words.foreign}.")
    for excerpt, count in screen.excerpts.most_common(20):
        print(f"{count} times: {excerpt!r}")


def main() -> int:
    """Fuzz and print; the exit status is 1 if anything came through, or if a control did not show what it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strings", type=int, default=1_000_000)
    parser.add_argument("--lines", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    naked_lines = fuzz_lines(CONTROL_LINES, arguments.seed, how="naked")
    lines = fuzz_lines(arguments.lines, arguments.seed)
    naked = fuzz(CONTROL_STRINGS, arguments.seed, how="naked")
    harmless = fuzz(CONTROL_STRINGS, arguments.seed, how="harmless")
    screen = fuzz(arguments.strings, arguments.seed)
    report(screen, harmless, naked, arguments.seed)
    print("\nWhat is written as lines:\n")
    print(*table(lines, naked_lines), sep="\n")
    sound = (screen.whole, harmless.whole, *lines.values())
    caught = [step.foreign for step in (*naked.steps.values(), *naked_lines.values()) if step.made]
    is_good = not any(step.foreign or step.wrong for step in sound) and all(caught)
    return 0 if is_good and not (screen.status or harmless.status) else 1


if __name__ == "__main__":
    sys.exit(main())
