"""Q4_K_M of Qwen2-1.5B shapes: llama.cpp's two steps against our one pass, in one run.

    python -m benchmarks.converter --llama-cpp SOURCE --python REFERENCE_PYTHON [--runs 3]

SOURCE is the llama.cpp tree inside the llama-cpp-python sdist of the pinned version (``vendor/llama.cpp``);
REFERENCE_PYTHON belongs to an environment with torch and transformers, which its convert_hf_to_gguf.py needs. The
second step is ``llama_model_quantize`` of the installed library, the function that the llama-quantize tool calls.
Weights are random, the tokenizer is Qwen2's. Wall time is the median over the runs, which alternate; peak memory is the
process's largest resident set; every file must have the same sha256. Needs 8 GB of disk.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.machine import description
from converters.lanes import LEVELS
from tests.fixtures.qwen_vocab import write_documents

# Qwen2-1.5B's config.json.
LAYERS, HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, VOCABULARY = 28, 1536, 8960, 12, 2, 151936
CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "intermediate_size": FEED_FORWARD,
    "max_position_embeddings": 32768,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": KV_HEADS,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "vocab_size": VOCABULARY,
}
QUANTIZE = """
import ctypes, sys, llama_cpp
quiet = llama_cpp.llama_log_callback(lambda level, text, user_data: None)
llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
parameters = llama_cpp.llama_model_quantize_default_params()
parameters.ftype, parameters.nthread = 15, int(sys.argv[3])
sys.exit(llama_cpp.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(parameters)))
"""
ONE_PASS = """
import sys
from converters import convert, lanes
from converters.quantize import library_path
checkpoint, out, threads, level = sys.argv[1:]
if level == "ggml":
    convert.kernels = lambda *_: lanes.kernels(match_local=True)
elif level:
    chosen = lanes.LaneKernels(library_path(), lanes.extension_path(), lanes.LEVELS.index(level))
    convert.kernels = lambda *_: chosen
convert.convert(checkpoint, out, threads=int(threads), overwrite=True)
"""


@dataclass
class Side:
    """One way to convert: its runs' seconds, its peak memory and intermediate file in MiB, and what it made."""

    name: str
    seconds: list[float] = field(default_factory=list)
    peak: float = 0.0
    intermediate: float = 0.0
    digests: set[str] = field(default_factory=set)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--kernels", nargs="+", default=["AVX-512", "AVX2"], choices=[*LEVELS, "ggml"])
    arguments = parser.parse_args()
    two_steps = Side("llama.cpp: convert_hf_to_gguf.py, then quantize")
    ours = {level: Side(f"one pass, {level}") for level in arguments.kernels}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        checkpoint = Path(folder) / "Qwen2-1.5B"
        in_another_process(write_checkpoint, checkpoint)
        read_once(checkpoint)
        for _ in range(arguments.runs):
            run_two_steps(two_steps, checkpoint, arguments)
            for level, side in ours.items():
                out = Path(folder) / "ours.gguf"
                run(side, [sys.executable, "-c", ONE_PASS, checkpoint, out, arguments.threads, level])
                side.digests.add(sha256(out))
                out.unlink()
    report([two_steps, *ours.values()], arguments)


def in_another_process(work: Callable[[Path], None], target: Path) -> None:
    """Call ``work(target)`` elsewhere: a process starts with its parent's peak memory, so this one stays small."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=(target,))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{target} could not be written.")


def write_checkpoint(target: Path) -> None:
    """Random bf16 weights in Qwen2-1.5B's shapes, in one safetensors file, and Qwen2's real tokenizer."""
    target.mkdir()
    write_documents(target, CONFIG)
    shapes = dict(tensor_shapes())
    header, offset = {}, 0
    for name, shape in shapes.items():
        nbytes = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + nbytes]}
        offset += nbytes
    encoded = json.dumps(header).encode()
    random = np.random.default_rng(0)
    with (target / "model.safetensors").open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for shape in shapes.values():
            values = random.standard_normal(shape, np.float32) * np.float32(0.02)
            file.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())


def tensor_shapes() -> Iterator[tuple[str, list[int]]]:
    """Names and shapes of a dense Qwen2 checkpoint with tied output."""
    kv = HIDDEN // HEADS * KV_HEADS
    yield "model.embed_tokens.weight", [VOCABULARY, HIDDEN]
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", [HIDDEN]
        yield prefix + "mlp.down_proj.weight", [HIDDEN, FEED_FORWARD]
        yield prefix + "mlp.gate_proj.weight", [FEED_FORWARD, HIDDEN]
        yield prefix + "mlp.up_proj.weight", [FEED_FORWARD, HIDDEN]
        yield prefix + "post_attention_layernorm.weight", [HIDDEN]
        for name, width in (("q", HIDDEN), ("k", kv), ("v", kv)):
            yield prefix + f"self_attn.{name}_proj.weight", [width, HIDDEN]
            yield prefix + f"self_attn.{name}_proj.bias", [width]
        yield prefix + "self_attn.o_proj.weight", [HIDDEN, HIDDEN]
    yield "model.norm.weight", [HIDDEN]


def read_once(checkpoint: Path) -> None:
    """Bring the checkpoint into the page cache, so that neither side waits for the disk."""
    sha256(checkpoint / "model.safetensors")


def run_two_steps(side: Side, checkpoint: Path, arguments: argparse.Namespace) -> None:
    """One run of llama.cpp's way; its two processes' times are added."""
    full, out = checkpoint.with_name("full.gguf"), checkpoint.with_name("theirs.gguf")
    script = arguments.llama_cpp / "convert_hf_to_gguf.py"
    run(side, [arguments.python, script, checkpoint, "--outfile", full])
    first = side.seconds.pop()
    side.intermediate = full.stat().st_size / 2**20
    run(side, [sys.executable, "-c", QUANTIZE, full, out, arguments.threads])
    side.seconds[-1] += first
    side.digests.add(sha256(out))
    full.unlink()
    out.unlink()


def run(side: Side, command: list[object]) -> None:
    """Run one process quietly; record its wall time and peak memory."""
    start = time.perf_counter()
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
    pid = os.posix_spawn(str(command[0]), [str(part) for part in command], os.environ, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(map(str, command))} failed with status {os.waitstatus_to_exitcode(status)}")
    side.seconds.append(time.perf_counter() - start)
    side.peak = max(side.peak, usage.ru_maxrss / 1024)


def sha256(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def report(sides: list[Side], arguments: argparse.Namespace) -> None:
    """The table, in Markdown."""
    reference = sides[0]
    print(f"Machine: {description()}\n")
    print(f"Qwen2-1.5B shapes to Q4_K_M, {arguments.threads} threads, page cache warm, median of {arguments.runs}.\n")
    print("| | wall, s | ratio | peak memory, MiB | intermediate file, MiB | same sha256 |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for side in sides:
        seconds = statistics.median(side.seconds)
        ratio = statistics.median(reference.seconds) / seconds
        same = "yes" if side.digests == reference.digests and len(side.digests) == 1 else "NO"
        print(f"| {side.name} | {seconds:.1f} | {ratio:.1f}× | {side.peak:.0f} | {side.intermediate:.0f} | {same} |")


if __name__ == "__main__":
    main()
