"""``localqwen pull``: a model from the hub, converted while it downloads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localqwen.cli import printable
from localqwen.cli.convert import ffn_option, type_option
from localqwen.cli.json_progress import emit, emit_note, progress_lines

if TYPE_CHECKING:
    from converters.convert import Progress
    from localqwen.hub.pull import Pulled


@click.command(short_help="Download a model from the hub, converting it on the way.")
@click.argument("model", metavar="REPO_OR_CARD")
@click.argument("out", type=click.Path(path_type=Path), required=False, metavar="[OUT.gguf]")
@type_option
@ffn_option
@click.option("--revision", metavar="NAME", help="A branch, tag or commit of the repository.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Worker threads; by default one per CPU.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.gguf if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print progress and summary as JSON, one object per line.")
def command(
    *,
    model: str,
    out: Path | None,
    type_: str,
    ffn: str,
    revision: str | None,
    threads: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Download a model from the Hugging Face hub and quantize it on the way: only the result takes disk space.

    REPO_OR_CARD is a name from `localqwen models`, OWNER/NAME on the hub, or OWNER/NAME/FILE.gguf for a ready-made
    file. Killed or cut off, the same command goes on where it stopped. HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE are
    honoured. Without OUT.gguf the file goes to the installed models.
    """
    from localqwen.errors import StoppedError
    from localqwen.hub.pull import Options, pull

    try:
        with _shown(as_json) as on_progress:
            options = Options(
                type=type_,
                ffn=ffn,
                revision=revision,
                threads=threads,
                overwrite=overwrite,
                on_progress=on_progress,
                on_note=emit_note if as_json else lambda note: click.echo(printable(note), err=True),
            )
            pulled = pull(model, out, options)
    except KeyboardInterrupt:
        raise StoppedError("stopped; the same command goes on where it stopped.") from None
    if as_json:
        emit("done", **summary(pulled))
    else:
        click.echo(sentence(pulled))


def summary(pulled: Pulled) -> dict[str, Any]:
    """The last line of ``--json``."""
    return {
        "paths": [str(path) for path in pulled.paths],
        "repository": pulled.repository,
        "revision": pulled.revision,
        "type": pulled.type,
        "size": pulled.size,
        "source_size": pulled.source_size,
        "verified_files": pulled.verified,
        "files": pulled.files,
        "seconds": round(pulled.seconds, 3),
    }


def sentence(pulled: Pulled) -> str:
    """What a person wants to know in the end."""
    checked = f"{pulled.verified} of {pulled.files} files verified by SHA-256"
    made = f"{pulled.size / 1e9:.2f} GB"
    if pulled.type is not None:
        made += f" of {pulled.type} from {pulled.source_size / 1e9:.2f} GB"
    return printable(
        f"{pulled.paths[0]}: {made} in {pulled.seconds:.1f} s, {checked} "
        f"({pulled.repository} at {pulled.revision[:12]})"
    )


@contextmanager
def _shown(as_json: bool) -> Iterator[Callable[[Progress], None]]:
    if as_json:
        yield progress_lines()
        return
    from localqwen.cli.progress import ByteProgress

    with ByteProgress("Downloading") as bar:
        yield lambda step: bar.update(step.done, step.total)
