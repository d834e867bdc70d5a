"""``localqwen imatrix``: which columns of a model's matrices matter, measured with a text."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from localqwen.cli import printable
from localqwen.errors import LocalqwenError, StoppedError

if TYPE_CHECKING:
    from localqwen.engine.imatrix import Collector, Options
    from localqwen.engine.importance import Accumulator
    from localqwen.engine.model import Model

# Chunks below which a note says that more text would help.
ENOUGH = 100


@click.command(short_help="Measure which weights matter, for better quantizing.")
@click.argument("model", metavar="MODEL")
@click.argument("texts", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="TEXT...")
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="OUT.gguf", help="[default: MODEL-imatrix.gguf]")
@click.option("--chunks", type=click.IntRange(min=1), metavar="N", help="Use only the first N chunks of the text.")
@click.option("--ctx", type=click.IntRange(32), default=512, show_default=True, metavar="N", help="Tokens of a chunk.")
@click.option("--threads", type=click.IntRange(1, 512), metavar="N", help="CPU threads.  [default: all cores]")
@click.option("--gpu-layers", type=click.IntRange(min=0), metavar="N", help="Layers on GPUs.  [default: all, if any]")
@click.option("--process-output", is_flag=True, help="Also measure output.weight.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.gguf if it exists.")
def command(  # noqa: PLR0913 - click passes every option
    *,
    model: str,
    texts: tuple[Path, ...],
    out: Path | None,
    chunks: int | None,
    ctx: int,
    threads: int | None,
    gpu_layers: int | None,
    process_output: bool,
    overwrite: bool,
) -> None:
    """Run the TEXT files through MODEL and write an importance matrix, as llama-imatrix does.

    Several texts are measured as one. Ctrl-C keeps what the finished chunks gave, the same as --chunks of that number.
    """
    from converters.errors import ConversionError
    from converters.writer import check_target
    from localqwen import library
    from localqwen.engine.devices import physical_cores
    from localqwen.engine.imatrix import Options

    text = "\n".join(map(read_text, texts))
    path = library.resolve(model, notify=lambda line: click.echo(printable(line), err=True))
    target = out or Path(f"{path.stem}-imatrix.gguf")
    options = Options(ctx, threads or physical_cores(), process_output)
    try:
        check_target(target, overwrite=overwrite)
        with _Interrupt.handled() as interrupt:
            sums, done, count = _measure(path, text, options, chunks, gpu_layers, interrupt)
        if done:
            write(target, sums, texts, ctx, overwrite=overwrite)
    except ConversionError as error:
        raise LocalqwenError(str(error)) from error
    if done < count:
        kept = f"{target} holds the {done} finished chunks" if done else "no chunk was finished and nothing is written"
        raise StoppedError(f"stopped after {done} of {count} chunks; {kept}.")
    for note in notes(sums, options, done):
        click.echo(printable(note), err=True)
    click.echo(printable(f"{target}: {len(sums.entries)} tensors, {done} chunks of {ctx} tokens"))


class _Interrupt:
    """Ctrl-C as a wish: the first one lets the work end in good order, a second one is an ordinary interrupt."""

    def __init__(self) -> None:
        self.asked = False
        self.stop: Callable[[], None] | None = None

    @classmethod
    @contextmanager
    def handled(cls) -> Iterator[_Interrupt]:
        interrupt = cls()
        before = signal.signal(signal.SIGINT, interrupt._signalled)
        try:
            yield interrupt
        finally:
            signal.signal(signal.SIGINT, before)

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.asked = True
        if self.stop is not None:
            self.stop()


def _measure(
    path: Path, text: str, options: Options, chunks: int | None, gpu_layers: int | None, interrupt: _Interrupt
) -> tuple[Accumulator, int, int]:
    """The sums, how many chunks they are of, and how many were wanted."""
    from localqwen.engine import native
    from localqwen.engine.imatrix import Collector, tokenize
    from localqwen.engine.model import LoadCancelledError, Model
    from localqwen.engine.placement import ALL_LAYERS, Placement

    layers = gpu_layers if gpu_layers is not None else ALL_LAYERS if native.has_gpu() else 0
    try:
        loaded = Model.load(path, Placement(layers), lambda _: not interrupt.asked)
    except LoadCancelledError:
        raise StoppedError("stopped; nothing was measured yet, and nothing is written.") from None
    with loaded:
        tokens = tokenize(loaded, text)
        count = chunk_count(loaded, len(tokens), options.chunk, chunks)
        with Collector(loaded, options) as collector:
            done = _collect(collector, tokens, count, interrupt)
            return collector.sums, done, count


def _collect(collector: Collector, tokens: Sequence[int], count: int, interrupt: _Interrupt) -> int:
    from localqwen.cli.chunk_progress import ChunkProgress
    from localqwen.engine.imatrix import collect

    interrupt.stop = collector.stop
    if interrupt.asked:  # just before
        collector.stop()
    try:
        with ChunkProgress("Measuring", count, collector.options.chunk) as progress:
            return collect(collector, tokens, count, progress.update)
    finally:
        interrupt.stop = None


def chunk_count(model: Model, tokens: int, ctx: int, asked: int | None) -> int:
    """How many chunks there are to do.

    Raises:
        LocalqwenError: there is not one, or the model cannot take one.
    """
    if ctx > model.window.longest:
        raise LocalqwenError(
            f"--ctx {ctx} is more than {model.path.name} takes, {model.window.longest} tokens: use a smaller one."
        )
    available = tokens // ctx
    if not available:
        raise LocalqwenError(
            f"The text has {tokens} tokens, less than one chunk of {ctx}: give more text or a smaller --ctx."
        )
    return available if asked is None else min(asked, available)


def read_text(path: Path) -> str:
    """A text file as llama.cpp's tools read it: without one line break at its end.

    Raises:
        LocalqwenError: it cannot be read, or is no UTF-8.
    """
    try:
        return path.read_bytes().decode().removesuffix("\n")
    except OSError as error:
        raise LocalqwenError(f"Cannot read {path}: {error.strerror or error}; give a text file.") from error
    except UnicodeDecodeError as error:
        raise LocalqwenError(f"{path} is no UTF-8 text (byte {error.start}): give a plain text file.") from error


def write(target: Path, sums: Accumulator, texts: Sequence[Path], ctx: int, *, overwrite: bool) -> None:
    """Write the importance matrix. Raises ConversionError."""
    from converters.imatrix_writer import write_imatrix

    entries = {name: (entry.values, entry.counts) for name, entry in sums.entries.items()}
    write_imatrix(target, entries, list(map(str, texts)), sums.chunks(ctx), ctx, overwrite=overwrite)


def notes(sums: Accumulator, options: Options, chunks: int) -> Iterator[str]:
    """What a person should know about the result."""
    if chunks < ENOUGH:
        yield f"{chunks} chunks are little: more text (some {ENOUGH} chunks or more) measures better."
    if options.process_output and "output.weight" not in sums.entries:
        yield "The model has no output.weight of its own (it is tied to the embedding), so that is not measured."
    counts = [entry.counts for entry in sums.entries.values() if len(entry.counts) > 1]
    if idle := sum(int((count == 0).sum()) for count in counts):
        total = sum(map(len, counts))
        yield f"{idle} of {total} expert matrices were not used by this text and stay unmeasured: give more text."
