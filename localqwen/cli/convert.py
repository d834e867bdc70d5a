"""``localqwen convert``: a safetensors checkpoint becomes a quantized GGUF."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from localqwen.cli import printable
from localqwen.errors import LocalqwenError

if TYPE_CHECKING:
    from converters.progress import Summary

# Those of converters.padding.FeedForward and converters.convert.TYPES, written out so that --help need not load
# numpy; a test compares them.
FEED_FORWARD = ("auto", "identical", "padded", "padded+", "padded-kv")
TYPES = ("F16", "Q4_0", "Q8_0", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K", "BF16")


def yarn_factor(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> float | Literal["off"] | None:
    """``--yarn``'s value: a number above 1, or ``off``."""
    if value is None:
        return None
    if value.lower() == "off":
        return "off"
    try:
        factor = float(value)
    except ValueError:
        factor = math.nan
    if not 1 < factor < math.inf:
        raise click.BadParameter(f"{value[:40]!r} is neither a number above 1 nor 'off'.")
    return factor


# `localqwen pull` has these two as well.
type_option = click.option(
    "--type",
    "type_",
    type=click.Choice(TYPES, case_sensitive=False),
    default="Q4_K_M",
    show_default=True,
    help="How the weights are stored.",
)
ffn_option = click.option(
    "--ffn",
    type=click.Choice(FEED_FORWARD),
    default="auto",
    show_default=True,
    help="What to do about a feed-forward width that K-quants cannot divide (Qwen2-72B's): pad it, or take the "
    "fallback types that llama.cpp takes.",
)


@click.command(short_help="Turn a safetensors checkpoint into a quantized GGUF.")
@click.argument("checkpoint", type=click.Path(path_type=Path), metavar="CHECKPOINT_DIR")
@click.argument("out", type=click.Path(path_type=Path), required=False, metavar="[OUT.gguf]")
@type_option
@ffn_option
@click.option("--imatrix", metavar="FILE", help="An importance matrix, in either of llama.cpp's forms.")
@click.option(
    "--identical",
    is_flag=True,
    help="Give the bytes of llama.cpp's own tools even where they do harm: importances of zero make weights zero.",
)
@click.option(
    "--match-local",
    is_flag=True,
    help="Quantize with the installed llama.cpp: the same bytes on x86-64, others on ARM.",
)
@click.option("--threads", type=click.IntRange(1, 1024), help="Worker threads; by default one per CPU.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.gguf if it exists.")
@click.option(
    "--yarn",
    callback=yarn_factor,
    metavar="FACTOR|off",
    help="Write YaRN for this factor (4 takes 32768 tokens to 131072), or none; by default as config.json says.",
)
@click.option(
    "--yarn-context", is_flag=True, help="Write YaRN's window as context length, so that any program offers it."
)
@click.option("--delete-shards", is_flag=True, help="Remove each safetensors file once it is converted; asks first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print progress and summary as JSON, one object per line.")
def command(  # noqa: PLR0913 - click passes every option
    *,
    checkpoint: Path,
    out: Path | None,
    type_: str,
    ffn: str,
    imatrix: str | None,
    identical: bool,
    match_local: bool,
    threads: int | None,
    overwrite: bool,
    yarn: float | Literal["off"] | None,
    yarn_context: bool,
    delete_shards: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Turn the Qwen2 checkpoint in CHECKPOINT_DIR (safetensors) into one quantized GGUF.

    Without OUT.gguf the file goes to the installed models, where other commands find it by name. Stopped or killed,
    the same command goes on where it was.
    """
    from converters.convert import convert
    from converters.errors import ConversionError
    from localqwen.cli.json_progress import emit, emit_note, progress_lines
    from localqwen.cli.progress import conversion_progress
    from localqwen.errors import StoppedError

    if yarn == "off" and yarn_context:
        raise click.UsageError(
            "--yarn-context writes the window that YaRN reaches; leave out one of it and --yarn off."
        )
    note = emit_note if as_json else lambda text: click.echo(printable(text), err=True)
    target = out or default_output(checkpoint, type_)
    if delete_shards and not yes:
        click.confirm(f"Remove the safetensors files of {printable(str(checkpoint))} on the way?", abort=True, err=True)
    try:
        with nullcontext(progress_lines()) if as_json else conversion_progress(type_) as on_progress:
            summary = convert(
                checkpoint,
                target,
                type_,
                threads,
                overwrite,
                on_progress,
                ffn=ffn,
                on_note=note,
                delete_shards=delete_shards,
                yarn=yarn,
                yarn_context=yarn_context,
                imatrix=imatrix,
                identical=identical,
                match_local=match_local,
            )
    except KeyboardInterrupt:
        raise StoppedError("stopped; the same command goes on where it stopped.") from None
    except ConversionError as error:
        raise LocalqwenError(str(error)) from error
    if as_json:
        emit("done", **summary_fields(summary))
    else:
        click.echo(printable(summary_text(summary)))


def summary_fields(summary: Summary) -> dict[str, Any]:
    """The last line of ``--json``: sizes in bytes, times in seconds."""
    return {
        "path": str(summary.path),
        "type": summary.type,
        "size": summary.size,
        "source_size": summary.source_size,
        "tensors": summary.tensors,
        "weights": summary.weights,
        "bits_per_weight": round(summary.bits_per_weight, 4),
        "types": {share.type: {"tensors": share.tensors, "bytes": share.nbytes} for share in summary.types},
        "seconds": round(summary.seconds, 3),
        "peak_memory": summary.peak_memory,
        "kernels": summary.kernels,
        "ffn": summary.feed_forward,
    }


def summary_text(summary: Summary) -> str:
    """What a person wants to know in the end."""
    types = ", ".join(f"{share.tensors} {share.type} {share.nbytes / 1e6:,.1f} MB" for share in summary.types)
    return (
        f"{summary.path}: {summary.size / 1e9:.2f} GB from {summary.source_size / 1e9:.2f} GB, "
        f"{summary.bits_per_weight:.2f} bits per weight, {summary.tensors} tensors in {summary.seconds:.1f} s\n"
        f"  tensors by type: {types}\n"
        f"  peak memory {summary.peak_memory / 1e6:,.0f} MB, kernels: {summary.kernels}"
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
