"""The pass itself: a checkpoint directory becomes one quantized GGUF."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from converters import metadata as keys
from converters.checkpoint import Checkpoint, open_checkpoint
from converters.config import Config, parse_config
from converters.errors import ConversionError, DamagedFileError
from converters.ggml import FileType, GGMLType, row_size
from converters.gguf_format import Metadata, TensorInfo, align, encode_header
from converters.imatrix import ImportanceMatrix, read_imatrix
from converters.importance import weigh
from converters.intermediate import intermediate
from converters.journal import read_journal
from converters.lanes import kernels
from converters.layout import OutputTensor, count, plan
from converters.proof import Proof
from converters.quantize import Float32
from converters.recipe import Shape, assign
from converters.resources import available_cpus, check_memory
from converters.resume import Remover, fingerprint, refuse_links
from converters.slabs import SCRATCH_BYTES, Slab, SlabWriter, cut
from converters.source import LocalWeights, Weights
from converters.tokenizer import tokenizer
from converters.workers import in_threads
from converters.writer import OutputFile, check_target, journal_path

TYPES = tuple(file_type.name for file_type in FileType)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a conversion is, in bytes of the checkpoint; ``tensor`` is the GGUF's name of the one just worked on."""

    done: int
    total: int
    tensor: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What a conversion made: ``size`` and ``source_size`` in bytes, ``weights`` in number."""

    path: Path
    type: str
    tensors: int
    weights: int
    size: int
    source_size: int
    seconds: float

    @property
    def bits_per_weight(self) -> float:
        """Of the whole file, metadata included."""
        return self.size * 8 / self.weights


@dataclass(frozen=True)
class Layout:
    """Everything about the output that is known before a weight is read."""

    header: bytes
    tensors: tuple[tuple[OutputTensor, GGMLType, int], ...]  # with type and offset in the file
    size: int
    vocabulary: int  # rows of the embedding
    through: GGMLType  # what matrices are rounded to before they are quantized
    importance: Mapping[str, Float32] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # sentences that a person should see

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
    weights: Weights | None = None,
    on_note: Callable[[str], None] | None = None,
    delete_shards: bool = False,
    imatrix: str | Path | None = None,
    identical: bool = False,
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
        weights: where the safetensors files come from; by default ``checkpoint``. Closed at the end.
        on_note: gets sentences that a person should see.
        delete_shards: remove each safetensors file once all of it is safely in the output. The source is lost then.
        imatrix: an importance matrix, in either of llama.cpp's forms; its name goes into the GGUF as it is given.
        identical: give llama.cpp's bytes even where they do harm: keep importances that turn weights into zeros.

    Raises:
        CheckpointError: the source cannot be converted.
        ResumableError: a failure that passes; the same call goes on.
        ConversionError: anything else that a person can put right; the message says how.
    """
    start = time.monotonic()
    file_type = parse_type(type)
    out, directory = Path(out), Path(checkpoint)
    check_target(out, overwrite=overwrite)
    threads = threads or available_cpus()
    if weights is None:
        state = read_journal(journal_path(out))
        weights = LocalWeights(directory, state.consumed if state else None)
    matrix = read_imatrix(str(imatrix)) if imatrix is not None else None
    check_memory(threads, SCRATCH_BYTES, weights.memory + (matrix.nbytes if matrix else 0))
    with closing(weights):
        source = open_checkpoint(directory, weights)
        layout = lay_out(source, file_type, matrix, identical=identical)
        if on_note is not None:
            for note in layout.notes:
                on_note(note)
        slabs = layout.in_source_order()
        options = {"type": file_type.name}
        if matrix is not None:
            options |= {"imatrix": matrix.digest, "identical": str(identical)}
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
            writer = SlabWriter(weights, output, quantizers, layout.through, layout.importance)
            with Proof(output.part, directory, layout.vocabulary) as proof:
                _pass(writer, slabs, output, threads, on_progress, remover=remover, proof=proof)
    return Summary(
        path=out,
        type=file_type.name,
        tensors=len(layout.tensors),
        weights=_weights(tensor for tensor, _, _ in layout.tensors),
        size=layout.size,
        source_size=sum(slab.source_bytes for slab in slabs),
        seconds=time.monotonic() - start,
    )


def _pass(
    quantize: SlabWriter,
    slabs: list[Slab],
    output: OutputFile,
    threads: int,
    on_progress: Callable[[Progress], None] | None,
    *,
    remover: Remover | None,
    proof: Proof,
) -> None:
    """Do all slabs that the journal does not list."""
    total = sum(slab.source_bytes for slab in slabs)
    todo = [number for number in range(len(slabs)) if number not in output.journal.state.done]
    done = total - sum(slabs[number].source_bytes for number in todo)
    if done and on_progress is not None:
        on_progress(Progress(done, total, ""))
    weights = quantize.source
    touched = {slabs[number].source.name for number in output.journal.state.done}
    weights.expect((slabs[number].source for number in todo), {slab.source.name for slab in slabs} - touched)

    def work(number: int) -> int:
        quantize(slabs[number])
        return number

    try:
        for number in in_threads(work, iter(todo), threads, weights.interrupt):
            slab = slabs[number]
            output.finished(number, slab.source_bytes)
            done += slab.source_bytes
            if on_progress is not None:
                on_progress(Progress(done, total, slab.tensor.name))
            proof.check()
            if remover is not None:
                remover.look()
        weights.check()
        proof.check(wait=True)
    except DamagedFileError as error:
        # What was made of it must be made again, although it was finished.
        output.undo(number for number, slab in enumerate(slabs) if slab.source.name == error.name)
        raise
    if remover is not None:
        output.flush()
        remover.look()


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
    checkpoint: Checkpoint, file_type: FileType, matrix: ImportanceMatrix | None = None, *, identical: bool = False
) -> Layout:
    """Types, offsets and header of the output, from the checkpoint's headers alone.

    Raises:
        CheckpointError: the checkpoint does not fit together or is no Qwen2.
        ConversionError: ``matrix`` was made for another model.
    """
    config = parse_config(checkpoint.config, checkpoint.directory / "config.json")
    tensors = plan(checkpoint, config)
    experts = config.experts.count if config.experts else 0
    shapes = [Shape(tensor.name, tensor.dims) for tensor in tensors]
    kinds = assign(shapes, file_type, config.layers, experts=experts, importance=matrix is not None)
    infos, offset = [], 0
    for tensor, kind in zip(tensors, kinds, strict=True):
        infos.append(TensorInfo(tensor.name, tensor.dims, kind, offset))
        offset += align(tensor.rows * row_size(kind, tensor.columns))
    importance: dict[str, Float32] = {}
    notes: tuple[str, ...] = ()
    if matrix is not None:
        importance, notes = weigh(matrix, zip(tensors, kinds, strict=True), identical=identical)
    metadata = _metadata(checkpoint, config, tensors, file_type)
    if matrix is not None:
        keys.importance(metadata, matrix)
    header = encode_header(metadata, infos)
    placed = tuple((tensor, info.kind, len(header) + info.offset) for tensor, info in zip(tensors, infos, strict=True))
    through = intermediate(checkpoint.tensors.values())
    if all(tensor.dtype == "F32" for tensor in checkpoint.tensors.values()):
        notes = (*notes, "The checkpoint is float32: its weights go through float16, as in llama.cpp's own converter.")
    return Layout(header, placed, len(header) + offset, config.vocabulary, through, importance, notes)


def _metadata(checkpoint: Checkpoint, config: Config, tensors: list[OutputTensor], file_type: FileType) -> Metadata:
    metadata = Metadata()
    try:
        keys.general(metadata, config.architecture, checkpoint.directory, checkpoint.config, count(tensors))
        keys.model(metadata, config)
        tokenizer(metadata, checkpoint.directory, checkpoint.config, config.vocabulary)
    except ValueError as error:
        raise ConversionError(f"{checkpoint.directory / 'config.json'} does not fit into a GGUF: {error}.") from error
    keys.quantization(metadata, file_type)
    return metadata


def _weights(tensors: Iterable[OutputTensor]) -> int:
    return sum(tensor.rows * tensor.columns for tensor in tensors)
