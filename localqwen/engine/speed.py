"""What a layer costs on a device, in seconds. Pure.

Decoding a token reads every weight of the layer and its KV cache once, so it takes their bytes over the device's
bandwidth. Prefill also multiplies, for every token; the weights are read (or, for a layer in RAM beside a GPU, copied
to it) once for each ubatch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localqwen.engine.machine import Device
from localqwen.engine.shape import Shape
from localqwen.plan import KvType

DEPTH = 1024  # tokens of a conversation, at which decode is compared
PROMPT_PER_ANSWER = 4  # prompt tokens for each token of an answer
# Bytes of a quantized KV cache count so many times on a GPU, whose kernels convert them. Two H200, Qwen2-72B at 16k
# tokens: 38.2 tok/s with f16 and 28.8 with q8_0, where 42.6 are without any.
KV_COST: dict[KvType, float] = {"f16": 1.0, "q8_0": 8.0, "q4_0": 12.0}
# And so many times on a CPU. Two cores, the demo model: 180.6 tok/s with f16 and 172.7 with q8_0 at the beginning, 64.1
# and 49.9 at 4096 tokens.
CPU_KV_COST: dict[KvType, float] = {"f16": 2.0, "q8_0": 5.0, "q4_0": 8.0}
# Cards that each compute a part of every layer add their results up twice a layer. Two H200, Qwen2-72B: 62.7 tok/s
# where one after the other makes 42.6, which is half the time and 26 us for each sum; prompts gain 1.47 times.
SYNC_SECONDS = 26e-6
TENSOR_EFFICIENCY = 0.735
# A whole model's kernels against one large matrix: an H100 decodes 40.8 tok/s of Qwen2-72B, and the matrix says 51.8.
GPU_EFFICIENCY = 0.79


@dataclass(frozen=True, slots=True)
class Work:
    """The layers of a model, the output matrix as the last one, and how they are computed.

    ``ubatch`` are the tokens of a prompt that are computed at once, on average where the last ones are fewer.
    """

    shape: Shape
    context: int
    kv_type: KvType
    ubatch: float

    @property
    def sizes(self) -> list[int]:
        """Bytes of each layer: weights and its part of the KV cache."""
        kv = self.shape.kv_bytes(self.context, self.kv_type)
        return [*(weights + kv for weights in self.shape.layer_bytes), self.shape.output_bytes]

    def reads(self, device: Device, depth: int) -> list[float]:
        """Bytes of each layer that decoding a token after ``depth`` reads, quantized KV counted as it costs there."""
        cost = KV_COST[self.kv_type] if device.kind != "cpu" else CPU_KV_COST[self.kv_type]
        kv = self.shape.kv_bytes(min(depth, self.context), self.kv_type) * cost
        return [*(weights + kv for weights in self.shape.layer_reads), float(self.shape.output_bytes)]

    def decode(self, device: Device, depth: int = DEPTH) -> list[float]:
        """Seconds of each layer for a token of the answer."""
        speed = device.speed.read * (1.0 if device.kind == "cpu" else GPU_EFFICIENCY)
        return [reads / speed for reads in self.reads(device, depth)]

    def prefill(self, device: Device, helper: Device | None = None) -> list[float]:
        """Seconds of each layer for a token of the prompt; ``helper`` is the GPU that computes for a CPU."""
        worker = helper or device
        source = worker.speed.upload if helper else worker.speed.read
        # The output matrix is wanted for the last token only, whatever the prompt's length.
        weights = [*self.shape.layer_bytes, 0]
        work = [*self.shape.layer_reads, 0]
        return [
            once / (source * self.ubatch) + every / worker.speed.compute
            for once, every in zip(weights, work, strict=True)
        ]


def helper_for(devices: Sequence[Device]) -> Device | None:
    """The GPU that llama.cpp has the prompts of CPU layers computed by: the first that can."""
    return next((device for device in devices if device.offloads), None)
