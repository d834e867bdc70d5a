"""How a model is served, as the command line, the interface and the supervisor pass it on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class ServeOptions:
    """``None`` lets the engine choose.

    Context in tokens, CPU threads, layers on the GPU, YaRN's mode (``auto``, ``off`` or a factor), whether tokens are
    guessed ahead, a smaller model's file that guesses, and the disk space in GB for evicted conversations.
    """

    ctx: int | None = None
    threads: int | None = None
    gpu_layers: int | None = None
    yarn: str | None = None
    speculation: bool | None = None
    draft: str | None = None
    disk_cache: float | None = None

    def arguments(self) -> list[str]:
        """The options of ``localqwen serve`` that say the same."""
        parts = []
        for name, value in asdict(self).items():
            option = name.replace("_", "-")
            if isinstance(value, bool):
                parts.append(f"--{option}" if value else f"--no-{option}")
            elif value is not None:
                parts += [f"--{option}", str(value)]
        return parts

    @property
    def given(self) -> list[str]:
        """The names of the options that are not left to the engine."""
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]
