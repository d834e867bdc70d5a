"""Peak memory of a conversion at Qwen2-72B's layer shapes, and the time that a start takes.

    python -m benchmarks.memory

One layer of Qwen2-72B with embedding and output (7 GB of bf16) in sparse files, so that no disk is needed: the weights
are zero, and memory does not depend on their values. Each row is a process of its own; peak memory is its largest
resident set.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.converter import CONFIG, in_another_process, run
from benchmarks.converter import Side as Process
from benchmarks.machine import description
from converters.config import parse_config
from converters.layout import expected
from tests.fixtures.qwen_vocab import write_documents

LAYER_OF_72B = CONFIG | {
    "hidden_size": 8192,
    "intermediate_size": 29568,
    "num_attention_heads": 64,
    "num_hidden_layers": 1,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "vocab_size": 152064,
}
CONVERT = "import sys; from converters.convert import convert; convert(*sys.argv[1:3], threads=int(sys.argv[3]))"
STARTS = {
    "import converters": ["-c", "import converters"],
    "import converters.convert": ["-c", "import converters.convert"],
    "localqwen convert --help": ["-m", "localqwen", "convert", "--help"],
    "localqwen --help": ["-m", "localqwen", "--help"],
    "python itself": ["-c", ""],
}


def main() -> None:
    """Print both tables."""
    print(f"Machine: {description()}\n")
    print("| one layer of Qwen2-72B to Q4_K_M | peak memory, MiB | goal, MiB |\n| --- | ---: | ---: |")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        checkpoint, out = Path(folder) / "Qwen2-72B", Path(folder) / "out.gguf"
        in_another_process(write_sparse, checkpoint)
        for threads in (1, 2, 4, 8):
            process = Process("")
            run(process, [sys.executable, "-c", CONVERT, checkpoint, out, threads])
            out.unlink()
            print(f"| {threads} threads | {process.peak:.0f} | {256 + 24 * threads} |", flush=True)
    print("\n| start | median of 10, ms |\n| --- | ---: |")
    for name, arguments in STARTS.items():
        process = Process("")
        for _ in range(10):
            run(process, [sys.executable, *arguments])
        print(f"| `{name}` | {statistics.median(process.seconds) * 1000:.0f} |", flush=True)


def write_sparse(target: Path) -> None:
    """The checkpoint, its weights a hole in one file."""
    target.mkdir()
    write_documents(target, LAYER_OF_72B)
    header, offset = {}, 0
    for name, (_, shape) in expected(parse_config(LAYER_OF_72B, target / "config.json")).items():
        nbytes = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + nbytes]}
        offset += nbytes
    encoded = json.dumps(header).encode()
    with (target / "model.safetensors").open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        file.truncate(8 + len(encoded) + offset)
    # A file that changed just now could still be changing; a conversion looks at its time.
    os.utime(target / "model.safetensors", (time.time() - 60, time.time() - 60))


if __name__ == "__main__":
    main()
