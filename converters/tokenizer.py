"""The tokenizer's part of the GGUF: tokens, their kinds, merges, special ids, chat template.

Rules and order are those of llama.cpp's converter (``get_vocab_base`` in ``conversion/base.py``, ``SpecialVocab`` in
``gguf-py/gguf/vocab.py``), with one difference: the pre-tokenizer is recognised from the structure of tokenizer.json
instead of a digest of one encoded text, so that fine-tunes with added tokens convert.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

from converters.chat_template import chat_template
from converters.errors import CheckpointError
from converters.gguf_format import Metadata
from converters.special_tokens import SpecialTokens, special_tokens
from converters.tokenizer_files import read_tokenizer


class TokenType(IntEnum):
    """``llama_token_type`` in llama.h."""

    NORMAL = 1
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5


def _byte_characters() -> dict[str, int]:
    """GPT-2's printable character for each byte: itself where it is printable, else the next one from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTES = _byte_characters()


def tokenizer(metadata: Metadata, directory: Path, config: Mapping[str, Any], vocabulary: int) -> None:
    """``tokenizer.*``, from the tokenizer's files, config.json and the chat template files.

    Args:
        metadata: receives the keys.
        directory: the checkpoint's.
        config: the whole of config.json (special token ids may stand there only).
        vocabulary: rows of the embedding; ids without a token become unused padding tokens.

    Raises:
        CheckpointError: the files are missing, are no byte-level BPE that llama.cpp knows, or do not fit.
    """
    files = read_tokenizer(directory)
    tokens, kinds = token_list(files.vocab, files.added, vocabulary, files.path)
    metadata.string("tokenizer.ggml.model", "gpt2")
    metadata.string("tokenizer.ggml.pre", files.pre)
    metadata.strings("tokenizer.ggml.tokens", tokens)
    metadata.i32s("tokenizer.ggml.token_type", kinds)
    metadata.strings("tokenizer.ggml.merges", files.merges)
    _special(metadata, special_tokens(files.document, files.settings, config), vocabulary, files.path)
    chat_template(metadata, directory, files.settings)


def token_list(
    vocab: Mapping[int, str], added: Mapping[int, Mapping[str, Any]], size: int, path: Path
) -> tuple[list[str], list[int]]:
    """Text and kind of every id below ``size``.

    Raises:
        CheckpointError: a token's id is not below ``size``.
    """
    highest = max([*vocab, *added], default=-1)
    if highest >= size:
        raise CheckpointError(
            f"{path} has token id {highest}, but config.json says vocab_size is {size}: both must be of the same model."
        )
    tokens, kinds = [], []
    for index in range(size):
        if index in added:
            text = str(added[index]["content"])
            if not added[index].get("normalized", not added[index].get("special", False)):
                text = _decoded(text)
            if added[index].get("special") or _looks_special(text):
                kinds.append(TokenType.CONTROL)
            else:
                text = text.replace("\u2581", " ")  # SentencePiece's visible space
                kinds.append(TokenType.USER_DEFINED)
        elif index in vocab:
            text = vocab[index]
            kinds.append(TokenType.NORMAL)
        else:
            text = f"[PAD{index}]"
            kinds.append(TokenType.UNUSED)
        tokens.append(text)
    return tokens, [int(kind) for kind in kinds]


def _decoded(text: str) -> str:
    """What is left of an added token after encoding and decoding it, as llama.cpp's converter does unless normalized.

    The byte-level decoder takes the text for bytes in GPT-2's printable disguise where it can, so that "é" becomes a
    byte that is no UTF-8 by itself. Ordinary ASCII stays what it is.
    """
    try:
        data = bytes(_BYTES[char] for char in text)
    except KeyError:
        return text
    return data.decode("utf-8", "replace")


def _looks_special(text: str) -> bool:
    """Some fine-tunes forget to mark their control tokens as special; llama.cpp goes by their look then."""
    return text in ("<pad>", "<mask>", "<2mass>", "[@BOS@]") or any(
        text.startswith(begin) and text.endswith(end)
        for begin, end in (("<|", "|>"), ("<\uff5c", "\uff5c>"), ("<unused", ">"))
    )


def _special(metadata: Metadata, special: SpecialTokens, vocabulary: int, path: Path) -> None:
    for kind, index in special.ids.items():
        if kind == "cls":
            continue  # GGUF has no key for it
        if not 0 <= index < vocabulary:
            raise CheckpointError(
                f"{path.parent} names {index} as its {kind} token, but there are only {vocabulary} tokens: "
                "correct its config.json or tokenizer.json."
            )
        metadata.u32(f"tokenizer.ggml.{_KEYS.get(kind, kind)}_token_id", index)
    for kind, value in special.add.items():
        if kind in ("bos", "eos", "sep"):
            metadata.boolean(f"tokenizer.ggml.add_{kind}_token", value)


# Three of llama.cpp's key names are longer than the tokenizer settings they come from.
_KEYS = {"unk": "unknown", "sep": "seperator", "pad": "padding"}
