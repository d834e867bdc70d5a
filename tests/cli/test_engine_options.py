"""What the command line's options become."""

from __future__ import annotations

from pathlib import Path

from localqwen import paths
from localqwen.cli.engine_options import engine_options
from localqwen.serve_options import ServeOptions


def test_the_catalogues_draft_model_is_taken_where_it_is_installed(home: Path) -> None:
    folder = paths.models_dir()
    folder.mkdir(parents=True, exist_ok=True)
    large, small = (folder / f"Qwen2-{size}-Instruct-Q4_K_M.gguf" for size in ("72B", "0.5B"))
    large.touch()
    auto = ServeOptions(draft="auto")
    assert engine_options(auto, large).draft is None
    small.touch()
    assert engine_options(auto, large).draft == small
    assert engine_options(auto, large).draft_may_rest
    assert engine_options(auto, small).draft is None, "the smallest has none"
    assert engine_options(ServeOptions(), large).draft is None
    named = engine_options(ServeOptions(draft=str(small)), large)
    assert (named.draft, named.draft_may_rest) == (small, False)
