"""What a GGUF file or a checkpoint is, without loading it: the facts behind ``localqwen inspect``.

Texts in the facts are as they stand in the files, foreign; whoever prints them sanitizes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.blueprint import Choices, lay_out
from converters.checkpoint import Checkpoint, open_checkpoint, read_json
from converters.config import parse_config
from converters.errors import ConversionError, GGUFError
from converters.ggml import FileType
from converters.gguf_reader import Header, Tensor, Value, read_gguf
from converters.padding import BLOCK
from converters.progress import TypeShare, shares
from converters.safetensors import SourceTensor, read_header


@dataclass(frozen=True, slots=True)
class TensorFact:
    """A tensor: ``dims`` rows first; ``nbytes`` is None for a type that is not known here; ``file`` where it lies."""

    name: str
    dims: tuple[int, ...]
    type: str
    nbytes: int | None
    file: str = ""


@dataclass(frozen=True, slots=True)
class GGUFFacts:
    """A GGUF file. ``problems`` are sentences; with any, the file cannot be used as it is."""

    path: Path
    header: Header
    tensors: tuple[TensorFact, ...]
    types: tuple[TypeShare, ...]
    weights: int
    problems: tuple[str, ...]

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the architecture; importance matrices and the like have none."""
        return str(self.header.metadata.get("general.architecture", ""))

    def key(self, name: str) -> Value | None:
        """A metadata value under the architecture's name."""
        return self.header.metadata.get(f"{self.architecture}.{name}")

    @property
    def chat_template(self) -> str | None:
        """The Jinja source."""
        template = self.header.metadata.get("tokenizer.chat_template")
        return template if isinstance(template, str) else None

    @property
    def bits_per_weight(self) -> float | None:
        """Of the whole file, metadata included; None where there are no weights."""
        return self.header.size * 8 / self.weights if self.weights else None


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """A safetensors checkpoint, or one file of it (``config`` is then empty).

    ``q4_k_m`` is the size in bytes of its Q4_K_M, or None with the reason in ``obstacle``; ``notes`` are what the
    conversion would say.
    """

    path: Path
    config: Mapping[str, Any]
    tensors: tuple[TensorFact, ...]
    types: tuple[TypeShare, ...]
    parameters: int
    q4_k_m: int | None = None
    obstacle: str | None = None
    feed_forward: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def misaligned(self) -> bool:
        """Whether the feed-forward width keeps ffn_down from taking K-quants unpadded."""
        return bool(self.feed_forward and self.feed_forward % BLOCK)

    @property
    def shards(self) -> dict[str, list[TensorFact]]:
        """The tensors of each file."""
        files: dict[str, list[TensorFact]] = {}
        for tensor in self.tensors:
            files.setdefault(tensor.file, []).append(tensor)
        return files


def inspect(path: Path) -> GGUFFacts | CheckpointFacts:
    """Look at a GGUF file, a checkpoint's folder, or one safetensors file.

    Raises:
        ConversionError: it is none of these, or damaged so that nothing can be said about it.
    """
    if path.is_dir():
        return inspect_checkpoint(path)
    if path.suffix == ".safetensors" and path.is_file():
        tensors = read_header(path)
        return CheckpointFacts(path, {}, *_source_facts(tensors.values()))
    return inspect_gguf(path)


def inspect_gguf(path: Path) -> GGUFFacts:
    """Look at a GGUF file's header, and at whether the file holds what its header describes.

    Raises:
        GGUFError: the header cannot be read.
    """
    header = read_gguf(path)
    tensors = tuple(_gguf_fact(tensor) for tensor in header.tensors)
    return GGUFFacts(
        path=path,
        header=header,
        tensors=tensors,
        types=shares((tensor.type, tensor.nbytes or 0) for tensor in tensors),
        weights=sum(tensor.weights for tensor in header.tensors),
        problems=tuple(_problems(header, tensors)),
    )


def inspect_checkpoint(folder: Path) -> CheckpointFacts:
    """Look at a checkpoint: config, tensors, and what a conversion would make of it.

    Raises:
        ConversionError: config.json or the safetensors files are missing or damaged.
    """
    if not (folder / "config.json").exists() and any(folder.glob("*.gguf")):
        raise GGUFError(f"{folder} holds GGUF files and no checkpoint: name one of the files.")
    try:
        checkpoint = open_checkpoint(folder)
    except ConversionError as error:
        # One that is quantized already, for one, is worth a look all the same.
        config = read_json(folder / "config.json")
        if config is None or "quantization_config" not in config:
            raise
        return CheckpointFacts(folder, config, (), (), 0, obstacle=str(error))
    facts = CheckpointFacts(folder, checkpoint.config, *_source_facts(checkpoint.tensors.values()))
    facts = replace(facts, feed_forward=_feed_forward(checkpoint))
    try:
        layout = lay_out(checkpoint, Choices(FileType.Q4_K_M))
        return replace(facts, q4_k_m=layout.size, notes=layout.notes)
    except ConversionError as error:
        return replace(facts, obstacle=str(error))
    finally:
        checkpoint.weights.close()


def _feed_forward(checkpoint: Checkpoint) -> int | None:
    try:
        return parse_config(checkpoint.config, checkpoint.directory / "config.json").feed_forward
    except ConversionError:
        return None


def _source_facts(
    tensors: Iterable[SourceTensor],
) -> tuple[tuple[TensorFact, ...], tuple[TypeShare, ...], int]:
    """The tensors in the order of their files, their types, and how many parameters they have."""
    ordered = sorted(tensors, key=lambda tensor: (tensor.path.name, tensor.offset))
    facts = tuple(
        TensorFact(tensor.name, tensor.shape, tensor.dtype, tensor.nbytes, tensor.path.name) for tensor in ordered
    )
    return facts, shares((fact.type, fact.nbytes or 0) for fact in facts), sum(_product(fact.dims) for fact in facts)


def _product(dims: tuple[int, ...]) -> int:
    product = 1
    for size in dims:
        product *= size
    return product


def _gguf_fact(tensor: Tensor) -> TensorFact:
    import gguf  # knows all of ggml's types

    try:
        kind = gguf.GGMLQuantizationType(tensor.kind)
    except ValueError:
        return TensorFact(tensor.name, tensor.dims, f"type {tensor.kind}", None)
    block, nbytes = gguf.GGML_QUANT_SIZES[kind]
    columns = tensor.dims[-1] if tensor.dims else 1
    size = tensor.weights // block * nbytes if columns % block == 0 else None
    return TensorFact(tensor.name, tensor.dims, kind.name, size)


def _problems(header: Header, tensors: tuple[TensorFact, ...]) -> Iterable[str]:
    end, last = header.data, "the header"
    for tensor, fact in sorted(zip(header.tensors, tensors, strict=True), key=lambda pair: pair[0].offset):
        start = header.data + tensor.offset
        if tensor.offset % header.alignment:
            yield f"Tensor {tensor.name!r} does not begin where the alignment of {header.alignment} wants it."
        if start < end:
            yield f"Tensor {tensor.name!r} overlaps {last}."
        if fact.nbytes is None and not fact.type.startswith("type "):
            yield f"Tensor {tensor.name!r} has rows of {tensor.dims[-1]} weights, which {fact.type} cannot hold."
        end, last = start + (fact.nbytes or 0), repr(tensor.name)
    if end > header.size:
        missing = (end - header.size) / 1e6
        yield f"The file is cut off, {missing:,.1f} MB are missing: copy, download or convert it again."
