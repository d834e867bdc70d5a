"""What padding a misaligned feed-forward costs, and where the bytes that it saves do most good.

    python -m benchmarks.padding [LABEL ...]

SmolLM2-135M as Qwen2 with hidden size 768 and the feed-forward widened, without changing the function, to 1664 =
6.5 × 256: the misalignment of Qwen2-72B in small. The demo's weights come from a Q4_1 file, whose grid of 32 would
favour llama.cpp's fallback types; uniform noise of one grid step dissolves it, and the noisy model in bf16 is the
reference. attn_v gets the types that llama.cpp gives 80-layer models. Prints the mean Kullback-Leibler divergence of
each file's predictions from the reference's over 12288 tokens of Python's language reference (pydoc_data.topics) in
windows of 512, and what each choice weighs for Qwen2-72B. Takes about a minute per row and 3 GB of disk.
"""

from __future__ import annotations

import argparse
import pydoc_data.topics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import llama_cpp
import numpy as np
import numpy.typing as npt

from benchmarks.machine import description
from converters import blueprint
from converters.config import Config
from converters.convert import convert
from converters.ggml import FileType, GGMLType, row_size
from converters.layout import OutputTensor, expected
from converters.padding import FeedForward, spend
from converters.recipe import more_bits
from localqwen.demo import source_gguf
from localqwen.smollm2 import Source, read_source, write_checkpoint
from tests import llama
from tests.fixtures.widen import widen

Array = npt.NDArray[np.float32]
Choice = Callable[[str, GGMLType], GGMLType]

WINDOWS, WINDOW = 24, 512
WIDTH = 1664
QWEN2_72B = Config(80, 8192, 29568, 64, 8, 152064, 32768, 1e-6, 1e6, None)
Q4, Q5, Q6, Q8 = GGMLType.Q4_K, GGMLType.Q5_K, GGMLType.Q6_K, GGMLType.Q8_0


def raised(part: str, kind: GGMLType, *only: GGMLType) -> Choice:
    """Store ``part`` in ``kind`` where it has one of the types ``only`` (by default any K-quant)."""
    return lambda name, old: kind if f".{part}." in name and old in (only or (Q4, Q5, Q6)) else old


def both(*choices: Choice) -> Choice:
    """One choice after the other."""

    def chosen(name: str, kind: GGMLType) -> GGMLType:
        for choice in choices:
            kind = choice(name, kind)
        return kind

    return chosen


def unchanged(name: str, kind: GGMLType) -> GGMLType:
    """Every tensor as the mode has it."""
    return kind


KV = both(raised("attn_k", Q6), raised("attn_v", Q8))
ROWS: dict[str, tuple[FeedForward, Choice]] = {
    "identical: llama.cpp's fallback": (FeedForward.IDENTICAL, unchanged),
    "padded": (FeedForward.PADDED, unchanged),
    "padded+: ffn_down Q5_K for Q4_K": (FeedForward.PADDED_PLUS, unchanged),
    "padded-kv: attn_k Q6_K, attn_v Q8_0": (FeedForward.PADDED_KV, unchanged),
    "padded, ffn_down Q8_0 for Q6_K": (FeedForward.PADDED, raised("ffn_down", Q8, Q6)),
    "padded, attn_v Q8_0": (FeedForward.PADDED, raised("attn_v", Q8)),
    "padded-kv, attn_output Q5_K": (FeedForward.PADDED_KV, raised("attn_output", Q5, Q4)),
    "padded-kv, ffn_down Q5_K for Q4_K": (FeedForward.PADDED_KV, raised("ffn_down", Q5, Q4)),
    "padded-kv, ffn_up Q5_K": (FeedForward.PADDED_KV, raised("ffn_up", Q5, Q4)),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", nargs="*", default=list(ROWS), metavar="LABEL")
    labels = parser.parse_args().labels
    print(f"Machine: {description()}\n")
    print("| Q4_K_M | mean KL divergence | ± | same top token | Qwen2-72B, GB |\n| --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        checkpoint, out = Path(folder) / "Misaligned", Path(folder) / "model.gguf"
        write_checkpoint(checkpoint, misaligned_source(), float32=("norm.weight",))
        convert(checkpoint, out, "BF16")
        reference = np.concatenate([log_softmax(logits) for logits in windows(out)])
        for label in labels:
            mode, choice = ROWS[label]
            with mock.patch.object(blueprint, "spend", as_in_72b(choice)):
                convert(checkpoint, out, ffn=mode.value, overwrite=True)
            report(label, reference, windows(out), qwen2_72b_bytes(mode, choice))


def misaligned_source() -> Source:
    """The reference model, rounded to bf16: first the noise, then the wider feed-forward and hidden size."""
    source = read_source(source_gguf())
    random = np.random.default_rng(1)
    tensors = {}
    for name, values in source.tensors.items():
        if values.ndim == 2 and "embed" not in name:
            blocks = values.reshape(-1, 32)
            step = (blocks.max(1, keepdims=True) - blocks.min(1, keepdims=True)) / 15
            noisy = blocks + step * (random.random(blocks.shape, np.float32) - np.float32(0.5))
            values = noisy.reshape(values.shape).astype(np.float32)  # noqa: PLW2901 - the same tensor, with noise
        tensors[name] = ((values.view(np.uint32) + 0x8000) & 0xFFFF0000).view(np.float32)
    return widen(widen_feed_forward(replace(source, tensors=tensors)), hidden=768)


def widen_feed_forward(source: Source) -> Source:
    """Repeat neurons and halve both copies' columns of ffn_down: the same function, exact in bf16."""
    more = WIDTH - source.config["intermediate_size"]
    tensors = dict(source.tensors)
    for name, values in source.tensors.items():
        if "gate_proj" in name or "up_proj" in name:
            tensors[name] = np.concatenate([values, values[:more]])
        elif "down_proj" in name:
            halved = values.copy()
            halved[:, :more] *= np.float32(0.5)
            tensors[name] = np.concatenate([halved, halved[:, :more]], axis=1)
    return replace(source, config=source.config | {"intermediate_size": WIDTH}, tensors=tensors)


def as_in_72b(choice: Choice) -> Callable[[FeedForward, list[OutputTensor], list[GGMLType]], list[GGMLType]]:
    """``padding.spend`` with llama.cpp's attn_v rule for 80 layers before it and ``choice`` after it."""

    def chosen(mode: FeedForward, tensors: list[OutputTensor], kinds: list[GGMLType]) -> list[GGMLType]:
        layers = sum(tensor.name.endswith("attn_v.weight") for tensor in tensors)
        for i, tensor in enumerate(tensors):
            if tensor.name.endswith("attn_v.weight"):
                kinds[i] = Q6 if more_bits(int(tensor.name.split(".")[1]), layers) else Q5
        spent = spend(mode, tensors, kinds)
        return [choice(tensor.name, kind) for tensor, kind in zip(tensors, spent, strict=True)]

    return chosen


def windows(path: Path) -> Iterator[Array]:
    """Logits of every position, a window at a time: float32 [WINDOW, vocabulary]."""
    with llama.model(path) as loaded:
        text = "\n".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))[:200_000]
        tokens = llama.tokenize(loaded, text)[: WINDOWS * WINDOW]
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = WINDOW
        context = llama_cpp.llama_init_from_model(loaded, parameters)
        size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(loaded))
        batch = llama_cpp.llama_batch_init(WINDOW, 0, 1)
        for start in range(0, len(tokens), WINDOW):
            fill(batch, tokens[start : start + WINDOW])
            llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
            if llama_cpp.llama_decode(context, batch):
                raise SystemExit(f"llama.cpp cannot compute {path}")
            yield np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), (WINDOW, size))
        llama_cpp.llama_batch_free(batch)
        llama_cpp.llama_free(context)


def fill(batch: Any, tokens: list[int]) -> None:
    """One sequence from position 0, with logits for every token."""
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
        batch.seq_id[i][0] = 0


def log_softmax(logits: Array) -> Array:
    """Log probabilities, row by row."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def report(label: str, reference: Array, predictions: Iterator[Array], size: int) -> None:
    """One row: mean of sum p · (log p - log q) over the positions, and its standard error."""
    divergences, same = [], []
    for i, logits in enumerate(predictions):
        p, q = reference[i * WINDOW : (i + 1) * WINDOW], log_softmax(logits)
        divergences.append((np.exp(p) * (p - q)).sum(axis=1))
        same.append(p.argmax(axis=1) == q.argmax(axis=1))
    every = np.concatenate(divergences)
    error = every.std() / np.sqrt(every.size)
    print(f"| {label} | {every.mean():.4f} | {error:.4f} | {np.mean(same):.1%} | {size / 1e9:.2f} |", flush=True)


def qwen2_72b_bytes(mode: FeedForward, choice: Choice) -> int:
    """Bytes of Qwen2-72B's tensors under the same choice."""
    tensors = [OutputTensor(name, dims, ()) for name, dims in expected(QWEN2_72B).values()]
    _, tensors, kinds = blueprint.arrange(tensors, QWEN2_72B, blueprint.Choices(FileType.Q4_K_M, mode))
    pairs = zip(tensors, kinds, strict=True)
    return sum(tensor.rows * row_size(choice(tensor.name, kind), tensor.columns) for tensor, kind in pairs)


if __name__ == "__main__":
    main()
