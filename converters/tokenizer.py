"""The tokenizer's part of the GGUF: tokens, their kinds, merges, special ids, chat template.

Rules and order are those of llama.cpp's converter (``get_vocab_base`` in ``conversion/base.py``, ``SpecialVocab`` in
``gguf-py/gguf/vocab.py``), with one difference: the pre-tokenizer is recognised from the structure of tokenizer.json
instead of a digest of one encoded text, so that fine-tunes with added tokens convert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

from converters.checkpoint import read_json
from converters.errors import CheckpointError
from converters.gguf_format import Metadata
from converters.pretokenizer import recognise
from converters.special_tokens import SpecialTokens, special_tokens


class TokenType(IntEnum):
    """``llama_token_type`` in llama.h."""

    NORMAL = 1
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5


def tokenizer(metadata: Metadata, directory: Path, config: Mapping[str, Any], vocabulary: int) -> None:
    """``tokenizer.*``, from tokenizer.json, tokenizer_config.json, config.json and the chat template files.

    Args:
        metadata: receives the keys.
        directory: the checkpoint's.
        config: the whole of config.json (special token ids may stand there only).
        vocabulary: rows of the embedding; ids without a token become unused padding tokens.

    Raises:
        CheckpointError: tokenizer.json is missing, is no byte-level BPE that llama.cpp knows, or does not fit.
    """
    path = directory / "tokenizer.json"
    document = read_json(path)
    if document is None:
        raise CheckpointError(f"{directory} has no tokenizer.json: download the checkpoint's tokenizer files.")
    settings = read_json(directory / "tokenizer_config.json")
    pre = recognise(document, path)
    vocab, merges = _bpe(document, path)
    tokens, kinds = token_list(vocab, _added(document, settings, path), vocabulary, path)
    special = special_tokens(document, settings, config)
    metadata.string("tokenizer.ggml.model", "gpt2")
    metadata.string("tokenizer.ggml.pre", pre)
    metadata.strings("tokenizer.ggml.tokens", tokens)
    metadata.i32s("tokenizer.ggml.token_type", kinds)
    metadata.strings("tokenizer.ggml.merges", merges)
    _special(metadata, special, vocabulary, path)
    _chat_template(metadata, directory, settings)


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


def _looks_special(text: str) -> bool:
    """Some fine-tunes forget to mark their control tokens as special; llama.cpp goes by their look then."""
    return text in ("<pad>", "<mask>", "<2mass>", "[@BOS@]") or any(
        text.startswith(begin) and text.endswith(end)
        for begin, end in (("<|", "|>"), ("<\uff5c", "\uff5c>"), ("<unused", ">"))
    )


def _bpe(document: Mapping[str, Any], path: Path) -> tuple[dict[int, str], list[str]]:
    model = document.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    merges = model.get("merges") if isinstance(model, dict) else None
    if not isinstance(vocab, dict) or not isinstance(merges, list):
        raise CheckpointError(f"{path} holds no BPE vocabulary with merges, as Qwen2's does: download it again.")
    reverse = {}
    for text, index in vocab.items():
        if not isinstance(index, int) or index < 0:
            raise CheckpointError(f"{path} gives token {text[:40]!r} no proper id: download it again.")
        reverse[index] = text
    return reverse, [_merge(merge, path) for merge in merges]


def _merge(merge: Any, path: Path) -> str:
    """A merge as ``"left right"``; transformers 4.45 and later write pairs, whose spaces are then encoded."""
    if isinstance(merge, str):
        return merge
    if isinstance(merge, list) and len(merge) == 2 and all(isinstance(part, str) for part in merge):
        return " ".join(part.replace(" ", "\u0120") for part in merge)
    raise CheckpointError(f"{path} holds a merge that is no pair of tokens: download it again.")


def _added(document: Mapping[str, Any], settings: Mapping[str, Any] | None, path: Path) -> dict[int, dict[str, Any]]:
    """Added tokens by id: tokenizer.json's, and those that only tokenizer_config.json declares."""
    found: dict[int, dict[str, Any]] = {}
    declared = (settings or {}).get("added_tokens_decoder")
    candidates: list[tuple[Any, Any]] = []
    if isinstance(declared, dict):
        candidates += [(int(key) if key.isdecimal() else None, entry) for key, entry in declared.items()]
    listed = document.get("added_tokens")
    if isinstance(listed, list):
        candidates += [(entry.get("id") if isinstance(entry, dict) else None, entry) for entry in listed]
    for index, entry in candidates:
        if not isinstance(index, int) or not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise CheckpointError(f"{path} holds an added token without id or content: download it again.")
        found[index] = entry
    return found


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


def _chat_template(metadata: Metadata, directory: Path, settings: Mapping[str, Any] | None) -> None:
    """The template of tokenizer_config.json, else chat_template.jinja, else chat_template.json.

    Several named templates become ``tokenizer.chat_template.NAME``; the one called "default" gets the plain key.
    """
    if settings is None:
        return
    template = settings.get("chat_template", _template_file(directory))
    if isinstance(template, str):
        metadata.string("tokenizer.chat_template", template)
    elif isinstance(template, list):
        _named_templates(metadata, template)


def _named_templates(metadata: Metadata, templates: Sequence[Any]) -> None:
    default, names = None, []
    for entry in templates:
        if not isinstance(entry, dict) or not isinstance(entry.get("template"), str):
            continue
        name = "".join(char if char.isascii() and char.isalnum() else "_" for char in str(entry.get("name", "")))
        if not name:
            continue
        if name == "default":
            default = entry["template"]
        else:
            names.append(name)
            metadata.string(f"tokenizer.chat_template.{name}", entry["template"])
    if names:
        metadata.strings("tokenizer.chat_templates", names)
    if default is not None:
        metadata.string("tokenizer.chat_template", default)


def _template_file(directory: Path) -> str | None:
    jinja = directory / "chat_template.jinja"
    try:
        if jinja.is_file():
            return jinja.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"Cannot read {jinja}: download it again.") from error
    template = (read_json(directory / "chat_template.json") or {}).get("chat_template")
    return template if isinstance(template, str) else None
