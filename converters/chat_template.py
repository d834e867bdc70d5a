"""The chat template's part of the GGUF: in tokenizer_config.json, or in files beside it.

The order of places and the names of keys are llama.cpp's (``SpecialVocab`` in ``gguf-py/gguf/vocab.py``,
``GGUFWriter.add_chat_template``). Its order of several named templates changes from run to run; here they are sorted as
they come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.checkpoint import MAX_JSON, read_json
from converters.errors import CheckpointError
from converters.gguf_format import Metadata


def chat_template(metadata: Metadata, directory: Path, settings: Mapping[str, Any] | None) -> None:
    """The template of tokenizer_config.json (``settings``), else chat_template.jinja, else chat_template.json.

    Several named templates become ``tokenizer.chat_template.NAME``; the one called "default" gets the plain key.
    Without a tokenizer_config.json there is none.

    Raises:
        CheckpointError: a template file cannot be read.
    """
    if settings is None:
        return
    template = settings.get("chat_template", _files(directory))
    if isinstance(template, str):
        metadata.string("tokenizer.chat_template", template)
    elif isinstance(template, list):
        _named(metadata, template)


def _named(metadata: Metadata, templates: Sequence[Any]) -> None:
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
        metadata.strings("tokenizer.chat_templates", list(dict.fromkeys(names)))
    if default is not None:
        metadata.string("tokenizer.chat_template", default)


def _files(directory: Path) -> Any:
    """What the template files say: a text, or a list of named texts."""
    jinja = directory / "chat_template.jinja"
    if not jinja.is_file():
        return (read_json(directory / "chat_template.json") or {}).get("chat_template")
    more = sorted((directory / "additional_chat_templates").glob("*.jinja"))
    if not more:
        return _read(jinja)
    named = [("default", jinja), *((path.stem, path) for path in more)]
    return [{"name": name, "template": _read(path)} for name, path in named]


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_JSON:
            raise CheckpointError(f"{path} is far larger than such a file can be: download it again.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"Cannot read {path}: download it again.") from error
