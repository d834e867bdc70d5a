"""How an engine is to load and run its model. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from localqwen.engine.candidate import Wishes
from localqwen.engine.inventory import Limit
from localqwen.engine.planner import PlanOptions
from localqwen.engine.rope import YarnMode
from localqwen.plan import KvType, SplitMode


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What is ``None`` is planned to suit the machine.

    ``context`` in tokens (0: as many as the model can), CPU ``threads``, ``gpu_layers`` to offload, parts of them for
    each device as ``tensor_split``, ``devices`` to use with limits, and ``rpc`` servers as further devices.
    ``yarn`` is how positions are scaled, ``disk_cache`` how many bytes evicted conversations may take on the disk.
    ``speculation`` drafts tokens from the conversation itself, or with the smaller model ``draft``; one that
    ``draft_may_rest`` is used only where answers should become faster.
    """

    context: int | None = None
    threads: int | None = None
    gpu_layers: int | None = None
    yarn: YarnMode = "auto"
    disk_cache: int = 0
    speculation: bool = True
    draft: Path | None = None
    draft_may_rest: bool = False
    kv_type: KvType | None = None
    ubatch: int | None = None
    tensor_split: tuple[float, ...] | None = None
    split_mode: SplitMode | None = None
    devices: tuple[Limit, ...] | None = None
    rpc: tuple[str, ...] = ()

    @property
    def for_planner(self) -> PlanOptions:
        """What of it concerns the plan."""
        wishes = Wishes(self.context, self.kv_type, self.ubatch, self.gpu_layers, self.tensor_split, self.split_mode)
        return PlanOptions(wishes, self.threads, self.devices, self.rpc, self.draft, self.yarn, self.draft_may_rest)
