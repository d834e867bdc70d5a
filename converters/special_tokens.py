"""Which tokens begin, end and pad a text, and whether llama.cpp shall add them.

The rules of ``SpecialVocab`` in llama.cpp's ``gguf-py/gguf/vocab.py``, as far as byte-level BPE tokenizers need them:
tokenizer.json's post-processor decides what is added, tokenizer_config.json names the tokens, config.json fills in
ids that are still missing. The order in which ids are found is the order in which they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


@dataclass
class SpecialTokens:
    """Ids by kind ("bos", "eos", ...) and whether a kind is added to every text, both in file order."""

    ids: dict[str, int] = field(default_factory=dict)
    add: dict[str, bool] = field(default_factory=dict)


def special_tokens(
    document: Mapping[str, Any], settings: Mapping[str, Any] | None, config: Mapping[str, Any]
) -> SpecialTokens:
    """Collect them from tokenizer.json, tokenizer_config.json (None if there is none) and config.json."""
    found = SpecialTokens()
    texts = {kind: _content((settings or {}).get(f"{kind}_token")) for kind in KINDS}
    for processor in _processors(document.get("post_processor")):
        if processor.get("type") == "ByteLevel":
            found.add.setdefault("bos", False)
            found.add.setdefault("eos", False)
        elif processor.get("type") == "TemplateProcessing":
            _template(found, texts, processor.get("single"))
    if settings is not None:
        _from_settings(found, texts, document, settings)
    for kind in KINDS:
        index = config.get(f"{kind}_token_id")
        if isinstance(index, int) and not isinstance(index, bool):
            found.ids.setdefault(kind, index)
    return found


def _from_settings(
    found: SpecialTokens, texts: Mapping[str, str | None], document: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    listed = document.get("added_tokens")
    ids: dict[str, int] = {}
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("id"), int) and isinstance(entry.get("content"), str):
            ids.setdefault(entry["content"], entry["id"])
    for kind in KINDS:
        wanted = settings.get(f"add_{kind}_token")
        if isinstance(wanted, bool):
            found.add.setdefault(kind, wanted)
        text = texts[kind]
        if text is not None and text in ids:
            found.ids.setdefault(kind, ids[text])


def _template(found: SpecialTokens, texts: Mapping[str, str | None], single: Any) -> None:
    """A template for one sequence that starts with bos or ends with eos asks for them to be added."""
    if not isinstance(single, list) or len(single) < 2:
        return
    first, last = _special_id(single[0]), _special_id(single[-1])
    if first is not None:
        found.add["bos"] = first in (texts["bos"], texts["cls"])
    if last is not None:
        found.add["eos"] = last == texts["eos"]


def _special_id(step: Any) -> str | None:
    special = step.get("SpecialToken") if isinstance(step, dict) else None
    index = special.get("id") if isinstance(special, dict) else None
    return index if isinstance(index, str) else None


def _processors(post_processor: Any) -> list[Mapping[str, Any]]:
    if not isinstance(post_processor, dict):
        return []
    processors = post_processor.get("processors", [post_processor])
    return [item for item in processors if isinstance(item, dict)] if isinstance(processors, list) else []


def _content(entry: Any) -> str | None:
    text = entry.get("content") if isinstance(entry, dict) else entry
    return text if isinstance(text, str) else None
