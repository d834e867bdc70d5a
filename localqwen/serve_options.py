"""How a model is served, as the command line, the interface and the supervisor pass it on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

WHOLE_WINDOW, AUTO_DRAFT = "max", "auto"

# How much the chat's own server gives way to it, and to other programs.
PRIVATE_NICENESS = 5


@dataclass(frozen=True)
class ServeOptions:
    """``None`` lets the engine choose."""

    ctx: int | None = None  # tokens; 0 for the model's whole window
    threads: int | None = None
    gpu_layers: int | None = None
    yarn: str | None = None  # auto, off or a factor
    speculation: bool | None = None  # whether tokens are guessed ahead
    draft: str | None = None  # a smaller model's file that guesses, or auto
    disk_cache: float | None = None  # GB for evicted conversations
    kv_type: str | None = None
    ubatch: int | None = None
    tensor_split: str | None = None  # each device's part of the layers: 3,1
    split_mode: str | None = None
    devices: str | None = None  # NAME or NAME:GIB, separated by commas
    rpc: str | None = None  # HOST:PORT of other machines, separated by commas

    def arguments(self) -> list[str]:
        """The options of ``localqwen serve`` that say the same."""
        parts = []
        for name, value in asdict(self).items():
            option = name.replace("_", "-")
            if isinstance(value, bool):
                parts.append(f"--{option}" if value else f"--no-{option}")
            elif value is not None:
                parts += [f"--{option}", WHOLE_WINDOW if (name, value) == ("ctx", 0) else str(value)]
        return parts

    @property
    def given(self) -> list[str]:
        """The names of the options that are not left to the engine."""
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]
