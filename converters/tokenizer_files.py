"""A checkpoint's tokenizer as it is stored: tokenizer.json, or the older vocab.json with merges.txt.

What transformers makes of the older form is what llama.cpp's converter sees: Qwen2's split and normalization whatever
the files say, and added tokens from tokenizer_config.json, from added_tokens.json, or the one that Qwen2Tokenizer has
by default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.checkpoint import MAX_JSON, read_json
from converters.errors import CheckpointError
from converters.pretokenizer import recognise

_CLASSES = ("Qwen2Tokenizer", "Qwen2TokenizerFast")
_DEFAULT_TOKEN = "<|endoftext|>"


@dataclass(frozen=True)
class TokenizerFiles:
    """What the files say.

    ``path`` is where the vocabulary stands, for messages; ``document`` is tokenizer.json ({} if there is none) and
    ``settings`` tokenizer_config.json (None if there is none); ``pre`` is llama.cpp's name of the split; ``merges`` are
    written as "left right"; ``added`` are added tokens by id.
    """

    path: Path
    document: Mapping[str, Any]
    settings: Mapping[str, Any] | None
    pre: str
    vocab: Mapping[int, str]
    merges: list[str]
    added: Mapping[int, Mapping[str, Any]]


def read_tokenizer(directory: Path) -> TokenizerFiles:
    """Read and check the tokenizer of the checkpoint in ``directory``.

    Raises:
        CheckpointError: a file is missing or damaged, or it is no byte-level BPE that llama.cpp knows.
    """
    path = directory / "tokenizer.json"
    document = read_json(path)
    settings = read_json(directory / "tokenizer_config.json")
    if document is None:
        return _from_parts(directory, settings)
    pre = recognise(document, path)
    model = document.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    merges = model.get("merges") if isinstance(model, dict) else None
    if not isinstance(vocab, dict) or not isinstance(merges, list):
        raise CheckpointError(f"{path} holds no BPE vocabulary with merges, as Qwen2's does: download it again.")
    reverse, joined = _reverse(vocab, path), [_merge(merge, path) for merge in merges]
    listed = document.get("added_tokens")
    entries = [*_declared(settings), *(listed if isinstance(listed, list) else [])]
    return TokenizerFiles(path, document, settings, pre, reverse, joined, _by_id(entries, path))


def _from_parts(directory: Path, settings: Mapping[str, Any] | None) -> TokenizerFiles:
    path, merges = directory / "vocab.json", directory / "merges.txt"
    vocab = read_json(path)
    if vocab is None or not merges.is_file():
        raise CheckpointError(
            f"{directory} has neither tokenizer.json nor vocab.json with merges.txt: download the checkpoint's "
            "tokenizer files."
        )
    named = (settings or {}).get("tokenizer_class", _CLASSES[0])
    if named not in _CLASSES:
        raise CheckpointError(
            f"{directory / 'tokenizer_config.json'} names the tokenizer {str(named)[:60]!r}, and without a "
            f"tokenizer.json only {_CLASSES[0]} can be converted: save the tokenizer as tokenizer.json."
        )
    entries = list(_declared(settings))
    if not entries:
        simple = read_json(directory / "added_tokens.json")
        entries = [{"id": index, "content": text, "special": True} for text, index in (simple or {}).items()]
    if not entries and _DEFAULT_TOKEN not in vocab:
        entries = [{"id": len(vocab), "content": _DEFAULT_TOKEN, "special": True}]
    return TokenizerFiles(path, {}, settings, "qwen2", _reverse(vocab, path), _lines(merges), _by_id(entries, path))


def _lines(path: Path) -> list[str]:
    """The merges in merges.txt; llama.cpp passes over lines that are no pair."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise CheckpointError(f"{path} is far larger than such a file can be: download it again.")
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"Cannot read {path}: download it again.") from error
    pairs = (line.split() for line in lines[1 if lines[0].startswith("#") else 0 :])
    return [" ".join(pair) for pair in pairs if len(pair) == 2]


def _reverse(vocab: Mapping[str, Any], path: Path) -> dict[int, str]:
    reverse = {}
    for text, index in vocab.items():
        if not isinstance(index, int) or index < 0:
            raise CheckpointError(f"{path} gives token {text[:40]!r} no proper id: download it again.")
        reverse[index] = text
    return reverse


def _merge(merge: Any, path: Path) -> str:
    """A merge as ``"left right"``; transformers 4.45 and later write pairs, whose spaces are then encoded."""
    if isinstance(merge, str):
        return merge
    if isinstance(merge, list) and len(merge) == 2 and all(isinstance(part, str) for part in merge):
        return " ".join(part.replace(" ", "\u0120") for part in merge)
    raise CheckpointError(f"{path} holds a merge that is no pair of tokens: download it again.")


def _declared(settings: Mapping[str, Any] | None) -> Iterator[Any]:
    """Added tokens of tokenizer_config.json, in the form of tokenizer.json."""
    declared = (settings or {}).get("added_tokens_decoder")
    for key, entry in declared.items() if isinstance(declared, dict) else ():
        yield {**entry, "id": int(key)} if key.isdecimal() and isinstance(entry, dict) else None


def _by_id(entries: list[Any], path: Path) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for entry in entries:
        index = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(index, int) or not isinstance(entry.get("content"), str):
            raise CheckpointError(f"{path} holds an added token without id or content: download it again.")
        found[index] = entry
    return found
