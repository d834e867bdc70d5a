"""Which of llama.cpp's pre-tokenizers a tokenizer.json describes.

llama.cpp splits text with built-in expressions that the GGUF only names (``tokenizer.ggml.pre``). A wrong name gives
other tokens than the model was trained on and worse answers without any error, so anything unknown is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters.errors import CheckpointError

# Qwen2's own split expression, the same in Qwen1.5, Qwen2 and Qwen2.5.
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def recognise(document: Mapping[str, Any], path: Path) -> str:
    """The name for ``tokenizer.ggml.pre``: "qwen2", or "smollm" (the demo model's).

    ``document`` is tokenizer.json at ``path``. Qwen2 normalizes to NFC; llama.cpp does not, which is left to whoever
    tokenizes.

    Raises:
        CheckpointError: no pre-tokenizer that llama.cpp has for Qwen2 models.
    """
    steps = _steps(document.get("pre_tokenizer"))
    normalizer = _normalizer(document)
    if len(steps) == 2:
        split, bytes_ = steps
        if _is_qwen2_split(split) and _byte_level(bytes_, use_regex=False) and normalizer in (None, "NFC"):
            return "qwen2"
        if _is_single_digits(split) and _byte_level(bytes_, use_regex=True) and normalizer is None:
            return "smollm"
    raise CheckpointError(
        f"{path} splits text in a way that is not Qwen2's, and llama.cpp would tokenize it wrongly: "
        "use the original model's tokenizer.json."
    )


def _steps(pre_tokenizer: Any) -> list[Mapping[str, Any]]:
    if not isinstance(pre_tokenizer, dict):
        return []
    steps = pre_tokenizer.get("pretokenizers") if pre_tokenizer.get("type") == "Sequence" else [pre_tokenizer]
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        return []
    return steps


def _is_qwen2_split(step: Mapping[str, Any]) -> bool:
    return (
        step.get("type") == "Split"
        and step.get("pattern") == {"Regex": QWEN2_SPLIT}
        and step.get("behavior") == "Isolated"
        and step.get("invert", False) is False
    )


def _is_single_digits(step: Mapping[str, Any]) -> bool:
    return step.get("type") == "Digits" and step.get("individual_digits") is True


def _byte_level(step: Mapping[str, Any], *, use_regex: bool) -> bool:
    return (
        step.get("type") == "ByteLevel"
        and step.get("add_prefix_space") is False
        and step.get("use_regex", True) is use_regex
    )


def _normalizer(document: Mapping[str, Any]) -> str | None:
    normalizer = document.get("normalizer")
    if normalizer is None:
        return None
    kind = normalizer.get("type") if isinstance(normalizer, dict) else None
    return str(kind)
