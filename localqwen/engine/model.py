"""A GGUF file loaded by llama.cpp: its weights, its vocabulary and what it says about itself."""

from __future__ import annotations

import ctypes
import glob
import os
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import llama_cpp.llama_cpp as llama

from localqwen.engine import native, rope
from localqwen.engine.placement import CPU_ONLY, Placement
from localqwen.errors import InvalidModelError, LocalqwenError, OutOfMemoryError

MAGIC = b"GGUF"
SPLIT = re.compile(r"(.+)-\d{5}-of-(\d{5})\.gguf")
VERSIONS = (2, 3)


class LoadCancelledError(LocalqwenError):
    """Loading was given up because somebody asked for it."""


class Model:
    """A loaded model. Reading from it is safe in any thread; :meth:`close` it after every context made from it."""

    def __init__(self, path: Path, handle: ctypes.c_void_p) -> None:
        self.path = path
        self.handle: ctypes.c_void_p | None = handle
        self.vocabulary = llama.llama_model_get_vocab(handle)
        self.vocabulary_size: int = llama.llama_vocab_n_tokens(self.vocabulary)
        self._pieces: dict[int, bytes] = {}
        # Creating a YaRN context changes the window that llama.cpp reports for the model, so the file's is read.
        self.architecture = self.metadata("general.architecture") or ""
        self.window = rope.window(
            self._integer("context_length"),
            self.metadata(f"{self.architecture}.rope.scaling.type"),
            self._integer("rope.scaling.original_context_length") or None,
            self._number("rope.scaling.factor"),
        )

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a file without its weights, to learn what it is: takes a fraction of a second whatever its size.

        Raises :class:`InvalidModelError` for a file that is no GGUF, is cut off, or that llama.cpp does not know.
        """
        return cls._load(path, CPU_ONLY, lambda _: True, weights=False)

    @classmethod
    def load(
        cls,
        path: Path,
        placement: Placement = CPU_ONLY,
        on_progress: Callable[[float], bool] = lambda progress: True,
    ) -> Self:
        """Load the weights to where ``placement`` says.

        ``on_progress`` gets 0 to 1 and returns whether to go on; :class:`LoadCancelledError` is raised if not.
        Raises :class:`InvalidModelError` as :meth:`open`, and :class:`OutOfMemoryError`.
        """
        return cls._load(path, placement, on_progress, weights=True)

    @classmethod
    def _load(cls, path: Path, placement: Placement, on_progress: Callable[[float], bool], *, weights: bool) -> Self:
        check_header(path)
        native.start()
        native.forget_errors()
        cancelled = False

        def report(progress: float, _data: object) -> bool:
            nonlocal cancelled
            cancelled = not on_progress(progress)
            return not cancelled

        callback = llama.llama_progress_callback(report)
        params = placement.parameters()
        params.progress_callback = callback
        if not weights:
            params.no_alloc = True
            params.load_mode = llama.LLAMA_LOAD_MODE_NONE
        handle = llama.llama_model_load_from_file(os.fsencode(path), params)
        if not handle:
            if cancelled:
                raise LoadCancelledError(f"Loading {path.name} was cancelled.")
            raise _explain(path, native.recent_errors())
        return cls(path, handle)

    def close(self) -> None:
        """Free the weights."""
        if self.handle:
            llama.llama_model_free(self.handle)
            self.handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def metadata(self, key: str) -> str | None:
        """A metadata value as text, or ``None`` if the file does not have the key."""
        size = llama.llama_model_meta_val_str(self.handle, key.encode(), None, 0)
        if size < 0:
            return None
        buffer = ctypes.create_string_buffer(size + 1)
        llama.llama_model_meta_val_str(self.handle, key.encode(), buffer, size + 1)
        return buffer.value.decode("utf-8", "replace")

    @property
    def chat_template(self) -> str | None:
        """The Jinja source of the chat template."""
        template = llama.llama_model_chat_template(self.handle, None)
        return template.decode("utf-8", "replace") if template else None

    @property
    def head_width(self) -> int:
        """The width of one head's K."""
        heads = llama.llama_model_n_head(self.handle) or 1
        return self._integer("attention.key_length") or llama.llama_model_n_embd(self.handle) // heads

    @property
    def layers(self) -> int:
        """How many transformer blocks there are."""
        return int(llama.llama_model_n_layer(self.handle))

    @property
    def kv_width(self) -> int:
        """The width of K, and of V, of all KV heads together."""
        return int(llama.llama_model_n_head_kv(self.handle)) * self.head_width

    @cached_property
    def control_tokens(self) -> dict[str, int]:
        """The texts of the control tokens, such as ``<|im_start|>``, and their ids."""
        control = llama.LLAMA_TOKEN_ATTR_CONTROL | llama.LLAMA_TOKEN_ATTR_UNKNOWN
        attributes = ((token, llama.llama_vocab_get_attr(self.vocabulary, token)) for token in self._tokens)
        return {self.token_text(token): token for token, attribute in attributes if attribute & control}

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """The tokens that end an answer."""
        return frozenset(token for token in self._tokens if llama.llama_vocab_is_eog(self.vocabulary, token))

    @property
    def bos_text(self) -> str:
        """The text of the token that begins a sequence, or nothing where there is none."""
        return self.token_text(llama.llama_vocab_bos(self.vocabulary))

    @property
    def eos_text(self) -> str:
        """The text of the token that ends a sequence, or nothing where there is none."""
        return self.token_text(llama.llama_vocab_eos(self.vocabulary))

    def token_text(self, token: int) -> str:
        """A token as the vocabulary writes it."""
        if not 0 <= token < self.vocabulary_size:
            return ""
        text = llama.llama_vocab_get_text(self.vocabulary, token)
        return text.decode("utf-8", "replace") if text else ""

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of plain text; a control token's text in it stays text unless ``special`` says otherwise."""
        data = text.encode("utf-8", "replace")  # lone surrogates cannot be encoded
        room = len(data) + 2
        while True:
            tokens = (llama.llama_token * room)()
            count = llama.llama_tokenize(self.vocabulary, data, len(data), tokens, room, False, special)
            if count >= 0:
                return list(tokens[:count])
            room = -count

    def piece(self, token: int) -> bytes:
        """The bytes of a token's text; nothing for a control token.

        Every token of an answer is asked for, so the answers are kept: 16 MB if it ever were the whole vocabulary.
        """
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._read_piece(token)
        return piece

    def ends_answer(self, token: int) -> bool:
        """Whether the model says with this token that it is done."""
        return token in self.end_tokens

    def _read_piece(self, token: int) -> bytes:
        room = 64  # some tokens are longer (143 bytes of spaces, rules of dashes), so the buffer grows
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = llama.llama_token_to_piece(self.vocabulary, token, buffer, room, 0, False)
            if count >= 0:
                return buffer.raw[:count]
            room = -count

    @property
    def _tokens(self) -> range:
        return range(self.vocabulary_size)

    def _number(self, key: str) -> float | None:
        """A number under the architecture's name."""
        try:
            return float(self.metadata(f"{self.architecture}.{key}") or "")
        except ValueError:
            return None

    def _integer(self, key: str) -> int:
        """A number under the architecture's name; of a list (one per layer) the largest; 0 where there is none."""
        value = (self.metadata(f"{self.architecture}.{key}") or "").strip("[]")
        return max((int(part) for part in value.split(",") if part.strip().isdigit()), default=0)


def file_bytes(path: Path) -> int:
    """How large a model's file is, with the further parts of one that is split (``-00001-of-00003.gguf``).

    0 for one that cannot be read.
    """
    first = SPLIT.fullmatch(path.name)
    parts = path.parent.glob(f"{glob.escape(first[1])}-*-of-{first[2]}.gguf") if first else [path]
    try:
        return sum(part.stat().st_size for part in parts)
    except OSError:
        return 0


def check_header(path: Path) -> None:
    """Raise :class:`InvalidModelError` unless the file begins as a GGUF file that llama.cpp reads."""
    try:
        with path.open("rb") as file:
            header = file.read(8)
    except OSError as error:
        raise InvalidModelError(f"{path} cannot be read: {error.strerror}.") from error
    if header[:4] != MAGIC:
        raise InvalidModelError(
            f"{path} is no GGUF file: give one, or convert a checkpoint with `localqwen convert FOLDER`."
        )
    version = int.from_bytes(header[4:], "little")
    if len(header) < 8 or version not in VERSIONS:
        raise InvalidModelError(f"{path} is GGUF version {version}, which cannot be read: convert the model again.")


def _explain(path: Path, errors: list[str]) -> LocalqwenError:
    """Why llama.cpp did not load a file, from the lines that it logged."""
    text = " ".join(errors)
    if "not within the file bounds" in text or "failed to read" in text or "unexpectedly reached end of file" in text:
        return InvalidModelError(f"{path} is cut off or damaged: copy, download or convert it again.")
    if "unknown model architecture" in text:
        return InvalidModelError(f"{path} holds a model that llama.cpp does not know: {errors[0]}.")
    if "unable to allocate" in text or "failed to allocate" in text or "out of memory" in text:
        return OutOfMemoryError(
            f"There is not enough memory to load {path.name} ({errors[0]}): use fewer --gpu-layers or a smaller model."
        )
    return InvalidModelError(f"{path} cannot be loaded: {errors[0] if errors else 'llama.cpp gives no reason'}.")
