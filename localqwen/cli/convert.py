"""``localqwen convert``: a safetensors checkpoint becomes a quantized GGUF."""

from __future__ import annotations

from pathlib import Path

import click

from localqwen.cli import printable
from localqwen.errors import LocalqwenError

# Those of converters.convert.TYPES, written out so that --help need not load numpy; a test compares them.
TYPES = ("F16", "Q4_0", "Q8_0", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K", "BF16")


@click.command(short_help="Turn a safetensors checkpoint into a quantized GGUF.")
@click.argument("checkpoint", type=click.Path(path_type=Path), metavar="CHECKPOINT_DIR")
@click.argument("out", type=click.Path(path_type=Path), required=False, metavar="[OUT.gguf]")
@click.option(
    "--type",
    "type_",
    type=click.Choice(TYPES, case_sensitive=False),
    default="Q4_K_M",
    show_default=True,
    help="How the weights are stored.",
)
@click.option("--imatrix", metavar="FILE", help="An importance matrix, in either of llama.cpp's forms.")
@click.option(
    "--identical",
    is_flag=True,
    help="Give the bytes of llama.cpp's own tools even where they do harm: importances of zero make weights zero.",
)
@click.option("--threads", type=click.IntRange(1, 1024), help="Worker threads; by default one per CPU.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.gguf if it exists.")
@click.option("--delete-shards", is_flag=True, help="Remove each safetensors file once it is converted; asks first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(  # noqa: PLR0913 - one per option
    *,
    checkpoint: Path,
    out: Path | None,
    type_: str,
    imatrix: str | None,
    identical: bool,
    threads: int | None,
    overwrite: bool,
    delete_shards: bool,
    yes: bool,
) -> None:
    """Turn the Qwen2 checkpoint in CHECKPOINT_DIR (safetensors) into one quantized GGUF.

    Without OUT.gguf the file goes to the installed models, where other commands find it by name. Stopped or killed,
    the same command goes on where it was.
    """
    from converters.convert import convert
    from converters.errors import ConversionError
    from localqwen.cli.progress import conversion_progress
    from localqwen.errors import StoppedError

    target = out or default_output(checkpoint, type_)
    if delete_shards and not yes:
        click.confirm(f"Remove the safetensors files of {printable(str(checkpoint))} on the way?", abort=True, err=True)
    try:
        with conversion_progress(type_) as on_progress:
            summary = convert(
                checkpoint,
                target,
                type_,
                threads,
                overwrite,
                on_progress,
                on_note=lambda note: click.echo(printable(note), err=True),
                delete_shards=delete_shards,
                imatrix=imatrix,
                identical=identical,
            )
    except KeyboardInterrupt:
        raise StoppedError("stopped; the same command goes on where it stopped.") from None
    except ConversionError as error:
        raise LocalqwenError(str(error)) from error
    click.echo(
        f"{summary.path}: {summary.size / 1e9:.2f} GB from {summary.source_size / 1e9:.2f} GB, "
        f"{summary.bits_per_weight:.2f} bits per weight, {summary.tensors} tensors in {summary.seconds:.1f} s"
    )


def default_output(checkpoint: Path, type_: str) -> Path:
    """``MODELS/NAME-TYPE.gguf``, named after the checkpoint's directory."""
    from localqwen import paths

    folder = paths.models_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalqwenError(
            f"Cannot create {folder}: {error.strerror}; set LOCALQWEN_HOME or name an OUT.gguf."
        ) from error
    return folder / f"{checkpoint.resolve().name}-{type_}.gguf"
