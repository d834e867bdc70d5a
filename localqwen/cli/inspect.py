"""``localqwen inspect``: what a GGUF file or a checkpoint is, without loading it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localqwen.cli import printable
from localqwen.errors import LocalqwenError

if TYPE_CHECKING:
    from converters.gguf_reader import Value
    from converters.progress import TypeShare
    from localqwen.inspection import CheckpointFacts, GGUFFacts, TensorFact

# What a line shows of a foreign text, how many lines of config.json, and how many problems.
_WIDTH = 100
_LINES = 200
_PROBLEMS = 10


@click.command(short_help="Show what a GGUF or a checkpoint holds.")
@click.argument("target", type=click.Path(path_type=Path), metavar="FILE_OR_FOLDER")
@click.option("--tensors", "with_tensors", is_flag=True, help="List every tensor.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def command(*, target: Path, with_tensors: bool, as_json: bool) -> None:
    """Show what a GGUF file or a safetensors checkpoint holds; nothing is loaded, whatever the size.

    FILE_OR_FOLDER is a GGUF (the name of an installed one will do), a checkpoint's folder, or a safetensors file. The
    exit code is 1 for a file that is damaged or cut off.
    """
    from converters.errors import ConversionError
    from localqwen.inspection import GGUFFacts, inspect
    from localqwen.library import find_installed

    if not target.exists() and (installed := find_installed(str(target))) is not None:
        target = installed
    try:
        facts = inspect(target)
    except ConversionError as error:
        raise LocalqwenError(str(error)) from error
    if isinstance(facts, GGUFFacts):
        fields, lines, problems = gguf_fields(facts), gguf_lines(facts), facts.problems
    else:
        fields, lines, problems = checkpoint_fields(facts), checkpoint_lines(facts), ()
    if as_json:
        if with_tensors:
            fields["tensor_table"] = [_tensor_fields(tensor) for tensor in facts.tensors]
        click.echo(json.dumps(fields))
    else:
        for line in lines:
            click.echo(line)
        for line in _table(facts.tensors) if with_tensors else ():
            click.echo(line)
    for problem in problems[:_PROBLEMS]:
        click.echo(f"localqwen: {_cut(problem, 3 * _WIDTH)}", err=True)
    if problems:
        raise SystemExit(1)


def gguf_fields(facts: GGUFFacts) -> dict[str, Any]:
    """A GGUF as ``--json`` shows it; long arrays are cut to their first values."""
    return {
        "kind": "gguf",
        "path": str(facts.path),
        "version": facts.header.version,
        "size": facts.header.size,
        "architecture": facts.architecture,
        "tensors": len(facts.tensors),
        "weights": facts.weights,
        "bits_per_weight": _rounded(facts.bits_per_weight),
        "types": _type_fields(facts.types),
        "metadata": {key: _plain(value) for key, value in facts.header.metadata.items()},
        "problems": list(facts.problems),
    }


def checkpoint_fields(facts: CheckpointFacts) -> dict[str, Any]:
    """A checkpoint as ``--json`` shows it."""
    shards = {
        file: {"tensors": len(tensors), "bytes": sum(tensor.nbytes or 0 for tensor in tensors)}
        for file, tensors in facts.shards.items()
    }
    return {
        "kind": "checkpoint",
        "path": str(facts.path),
        "tensors": len(facts.tensors),
        "parameters": facts.parameters,
        "types": _type_fields(facts.types),
        "shards": shards,
        "q4_k_m_size": facts.q4_k_m,
        "obstacle": facts.obstacle,
        "feed_forward": facts.feed_forward,
        "feed_forward_misaligned": facts.misaligned,
        "notes": list(facts.notes),
        "config": dict(facts.config),
    }


def gguf_lines(facts: GGUFFacts) -> Iterator[str]:
    """A GGUF as a person reads it, free of control characters."""
    kind = facts.architecture or str(facts.header.metadata.get("general.type", "no model"))
    bits = "" if facts.bits_per_weight is None else f", {facts.bits_per_weight:.2f} bits per weight"
    yield (
        f"{_cut(str(facts.path), 500)}: GGUF version {facts.header.version} ({_cut(kind)}), "
        f"{_size(facts.header.size)}, {facts.weights / 1e6:,.1f} million weights{bits}"
    )
    if (window := _window(facts)) is not None:
        yield f"window: {window}"
    yield f"tensors: {len(facts.tensors)} ({_types(facts.types)})"
    yield "metadata:"
    for key, value in facts.header.metadata.items():
        if key != "tokenizer.chat_template":
            yield f"  {_cut(key)} = {_shown(value)}"
    if facts.chat_template is not None:
        yield "chat template:"
        yield from (f"  {line}" for line in printable(facts.chat_template).split("\n"))


def checkpoint_lines(facts: CheckpointFacts) -> Iterator[str]:
    """A checkpoint as a person reads it, free of control characters."""
    yield (
        f"{_cut(str(facts.path), 500)}: safetensors, {_size(sum(share.nbytes for share in facts.types))}, "
        f"{facts.parameters / 1e6:,.1f} million parameters"
    )
    if facts.q4_k_m is not None:
        bits = facts.q4_k_m * 8 / facts.parameters
        yield f"as Q4_K_M: {_size(facts.q4_k_m)}, {bits:.2f} bits per weight"
    elif facts.obstacle is not None:
        yield f"cannot be converted: {_cut(facts.obstacle, 5 * _WIDTH)}"
    if facts.feed_forward is not None:
        fit = "no multiple of 256" if facts.misaligned else "a multiple of 256"
        yield f"feed-forward width: {facts.feed_forward}, {fit}"
    for note in facts.notes:
        yield f"note: {_cut(note, 5 * _WIDTH)}"
    yield f"tensors: {len(facts.tensors)} ({_types(facts.types)})"
    yield "files:"
    for file, tensors in facts.shards.items():
        yield f"  {_cut(file)}: {len(tensors)} tensors, {_size(sum(tensor.nbytes or 0 for tensor in tensors))}"
    if facts.config:
        yield "config:"
    for key, value in islice(facts.config.items(), _LINES):
        yield f"  {_cut(key)} = {_cut(json.dumps(value, ensure_ascii=False))}"
    if len(facts.config) > _LINES:
        yield f"  and {len(facts.config) - _LINES} more"


def _window(facts: GGUFFacts) -> str | None:
    context = facts.key("context_length")
    if not isinstance(context, int):
        return None
    kind, factor = facts.key("rope.scaling.type"), facts.key("rope.scaling.factor")
    original = facts.key("rope.scaling.original_context_length")
    if kind is None or not isinstance(factor, float) or not math.isfinite(factor):
        return f"{context} tokens, no YaRN"
    reach = f", to {original * factor:.0f} tokens" if isinstance(original, int) else ""
    return f"{context} tokens, {_cut(str(kind))} by {factor:g} from {_shown(original or 'an unknown number')}{reach}"


def _table(tensors: Sequence[TensorFact]) -> Iterator[str]:
    width = max((len(_cut(tensor.name)) for tensor in tensors), default=0)
    for tensor in tensors:
        dims = " x ".join(map(str, tensor.dims)) or "a number"
        size = "?" if tensor.nbytes is None else f"{tensor.nbytes:,} bytes"
        where = f"  {_cut(tensor.file)}" if tensor.file else ""
        yield f"  {_cut(tensor.name):{width}}  {tensor.type:5}  {dims:>15}  {size:>19}{where}"


def _tensor_fields(tensor: TensorFact) -> dict[str, Any]:
    fields = {"name": tensor.name, "shape": list(tensor.dims), "type": tensor.type, "bytes": tensor.nbytes}
    return fields | ({"file": tensor.file} if tensor.file else {})


def _type_fields(types: Sequence[TypeShare]) -> Mapping[str, dict[str, int]]:
    return {share.type: {"tensors": share.tensors, "bytes": share.nbytes} for share in types}


def _types(types: Sequence[TypeShare]) -> str:
    return ", ".join(f"{share.tensors} {_cut(share.type)} {share.nbytes / 1e6:,.1f} MB" for share in types) or "none"


def _shown(value: Value) -> str:
    from converters.gguf_reader import Array

    if isinstance(value, float):
        return f"{value:.7g}"  # a float32 has no more digits that mean something
    if not isinstance(value, Array):
        return _cut(str(value))
    first = ", ".join(_cut(str(item), 20) for item in value.first)
    return f"{value.count} {value.type}: {first}{', …' if value.count > len(value.first) else ''}"


def _plain(value: Value) -> Any:
    from converters.gguf_reader import Array

    if isinstance(value, Array):
        return {"array": value.type, "count": value.count, "first": [_plain(item) for item in value.first]}
    # JSON knows no NaN and no infinity.
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _cut(text: str, width: int = _WIDTH) -> str:
    """A foreign text on one line: no control characters, no more than ``width`` of the rest."""
    line = re.sub(r"[\n\t]", " ", printable(text[: width + 1]))
    return line if len(text) <= width else f"{line[:width]}…"


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e9:.2f} GB" if nbytes >= 1e8 else f"{nbytes / 1e6:.2f} MB"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
