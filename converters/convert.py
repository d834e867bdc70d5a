"""The pass itself: a checkpoint directory becomes one quantized GGUF."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from converters import metadata as keys
from converters.checkpoint import Checkpoint, open_checkpoint
from converters.config import Config, parse_config
from converters.errors import ConversionError
from converters.ggml import FileType, GGMLType, row_size
from converters.gguf_format import Metadata, TensorInfo, align, encode_header
from converters.lanes import kernels
from converters.layout import OutputTensor, plan
from converters.recipe import Shape, assign
from converters.slabs import Slab, SlabWriter, SourceFiles, cut
from converters.tokenizer import tokenizer
from converters.writer import OutputFile, check_target

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

    def slabs(self) -> Iterator[Slab]:
        """All work, in file order."""
        for tensor, kind, offset in self.tensors:
            yield from cut(tensor, kind, offset)


def convert(
    checkpoint: str | Path,
    out: str | Path,
    type: str = "Q4_K_M",  # noqa: A002 - the word that everybody uses for it
    threads: int | None = None,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Convert a Hugging Face Qwen2 checkpoint to a GGUF in one pass.

    Memory stays bounded by about 12 MB per thread whatever the model's size; nothing is written besides
    ``OUT.part``, which becomes ``out`` when it is complete.

    Args:
        checkpoint: directory with config.json, tokenizer.json and safetensors (one file, or shards with an index).
        out: the GGUF to write.
        type: one of ``TYPES``, llama.cpp's names for mixtures.
        threads: worker threads; by default one per available CPU.
        overwrite: replace ``out`` if it exists.
        on_progress: called from the calling thread after every few MB.

    Raises:
        CheckpointError: the source cannot be converted.
        ConversionError: anything else that a person can put right; the message says how.
    """
    start = time.monotonic()
    file_type = parse_type(type)
    out = Path(out)
    check_target(out, overwrite=overwrite)
    source = open_checkpoint(Path(checkpoint))
    layout = lay_out(source, file_type)
    total = sum(part.nbytes for tensor, _, _ in layout.tensors for part in tensor.parts)
    done = 0
    with OutputFile(out, layout.size, overwrite=overwrite) as output, SourceFiles() as files:
        output.write_at(layout.header, 0)
        work = SlabWriter(files, output, kernels())
        for slab in _in_threads(work, layout.slabs(), threads or available_cpus()):
            done += slab.source_bytes
            if on_progress is not None:
                on_progress(Progress(done, total, slab.tensor.name))
    return Summary(
        path=out,
        type=file_type.name,
        tensors=len(layout.tensors),
        weights=_weights(tensor for tensor, _, _ in layout.tensors),
        size=layout.size,
        source_size=total,
        seconds=time.monotonic() - start,
    )


def parse_type(name: str) -> FileType:
    """The mixture called ``name``, in any case.

    Raises:
        ConversionError: there is no such mixture.
    """
    try:
        return FileType[name.upper()]
    except KeyError:
        raise ConversionError(f"There is no type {name!r}: choose one of {', '.join(TYPES)}.") from None


def lay_out(checkpoint: Checkpoint, file_type: FileType) -> Layout:
    """Types, offsets and header of the output, from the checkpoint's headers alone.

    Raises:
        CheckpointError: the checkpoint does not fit together or is no Qwen2.
    """
    config = parse_config(checkpoint.config, checkpoint.directory / "config.json")
    tensors = plan(checkpoint, config)
    kinds = assign([Shape(tensor.name, tensor.dims) for tensor in tensors], file_type, config.layers)
    infos, offset = [], 0
    for tensor, kind in zip(tensors, kinds, strict=True):
        infos.append(TensorInfo(tensor.name, tensor.dims, kind, offset))
        offset += align(tensor.rows * row_size(kind, tensor.columns))
    header = encode_header(_metadata(checkpoint, config, tensors, file_type), infos)
    placed = tuple((tensor, info.kind, len(header) + info.offset) for tensor, info in zip(tensors, infos, strict=True))
    return Layout(header, placed, len(header) + offset)


def available_cpus() -> int:
    """CPUs that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def _metadata(checkpoint: Checkpoint, config: Config, tensors: list[OutputTensor], file_type: FileType) -> Metadata:
    metadata = Metadata()
    try:
        keys.general(metadata, checkpoint.directory, checkpoint.config, _weights(tensors))
        keys.model(metadata, config)
        tokenizer(metadata, checkpoint.directory, checkpoint.config, config.vocabulary)
    except ValueError as error:
        raise ConversionError(f"{checkpoint.directory / 'config.json'} does not fit into a GGUF: {error}.") from error
    keys.quantization(metadata, file_type)
    return metadata


def _weights(tensors: Iterable[OutputTensor]) -> int:
    return sum(tensor.rows * tensor.columns for tensor in tensors)


def _in_threads(work: Callable[[Slab], Slab], slabs: Iterator[Slab], threads: int) -> Iterator[Slab]:
    """Run ``work`` on all slabs, with few of them in flight; yields finished ones, raises the first failure."""
    with ThreadPoolExecutor(threads, thread_name_prefix="quantize") as pool:
        pending: set[Future[Slab]] = set()
        try:
            for slab in slabs:
                pending.add(pool.submit(work, slab))
                if len(pending) >= 2 * threads:
                    finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            while pending:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        finally:
            # After a failure or Ctrl-C, wait only for the few slabs that are being worked on.
            pool.shutdown(cancel_futures=True)
