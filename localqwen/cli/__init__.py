"""The ``localqwen`` command: one file per subcommand, each imported only when it is called."""

from __future__ import annotations

from importlib import import_module
from io import StringIO

import click

from localqwen import __version__
from localqwen.errors import LocalqwenError
from localqwen.sanitize import shown

# Command, and the help line that `localqwen --help` shows without importing the command's module.
COMMANDS = {
    "chat": "Chat in the terminal (what plain `localqwen` does).",
    "run": "Print one answer and exit.",
    "serve": "Answer OpenAI's API on this machine.",
    "demo": "Make the small demo model and chat with it.",
    "pull": "Download a model from the hub, converting it on the way.",
    "convert": "Turn a safetensors checkpoint into a quantized GGUF.",
    "imatrix": "Measure which weights matter, for better quantizing.",
    "inspect": "Show what a GGUF or a checkpoint holds.",
    "plan": "Show where a model's layers go on this machine.",
    "devices": "List the GPUs and the CPU that can be used.",
    "bench": "Measure a plan against its prediction.",
    "worker": "Lend this machine's devices to another one.",
    "doctor": "Check the installation.",
    "models": "List what is installed and what can be had.",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports ``localqwen.cli.NAME`` only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"localqwen.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="localqwen")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Run Qwen2 models on your own machine, offline.

    A MODEL is a path to a GGUF file, the name of an installed file, or a name from `localqwen models`.
    """
    if ctx.invoked_subcommand is None:
        chat = cli.get_command(ctx, "chat")
        assert chat is not None
        ctx.invoke(chat)


def main() -> None:
    """Run the command line: exit code 0 for success, 1 for a failure, 2 for wrong usage, 130 for Ctrl-C."""
    try:
        status = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("localqwen: interrupted.", err=True)
        raise SystemExit(130) from None
    except click.ClickException as error:
        _complain(error)
        raise SystemExit(error.exit_code) from None
    except LocalqwenError as error:
        click.echo(f"localqwen: {printable(str(error))}", err=True)
        raise SystemExit(error.exit_code) from None
    raise SystemExit(status if isinstance(status, int) else 0)


def printable(text: str) -> str:
    """What a terminal may get of foreign text: names of files, fields of a model, errors with them in it."""
    return shown(text)


def _complain(error: click.ClickException) -> None:
    """What click says of wrong usage repeats what was typed, or what a script made of a file's name."""
    said = StringIO()
    error.show(said)
    click.echo(printable(said.getvalue()), nl=False, err=True)
