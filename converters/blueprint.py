"""Everything about the output that is known before a weight is read: types, offsets, header."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from converters import metadata as keys
from converters.checkpoint import Checkpoint
from converters.config import Config, parse_config
from converters.errors import ConversionError
from converters.ggml import FileType, GGMLType, row_size
from converters.gguf_format import Metadata, TensorInfo, align, encode_header
from converters.imatrix import ImportanceMatrix
from converters.importance import weigh
from converters.intermediate import intermediate
from converters.layout import OutputTensor, Parameters, count, plan
from converters.padding import FeedForward, applies, pad, padded, reason, spend
from converters.progress import TypeShare, shares
from converters.quantize import Float32
from converters.recipe import DEFAULT_TYPES, Shape, assign
from converters.slabs import Slab, cut
from converters.tokenizer import tokenizer
from converters.yarn import YarnChoice, settle


@dataclass(frozen=True)
class Choices:
    """What decides the output's bytes, besides the checkpoint.

    ``identical`` asks for llama.cpp's bytes even where they do harm.
    """

    file_type: FileType
    ffn: FeedForward = FeedForward.AUTO
    yarn: YarnChoice = field(default_factory=YarnChoice)
    matrix: ImportanceMatrix | None = None
    identical: bool = False


@dataclass(frozen=True)
class Blueprint:
    """The output before it is made. ``notes`` are sentences that a person should see."""

    header: bytes
    tensors: tuple[tuple[OutputTensor, GGMLType, int], ...]  # with type and offset in the file
    size: int
    vocabulary: int  # rows of the embedding
    feed_forward: FeedForward
    through: GGMLType  # what matrices are rounded to before they are quantized
    importance: Mapping[str, Float32]
    notes: tuple[str, ...]

    def types(self) -> tuple[TypeShare, ...]:
        """How many tensors have which type, and what they take."""
        return shares((kind.name, tensor.rows * row_size(kind, tensor.columns)) for tensor, kind, _ in self.tensors)

    def slabs(self) -> Iterator[Slab]:
        """All work, in file order."""
        for tensor, kind, offset in self.tensors:
            yield from cut(tensor, kind, offset)

    def in_source_order(self) -> list[Slab]:
        """All work in the order of the source: file by file, each from its beginning to its end.

        A disk reads that fastest, a download can be hashed on the way, and files are done with one after the other.
        """
        return sorted(self.slabs(), key=lambda slab: slab.source)


def lay_out(checkpoint: Checkpoint, choices: Choices) -> Blueprint:
    """Types, offsets and header of the output, from the checkpoint's headers alone.

    Raises:
        CheckpointError: the checkpoint does not fit together or is no Qwen2.
        ConversionError: the choices ask for something impossible, or the importance matrix is another model's.
    """
    path = checkpoint.directory / "config.json"
    config, notes = settle(parse_config(checkpoint.config, path), checkpoint.config, choices.yarn, path)
    tensors = plan(checkpoint, config)
    weights = count(tensors)
    taken, tensors, kinds = arrange(tensors, config, choices)
    if _has_choice(config, choices.file_type):
        notes += (reason(choices.ffn, taken, config.feed_forward),)
    importance: dict[str, Float32] = {}
    if choices.matrix is not None:
        pairs = zip(tensors, kinds, strict=True)
        importance, more = weigh(choices.matrix, pairs, identical=choices.identical)
        notes += more
    if all(tensor.dtype == "F32" for tensor in checkpoint.tensors.values()):
        notes += ("The checkpoint is float32: its weights go through float16, as in llama.cpp's own converter.",)
    if taken is not FeedForward.IDENTICAL:
        config = replace(config, feed_forward=padded(config.feed_forward))
    infos, offset = [], 0
    for tensor, kind in zip(tensors, kinds, strict=True):
        infos.append(TensorInfo(tensor.name, tensor.dims, kind, offset))
        offset += align(tensor.rows * row_size(kind, tensor.columns))
    header = encode_header(_metadata(checkpoint, config, weights, choices), infos)
    placed = tuple((tensor, info.kind, len(header) + info.offset) for tensor, info in zip(tensors, infos, strict=True))
    through = intermediate(checkpoint.tensors.values())
    return Blueprint(header, placed, len(header) + offset, config.vocabulary, taken, through, importance, notes)


def arrange(
    tensors: list[OutputTensor], config: Config, choices: Choices
) -> tuple[FeedForward, list[OutputTensor], list[GGMLType]]:
    """The mode that is taken, the tensors in their final shapes, and their types; ``AUTO`` takes the smaller file."""
    mode = choices.ffn
    if not _has_choice(config, choices.file_type) or (mode is FeedForward.AUTO and choices.identical):
        mode = FeedForward.IDENTICAL
    if mode is FeedForward.AUTO:
        modes = (FeedForward.PADDED, FeedForward.IDENTICAL)
        return min((arrange(tensors, config, replace(choices, ffn=one)) for one in modes), key=_nbytes)
    if mode is not FeedForward.IDENTICAL:
        tensors = pad(tensors, config.feed_forward)
    kinds = assign(
        [Shape(tensor.name, tensor.dims) for tensor in tensors],
        choices.file_type,
        config.layers,
        experts=config.experts.count if config.experts else 0,
        importance=choices.matrix is not None,
    )
    return mode, tensors, spend(mode, tensors, kinds)


def _has_choice(config: Config, file_type: FileType) -> bool:
    # Experts have widths of their own, which are not padded.
    return config.experts is None and applies(config.feed_forward, DEFAULT_TYPES[file_type])


def _nbytes(arranged: tuple[FeedForward, list[OutputTensor], list[GGMLType]]) -> int:
    _, tensors, kinds = arranged
    return sum(tensor.rows * row_size(kind, tensor.columns) for tensor, kind in zip(tensors, kinds, strict=True))


def _metadata(checkpoint: Checkpoint, config: Config, weights: Parameters, choices: Choices) -> Metadata:
    """All keys; ``weights`` are those that were trained, without padding: a model's name counts them."""
    metadata = Metadata()
    try:
        keys.general(metadata, config.architecture, checkpoint.directory, checkpoint.config, weights)
        keys.model(metadata, config)
        tokenizer(metadata, checkpoint.directory, checkpoint.config, config.vocabulary)
    except ValueError as error:
        raise ConversionError(f"{checkpoint.directory / 'config.json'} does not fit into a GGUF: {error}.") from error
    keys.quantization(metadata, choices.file_type)
    if choices.matrix is not None:
        keys.importance(metadata, choices.matrix)
    return metadata
