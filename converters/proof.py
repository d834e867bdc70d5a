"""The proof that llama.cpp tokenizes with the new GGUF as the checkpoint's tokenizer does.

A vocabulary that is read wrongly gives a model that answers worse without any error. So llama.cpp itself tokenizes a
text of many kinds with the vocabulary just written, and Hugging Face's tokenizers library, which knows all of
tokenizer.json's rules, does the same with the source; both must agree. It runs beside the pass.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from converters.errors import CheckpointError, ConversionError
from converters.pretokenizer import QWEN2_SPLIT

# Normalized (NFC), because llama.cpp does not normalize; without anything that looks like a control token.
TEXT = (
    "def fib(n: int) -> list[int]:\n    a, b = 0, 1\n\treturn [x**2 for x in range(n) if x != 0x7F]  # don't\r\n\r\n"
    "The quick brown fox's 'REALLY' we'Ve I'll, they'd... U.S.A. naïve café Straße ÆØÅ\n"
    "我想在apple工作1314151天～ 日本語の文章。한국어 텍스트 нещо на Български עברית العربية ไทย हिन्दी\n"
    "🚀 (normal) 😶\u200d🌫️ 👨\u200d👩\u200d👧 ✅🦙🦙 ½ ² Ⅷ ٣\u00a0\u2028\ufeff\n"
    "3 33 333 3333 33333 3.14159 1,000,000 2024-06-07 1e-10\n"
    + " " * 40 + "x" + " " * 7 + "\t\t \t\n \n\n \n\n\n" + " " * 100 + "y   \n"
    "''''```\"\"\"......!!!!??? ------======= {[(<>)]} ~/a/b_c.d?e=f&g=%20 \\n <a href=\"#\">$x_1^2$</a>  "
)  # fmt: skip
_TIMEOUT = 120.0
_PROGRAM = Path(__file__).with_name("_llama_tokens.py")
# What this process has proven: the same vocabulary need not be proven twice.
_proven: set[str] = set()


class Proof:
    """Starts when entered; ``check`` raises once it has failed."""

    def __init__(self, gguf: Path, directory: Path, vocabulary: int) -> None:
        """Prepare.

        Args:
            gguf: has its header, tensor data may be missing.
            directory: the checkpoint's.
            vocabulary: rows of the embedding.
        """
        self._gguf, self._directory = gguf, directory
        self._key = _key(directory, vocabulary)
        self._result: Future[None] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="proof")

    def __enter__(self) -> Proof:
        if self._key not in _proven:
            self._result = self._thread.submit(self._run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.kill()
        self._thread.shutdown(cancel_futures=True)

    def check(self, *, wait: bool = False) -> None:
        """Raise if the proof has failed; with ``wait``, only once it is done.

        Raises:
            CheckpointError: llama.cpp tokenizes otherwise, or one side cannot read the tokenizer.
            ConversionError: llama.cpp did not run.
        """
        if self._result is not None and (wait or self._result.done()):
            self._result.result()
            _proven.add(self._key)

    def _run(self) -> None:
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}  # no GPU is worth waking
        # -P: the program's directory, which is this package's, must not be searched for modules.
        command = [sys.executable, "-P", str(_PROGRAM), str(self._gguf)]
        pipe = subprocess.PIPE
        try:
            with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as self._child:
                assert self._child.stdin is not None
                with suppress(BrokenPipeError):  # its exit status says more
                    self._child.stdin.write(TEXT.encode())
                    self._child.stdin.close()
                self._child.stdin = None
                expected = expected_tokens(self._directory, TEXT)
                output, _ = self._child.communicate(timeout=_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConversionError(f"llama.cpp did not tokenize a test text ({error}): run install.py again.") from error
        if self._child.returncode:
            raise CheckpointError(
                f"llama.cpp cannot read the tokenizer made from {self._directory}: use the original model's "
                "tokenizer files."
            )
        compare(json.loads(output), expected, self._directory)


def compare(found: list[int], expected: list[int], directory: Path) -> None:
    """Compare llama.cpp's tokens with the tokenizer's own.

    Raises:
        CheckpointError: they differ.
    """
    if found != expected:
        pairs = zip([*found, -1], [*expected, -1], strict=False)
        place = next(index for index, (one, other) in enumerate(pairs) if one != other)
        raise CheckpointError(
            f"llama.cpp makes other tokens of a test text than the tokenizer in {directory} does (from token {place} "
            "on), and the model would not understand what it reads: use the original model's tokenizer files."
        )


def expected_tokens(directory: Path, text: str) -> list[int]:
    """The tokens that the checkpoint's own tokenizer makes of ``text``, without any that it adds around it.

    Raises:
        CheckpointError: its files cannot be read by the tokenizers library.
    """
    import tokenizers

    try:
        path = directory / "tokenizer.json"
        rules = tokenizers.Tokenizer.from_file(str(path)) if path.is_file() else _from_parts(directory)
        ids: list[int] = rules.encode(text, add_special_tokens=False).ids
    except Exception as error:  # the library raises nothing more exact
        reason = str(error)[:200]
        raise CheckpointError(
            f"The tokenizer in {directory} cannot be used ({reason}): download its files again."
        ) from error
    return ids


def _from_parts(directory: Path) -> Any:
    """Qwen2's rules around vocab.json and merges.txt."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    rules = Tokenizer(models.BPE.from_file(str(directory / "vocab.json"), str(directory / "merges.txt")))
    rules.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(QWEN2_SPLIT), "isolated")
    rules.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    return rules


def _key(directory: Path, vocabulary: int) -> str:
    digest = hashlib.sha256(str(vocabulary).encode())
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "added_tokens.json"):
        path = directory / name
        digest.update(path.read_bytes() if path.is_file() else b"-")
        digest.update(b"\0")
    return digest.hexdigest()
