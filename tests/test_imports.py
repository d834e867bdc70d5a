"""The arrows of the design: what importing a part must not load, checked in fresh interpreters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

NATIVE = {"llama_cpp", "numpy", "gguf"}
SCREEN = {"textual"}
SERVER = {"fastapi", "starlette", "uvicorn", "pydantic"}

# What the chat needs sooner or later, but not before the composer can be typed into.
AFTER_FIRST_PAINT = {"httpx", "markdown_it", "pygments", "tomlkit", "tomllib", "filelock", "psutil", "huggingface_hub"}

# Statement to run, top-level modules that must stay unloaded.
ARROWS = [
    ("import localqwen", NATIVE | SCREEN | SERVER | {"click", "httpx"}),
    ("import localqwen.cli", NATIVE | SCREEN | SERVER | {"converters", "tui", "httpx"}),
    ("import localqwen.cli.chat", NATIVE | SCREEN | SERVER),
    ("import localqwen.cli.run", NATIVE | SCREEN | SERVER),
    ("import localqwen.cli.serve", NATIVE | SCREEN | SERVER),
    ("import localqwen.cli.convert", NATIVE | SCREEN | SERVER),
    ("import localqwen.cli.pull", NATIVE | SCREEN | SERVER | {"converters", "huggingface_hub"}),
    ("import localqwen.cli.inspect", NATIVE | SCREEN | SERVER | {"converters"}),
    ("import localqwen.cli.imatrix", NATIVE | SCREEN | SERVER | {"converters"}),
    ("import localqwen.engine.imatrix", SCREEN | SERVER | {"converters", "tui"}),
    ("import localqwen.cli.json_progress", NATIVE | SCREEN | SERVER | {"converters"}),
    ("import localqwen.cli.models", NATIVE | SCREEN | SERVER),
    ("import localqwen.cli.demo", NATIVE | SCREEN | SERVER),
    ("import localqwen.client", NATIVE | SCREEN | SERVER | {"converters", "tui"}),
    ("import localqwen.supervisor", NATIVE | SCREEN | SERVER | {"converters", "tui"}),
    ("import localqwen.chats.store", NATIVE | SCREEN | SERVER | {"converters", "tui", "filelock"}),
    ("import localqwen.library", NATIVE | SCREEN | SERVER | {"converters", "tui", "models", "tomllib"}),
    ("import localqwen.engine.jobs", SCREEN | SERVER | {"converters", "tui"}),
    ("import localqwen.server.app", SCREEN | {"converters", "tui"}),
    ("import converters.convert", SCREEN | SERVER | {"localqwen", "tui", "torch", "transformers", "llama_cpp"}),
    ("import converters.progress", NATIVE | SCREEN | SERVER | {"localqwen", "tui"}),
    ("import converters.gguf_reader", NATIVE | SCREEN | SERVER | {"localqwen", "tui"}),
    ("import converters.readahead", SCREEN | SERVER | {"localqwen", "tui", "huggingface_hub", "llama_cpp"}),
    ("import localqwen.settings", NATIVE | SCREEN | SERVER | {"tomlkit", "httpx", "tui"}),
    ("import tui.app", NATIVE | SERVER | {"converters", "aiohttp", "textual_serve"} | AFTER_FIRST_PAINT),
    ("import tui.backend", NATIVE | SCREEN | SERVER | {"converters", "httpx"}),
    ("import tui.model_source", NATIVE | SCREEN | SERVER | {"converters", "httpx"}),
    ("import tui.plain", NATIVE | SCREEN | SERVER | {"converters", "httpx", "aiohttp", "tomlkit"}),
    ("import tui.screens.models, tui.screens.settings", NATIVE | SERVER | {"converters", "httpx", "tomlkit"}),
    ("import tui.web", NATIVE | {"fastapi", "starlette", "uvicorn", "converters"}),
]


@pytest.mark.parametrize(("statement", "forbidden"), ARROWS, ids=[statement for statement, _ in ARROWS])
def test_import_loads_nothing_it_must_not(statement: str, forbidden: set[str]) -> None:
    code = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = set(done.stdout.split())
    assert loaded & {"localqwen", "converters", "tui"}, "the statement loaded nothing of ours: the check is void"
    assert not loaded & forbidden


def test_help_loads_no_model_and_no_screen() -> None:
    code = (
        "import sys; sys.argv = ['localqwen', '--help']\n"
        "from localqwen.cli import main\n"
        "try: main()\n"
        "except SystemExit as done: assert done.code == 0\n"
        "print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    text, _, loaded = done.stdout.partition("LOADED")
    assert "Commands:" in text
    assert not set(loaded.split()) & (NATIVE | SCREEN | SERVER)
