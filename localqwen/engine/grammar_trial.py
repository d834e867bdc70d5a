"""Compiles a grammar in a process of its own first, because one that a stranger sends may never be done with it.

llguidance bounds most of its work, but a few lines of JSON schema (``multipleOf`` a large number, patterns that
intersect) keep it busy for minutes, and a long chain of references overflows the stack, which ends the process. What
comes through here in time can be compiled in the server too.
"""

from __future__ import annotations

import json
import logging
import resource
import signal
import subprocess
import sys
import threading
from functools import lru_cache

from llguidance import LLTokenizer

from localqwen.engine.grammar import Vocabulary, compile_matcher, refusal

CPU_SECONDS = 2
MEMORY = 2**31
# No thread of the server has less: glibc gives 8 MiB, macOS's Python 16 MiB.
STACK = 2**21
HUNG_SECONDS = 60

log = logging.getLogger(__name__)


@lru_cache(maxsize=32)
def trial(grammar: str) -> str | None:
    """Why a grammar in llguidance's form cannot be used, or ``None``. Takes about 0.1 s, at most some seconds."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "localqwen.engine.grammar_trial"],
            input=grammar.encode("utf-8", "replace"),
            capture_output=True,
            timeout=HUNG_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "it takes too long to compile"
    if done.returncode == 0:
        reason: str | None = json.loads(done.stdout)
        return reason
    if done.returncode in {-signal.SIGXCPU, -signal.SIGKILL}:
        return "it takes too long to compile"
    log.warning("A grammar could not be tried out: %s", done.stderr.decode("utf-8", "replace").strip()[-2000:])
    return "it is nested too deeply or takes too much memory to compile"


def main() -> None:
    """Print the reason, as JSON, why the grammar on the standard input cannot be used."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    grammar = sys.stdin.buffer.read().decode()
    threading.stack_size(STACK)
    reasons: list[str | None] = []
    thread = threading.Thread(target=lambda: reasons.append(_compile(grammar)))
    thread.start()
    thread.join()
    sys.stdout.write(json.dumps(*reasons))


def _compile(grammar: str) -> str | None:
    tokens = [bytes([byte]) for byte in range(256)]
    tokenizer = LLTokenizer(Vocabulary([*tokens, b""], [256], lambda text: list(text.encode())), slices=[])
    matcher = compile_matcher(tokenizer, grammar)
    if not (reason := refusal(matcher)):
        matcher.compute_bitmask()
        reason = refusal(matcher)
    return reason


if __name__ == "__main__":
    main()
