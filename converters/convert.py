"""The pass itself: a checkpoint directory becomes one quantized GGUF."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

from converters.blueprint import Choices, lay_out
from converters.checkpoint import open_checkpoint
from converters.errors import ConversionError, DamagedFileError
from converters.ggml import FileType
from converters.imatrix import read_imatrix
from converters.journal import read_journal
from converters.lanes import kernels
from converters.layout import count
from converters.padding import parse_feed_forward
from converters.progress import Progress, Summary, Tracker
from converters.proof import Proof
from converters.resources import available_cpus, check_memory, peak_memory
from converters.resume import Remover, fingerprint, refuse_links
from converters.slabs import SCRATCH_BYTES, Slab, SlabWriter
from converters.source import LocalWeights, Weights
from converters.workers import in_threads
from converters.writer import OutputFile, check_target, journal_path
from converters.yarn import YarnChoice

# Progress and Summary are part of what callers of the pass use.
__all__ = ["TYPES", "Progress", "Summary", "convert", "parse_type"]

TYPES = tuple(file_type.name for file_type in FileType)


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
    imatrix: str | Path | None = None,
    identical: bool = False,
    match_local: bool = False,
) -> Summary:
    """Convert a Hugging Face Qwen2 checkpoint to a GGUF in one pass.

    Memory stays bounded by about 16 MB per thread whatever the model's size; nothing is written besides
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
        imatrix: an importance matrix, in either of llama.cpp's forms; its name goes into the GGUF as it is given.
        identical: give llama.cpp's bytes even where they do harm: keep importances that turn weights into zeros, and
            pad nothing unless ``ffn`` says so.
        match_local: use the installed ggml's kernels, whose bytes are not those of x86-64 on every machine.

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
    matrix = read_imatrix(str(imatrix)) if imatrix is not None else None
    check_memory(threads, SCRATCH_BYTES, weights.memory + (matrix.nbytes if matrix else 0))
    with closing(weights):
        source = open_checkpoint(directory, weights)
        choices = Choices(file_type, mode, YarnChoice(yarn, yarn_context), matrix, identical)
        blueprint = lay_out(source, choices)
        if on_note is not None:
            for note in blueprint.notes:
                on_note(note)
        slabs = blueprint.in_source_order()
        options = {"type": file_type.name, "ffn": blueprint.feed_forward.value}
        if matrix is not None:
            options |= {"imatrix": matrix.digest, "identical": str(identical)}
        if match_local:
            options["match_local"] = "yes"
        conversion = fingerprint(source, blueprint.header, slabs, options)
        quantizers = kernels(match_local)
        if delete_shards:
            refuse_links(source, slabs)
        with OutputFile(
            out,
            blueprint.size,
            overwrite=overwrite,
            conversion=conversion,
            slabs=len(slabs),
            origin=weights.origin,
            on_note=on_note,
        ) as output:
            output.write_at(blueprint.header, 0)
            remover = Remover(source, slabs, output) if delete_shards else None
            writer = SlabWriter(weights, output, quantizers, blueprint.through, blueprint.importance)
            with Proof(output.part, directory, blueprint.vocabulary) as proof:
                _pass(writer, slabs, output, threads, on_progress, remover=remover, proof=proof)
    return Summary(
        path=out,
        type=file_type.name,
        tensors=len(blueprint.tensors),
        weights=count([tensor for tensor, _, _ in blueprint.tensors]).total,
        size=blueprint.size,
        source_size=sum(slab.source_bytes for slab in slabs),
        seconds=time.monotonic() - start,
        notes=blueprint.notes,
        types=blueprint.types(),
        peak_memory=peak_memory(),
        kernels=quantizers.description,
        feed_forward=blueprint.feed_forward.value,
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
