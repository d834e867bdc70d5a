"""llama.cpp as an oracle: the least that a test needs of its low-level interface."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt

# llama.cpp keeps a pointer to its log callback, which must therefore live as long as the process.
_SILENT = llama_cpp.llama_log_callback(lambda level, text, user_data: None)


def silence() -> None:
    """Let llama.cpp print nothing."""
    llama_cpp.llama_log_set(_SILENT, ctypes.c_void_p(0))


@contextmanager
def model(path: Path, *, vocab_only: bool = False) -> Iterator[Any]:
    """A loaded model, freed at the end."""
    silence()
    llama_cpp.llama_backend_init()
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = vocab_only
    loaded = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    assert loaded is not None, f"llama.cpp cannot load {path}"
    try:
        yield loaded
    finally:
        llama_cpp.llama_model_free(loaded)


def tokenize(loaded: Any, text: str, *, special: bool = False) -> list[int]:
    """Token ids of ``text``, without added tokens; ``special`` reads control tokens in it as such."""
    data = text.encode()
    room = len(data) + 8
    buffer = (ctypes.c_int32 * room)()
    vocabulary = llama_cpp.llama_model_get_vocab(loaded)
    count = llama_cpp.llama_tokenize(vocabulary, data, len(data), buffer, room, False, special)
    assert count >= 0
    return list(buffer[:count])


@contextmanager
def _context(loaded: Any) -> Iterator[Any]:
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = 512
    parameters.n_threads = parameters.n_threads_batch = 2
    context = llama_cpp.llama_init_from_model(loaded, parameters)
    assert context is not None
    try:
        yield context
    finally:
        llama_cpp.llama_free(context)


def greedy(path: Path, question: str, *, tokens: int) -> str:
    """The answer to one question in ChatML at temperature 0, at most ``tokens`` long."""
    prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    answer = b""
    piece = ctypes.create_string_buffer(256)
    with model(path) as loaded, _context(loaded) as context:
        vocabulary = llama_cpp.llama_model_get_vocab(loaded)
        ids = tokenize(loaded, prompt, special=True)
        for _ in range(tokens):
            best = int(_decode(loaded, context, ids).argmax())
            if llama_cpp.llama_vocab_is_eog(vocabulary, best):
                break
            length = llama_cpp.llama_token_to_piece(vocabulary, best, piece, 256, 0, False)
            answer += piece.raw[:length]
            ids = [best]
    return answer.decode()


def logits(path: Path, text: str) -> npt.NDArray[np.float32]:
    """Logits after ``text``: one float32 per token of the vocabulary."""
    with model(path) as loaded, _context(loaded) as context:
        return _decode(loaded, context, tokenize(loaded, text))


def _decode(loaded: Any, context: Any, ids: list[int]) -> npt.NDArray[np.float32]:
    array = (ctypes.c_int32 * len(ids))(*ids)  # the batch only points to it
    assert llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(ids))) == 0
    size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(loaded))
    pointer = llama_cpp.llama_get_logits_ith(context, -1)
    return np.array(np.ctypeslib.as_array(pointer, (size,)), np.float32)
