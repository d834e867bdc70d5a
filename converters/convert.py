"""The pass itself: a checkpoint directory becomes one quantized GGUF."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from converters import metadata as keys
from converters.checkpoint import Checkpoint, open_checkpoint
from converters.config import Config, parse_config
from converters.errors import ConversionError, DamagedFileError
from converters.ggml import FileType, GGMLType, row_size
from converters.gguf_format import Metadata, TensorInfo, align, encode_header
from converters.journal import read_journal
from converters.lanes import kernels
from converters.layout import OutputTensor, plan
from converters.padding import FeedForward, applies, pad, padded, parse_feed_forward, reason, spend
from converters.progress import Progress, Summary, Tracker, TypeShare, shares
from converters.recipe import DEFAULT_TYPES, Shape, assign
from converters.resources import available_cpus, check_memory, peak_memory
from converters.resume import Remover, fingerprint, refuse_links
from converters.slabs import SCRATCH_BYTES, Slab, SlabWriter, cut
from converters.source import LocalWeights, Weights
from converters.tokenizer import tokenizer
from converters.workers import in_threads
from converters.writer import OutputFile, check_target, journal_path
from converters.yarn import YarnChoice, settle

# Progress and Summary are part of what callers of the pass use.
__all__ = ["TYPES", "Layout", "Progress", "Summary", "convert", "lay_out", "parse_type"]

TYPES = tuple(file_type.name for file_type in FileType)


@dataclass(frozen=True)
class Layout:
    """Everything about the output that is known before a weight is read."""

    header: bytes
    tensors: tuple[tuple[OutputTensor, GGMLType, int], ...]  # with type and offset in the file
    size: int
    feed_forward: FeedForward
    notes: tuple[str, ...] = ()  # sentences that a person should see

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


def convert(  # noqa: PLR0913 - a conversion's options, by keyword
    checkpoint: str | Path,
    out: str | Path,
    type: str = "Q4_K_M",  # noqa: A002 - the word that everybody uses for it
    threads: int | None = None,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    *,
    ffn: str = "auto",
    weights: Weights | None = None,
    on_note: Callable[[str], None] | None = None,
    delete_shards: bool = False,
    yarn: float | Literal["off"] | None = None,
    yarn_context: bool = False,
) -> Summary:
    """Convert a Hugging Face Qwen2 checkpoint to a GGUF in one pass.

    Memory stays bounded by about 12 MB per thread whatever the model's size; nothing is written besides
    ``OUT.part``, which becomes ``out`` when it is complete, and its small journal. Killed at any point, the same call
    goes on where it stopped and gives the same bytes.

    Args:
        checkpoint: directory with config.json, tokenizer.json and safetensors (one file, or shards with an index).
        out: the GGUF to write.
        type: one of ``TYPES``, llama.cpp's names for mixtures.
        threads: worker threads; by default one per available CPU.
        overwrite: replace ``out`` if it exists.
        on_progress: called from the calling thread after every few MB; begins with what an earlier run finished.
        ffn: what to do about a feed-forward width that is no multiple of 256, a value of ``padding.FeedForward``.
        weights: where the safetensors files come from; by default ``checkpoint``. Closed at the end.
        on_note: gets sentences that a person should see.
        yarn: write YaRN keys for this factor, or none with ``"off"``; by default what config.json says.
        yarn_context: write the window that YaRN reaches as the model's context length.
        delete_shards: remove each safetensors file once all of it is safely in the output. The source is lost then.

    Raises:
        CheckpointError: the source cannot be converted.
        ResumableError: a failure that passes; the same call goes on.
        ConversionError: anything else that a person can put right; the message says how.
    """
    start = time.monotonic()
    file_type, mode = parse_type(type), parse_feed_forward(ffn)
    out, directory = Path(out), Path(checkpoint)
    check_target(out, overwrite=overwrite)
    threads = threads or available_cpus()
    if weights is None:
        state = read_journal(journal_path(out))
        weights = LocalWeights(directory, state.consumed if state else None)
    check_memory(threads, SCRATCH_BYTES, weights.memory)
    with closing(weights):
        source = open_checkpoint(directory, weights)
        layout = lay_out(source, file_type, mode, YarnChoice(yarn, yarn_context))
        if on_note is not None:
            for note in layout.notes:
                on_note(note)
        slabs = layout.in_source_order()
        options = {"type": file_type.name, "ffn": layout.feed_forward.value}
        conversion = fingerprint(source, layout.header, slabs, options)
        quantizers = kernels()
        if delete_shards:
            refuse_links(source, slabs)
        with OutputFile(
            out,
            layout.size,
            overwrite=overwrite,
            conversion=conversion,
            slabs=len(slabs),
            origin=weights.origin,
            on_note=on_note,
        ) as output:
            output.write_at(layout.header, 0)
            remover = Remover(source, slabs, output) if delete_shards else None
            _pass(SlabWriter(weights, output, quantizers), slabs, output, threads, on_progress, remover)
    return Summary(
        path=out,
        type=file_type.name,
        tensors=len(layout.tensors),
        weights=_weights(tensor for tensor, _, _ in layout.tensors),
        size=layout.size,
        source_size=sum(slab.source_bytes for slab in slabs),
        seconds=time.monotonic() - start,
        notes=layout.notes,
        types=layout.types(),
        peak_memory=peak_memory(),
        kernels=quantizers.description,
        feed_forward=layout.feed_forward.value,
    )


def _pass(
    quantize: SlabWriter,
    slabs: list[Slab],
    output: OutputFile,
    threads: int,
    on_progress: Callable[[Progress], None] | None,
    remover: Remover | None,
) -> None:
    """Do all slabs that the journal does not list."""
    finished = output.journal.state.done
    todo = [number for number in range(len(slabs)) if number not in finished]
    tracker = Tracker(_pieces(slabs), _pieces(slabs[number] for number in finished))
    if on_progress is not None and (before := tracker.before()) is not None:
        on_progress(before)
    weights = quantize.source
    touched = {slabs[number].source.name for number in finished}
    weights.expect((slabs[number].source for number in todo), {slab.source.name for slab in slabs} - touched)

    def work(number: int) -> int:
        quantize(slabs[number])
        return number

    try:
        for number in in_threads(work, iter(todo), threads, weights.interrupt):
            slab = slabs[number]
            output.finished(number, slab.source_bytes)
            if on_progress is not None:
                on_progress(tracker.finished(slab.source.name, slab.source_bytes, slab.tensor.name))
            if remover is not None:
                remover.look()
        weights.check()
    except DamagedFileError as error:
        # What was made of it must be made again, although it was finished.
        output.undo(number for number, slab in enumerate(slabs) if slab.source.name == error.name)
        raise
    if remover is not None:
        output.flush()
        remover.look()


def _pieces(slabs: Iterable[Slab]) -> Iterator[tuple[str, int]]:
    """Source file and bytes of each slab."""
    return ((slab.source.name, slab.source_bytes) for slab in slabs)


def parse_type(name: str) -> FileType:
    """The mixture called ``name``, in any case.

    Raises:
        ConversionError: there is no such mixture.
    """
    try:
        return FileType[name.upper()]
    except KeyError:
        raise ConversionError(f"There is no type {name!r}: choose one of {', '.join(TYPES)}.") from None


def lay_out(
    checkpoint: Checkpoint,
    file_type: FileType,
    ffn: FeedForward = FeedForward.AUTO,
    yarn: YarnChoice = YarnChoice(),  # noqa: B008 - it is frozen
) -> Layout:
    """Types, offsets and header of the output, from the checkpoint's headers alone.

    Raises:
        CheckpointError: the checkpoint does not fit together or is no Qwen2.
        ConversionError: ``yarn`` asks for something impossible.
    """
    path = checkpoint.directory / "config.json"
    config, notes = settle(parse_config(checkpoint.config, path), checkpoint.config, yarn, path)
    tensors = plan(checkpoint, config)
    taken, tensors, kinds = arrange(tensors, config, file_type, ffn)
    if applies(config.feed_forward, DEFAULT_TYPES[file_type]):
        notes += (reason(ffn, taken, config.feed_forward),)
    infos, offset = [], 0
    for tensor, kind in zip(tensors, kinds, strict=True):
        infos.append(TensorInfo(tensor.name, tensor.dims, kind, offset))
        offset += align(tensor.rows * row_size(kind, tensor.columns))
    header = encode_header(_metadata(checkpoint, config, taken, file_type), infos)
    placed = tuple((tensor, info.kind, len(header) + info.offset) for tensor, info in zip(tensors, infos, strict=True))
    return Layout(header, placed, len(header) + offset, taken, notes)


def arrange(
    tensors: list[OutputTensor], config: Config, file_type: FileType, ffn: FeedForward
) -> tuple[FeedForward, list[OutputTensor], list[GGMLType]]:
    """The mode that is taken, the tensors in their final shapes, and their types; ``AUTO`` takes the smaller file."""
    if not applies(config.feed_forward, DEFAULT_TYPES[file_type]):
        ffn = FeedForward.IDENTICAL
    if ffn is FeedForward.AUTO:
        both = [arrange(tensors, config, file_type, mode) for mode in (FeedForward.PADDED, FeedForward.IDENTICAL)]
        return min(
            both, key=lambda one: sum(t.rows * row_size(kind, t.columns) for t, kind in zip(*one[1:], strict=True))
        )
    if ffn is not FeedForward.IDENTICAL:
        tensors = pad(tensors, config.feed_forward)
    kinds = assign([Shape(tensor.name, tensor.dims) for tensor in tensors], file_type, config.layers)
    return ffn, tensors, spend(ffn, tensors, kinds)


def _metadata(checkpoint: Checkpoint, config: Config, taken: FeedForward, file_type: FileType) -> Metadata:
    metadata = Metadata()
    try:
        # The size in a model's name counts the weights that were trained, not the zeros.
        keys.general(metadata, checkpoint.directory, checkpoint.config, _weights(plan(checkpoint, config)))
        if taken is not FeedForward.IDENTICAL:
            config = replace(config, feed_forward=padded(config.feed_forward))
        keys.model(metadata, config)
        tokenizer(metadata, checkpoint.directory, checkpoint.config, config.vocabulary)
    except ValueError as error:
        raise ConversionError(f"{checkpoint.directory / 'config.json'} does not fit into a GGUF: {error}.") from error
    keys.quantization(metadata, file_type)
    return metadata


def _weights(tensors: Iterable[OutputTensor]) -> int:
    return sum(tensor.rows * tensor.columns for tensor in tensors)
