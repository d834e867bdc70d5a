"""Make tests/golden/*.json: what llama.cpp's own two steps give for the test fixtures.

    python scripts/make_golden.py --llama-cpp SOURCE --python REFERENCE_PYTHON [CASE ...]

SOURCE is the llama.cpp tree inside the llama-cpp-python sdist of the pinned version (``vendor/llama.cpp``).
REFERENCE_PYTHON is the interpreter of an environment with torch and transformers, which convert_hf_to_gguf.py needs.
For the SmolLM2 cases take transformers 4.57: version 5 gives every Qwen2 model Qwen2's pre-tokenizer, whatever its
tokenizer.json and tokenizer_config.json say, and llama.cpp's converter then does not know the result.
Run this script itself in the project's environment: the second step is ``llama_model_quantize`` of the installed
library, the function that the llama-quantize tool calls.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import llama_cpp  # noqa: E402
import numpy as np  # noqa: E402

from converters.ggml import FileType  # noqa: E402
from tests.fixtures import importance  # noqa: E402
from tests.fixtures.cases import CASES  # noqa: E402
from tests.fixtures.digests import tensor_table  # noqa: E402

# Types whose tensors are listed one by one; of the others only the whole file's digest is kept.
LISTED = ("Q4_K_M",)
# With an importance matrix: its keys go into every file, and its values change five of the types.
WEIGHED = tuple(file_type.name for file_type in FileType)
QUIET = llama_cpp.llama_log_callback(lambda level, text, user_data: None)
VERSIONS = "import json, torch, transformers; print(json.dumps([torch.__version__, transformers.__version__]))"


def main() -> None:
    """Run both steps for the cases that were asked for (all, by default)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("cases", nargs="*", default=list(CASES))
    arguments = parser.parse_args()
    llama_cpp.llama_log_set(QUIET, ctypes.c_void_p(0))
    output = subprocess.run([arguments.python, "-c", VERSIONS], capture_output=True, text=True, check=True)
    torch, transformers = json.loads(output.stdout)
    how = (
        f"Step 1: convert_hf_to_gguf.py of the llama.cpp in llama-cpp-python {llama_cpp.__version__} "
        f"(torch {torch}, transformers {transformers}), default --outtype; "
        f"step 2: llama_model_quantize of llama-cpp-python {llama_cpp.__version__} (x86-64), default parameters "
        "but the file type and, for files_imatrix, what llama-quantize adds for tests/fixtures/importance.py. "
        "Made by scripts/make_golden.py."
    )
    for case in arguments.cases:
        checkpoint = CASES[case]()
        golden = {"how": how, "checkpoint": digests(checkpoint), **reference(checkpoint, arguments)}
        path = ROOT / "tests" / "golden" / f"{case}.json"
        path.write_text(dump(golden), encoding="utf-8")
        print(path.relative_to(ROOT))


def digests(checkpoint: Path) -> dict[str, str]:
    """sha256 of every file of a checkpoint directory."""
    return {path.relative_to(checkpoint).as_posix(): sha256(path) for path in sorted(checkpoint.rglob("*.*"))}


def reference(checkpoint: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Digests of all file types without and with an importance matrix, and tensors of the listed ones."""
    files: dict[str, str] = {}
    weighed: dict[str, str] = {}
    tensors: dict[str, dict[str, list[Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        full, quantized = Path(folder) / "full.gguf", Path(folder) / "quantized.gguf"
        script = arguments.llama_cpp / "convert_hf_to_gguf.py"
        subprocess.run([arguments.python, script, checkpoint, "--outfile", full], check=True, capture_output=True)
        data = importance.entries(checkpoint)
        for file_type in FileType:
            parameters = llama_cpp.llama_model_quantize_default_params()
            parameters.ftype = int(file_type)
            quantize(full, quantized, parameters)
            files[file_type.name] = sha256(quantized)
            if file_type.name in LISTED:
                tensors[file_type.name] = tensor_table(quantized)
            if file_type.name in WEIGHED:
                kept_alive = add_importance(parameters, data)
                quantize(full, quantized, parameters)
                weighed[file_type.name] = sha256(quantized)
                del kept_alive
    return {"files": files, "files_imatrix": weighed, "tensors": tensors}


def quantize(full: Path, quantized: Path, parameters: llama_cpp.llama_model_quantize_params) -> None:
    """The second step."""
    status = llama_cpp.llama_model_quantize(str(full).encode(), str(quantized).encode(), ctypes.byref(parameters))
    if status:
        raise SystemExit(f"llama_model_quantize failed for {full}")


def add_importance(parameters: llama_cpp.llama_model_quantize_params, data: importance.Entries) -> list[Any]:
    """Give the quantizer an importance matrix as tools/quantize/quantize.cpp does; returns what must stay alive."""
    means = {}
    for name, (sums, counts) in data.items():
        rows = [row / count if count > 0 else np.ones_like(row) for row, count in zip(sums, counts, strict=True)]
        means[name] = np.concatenate(rows).astype(np.float32)
    array = (llama_cpp.llama_model_imatrix_data * (len(means) + 1))()
    for slot, (name, values) in zip(array, means.items(), strict=False):
        slot.name, slot.size = name.encode(), values.size
        slot.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    said: dict[str, str | int] = {
        "file": importance.NAME,
        "dataset": importance.DATASET,
        "entries_count": len(means),
        "chunks_count": importance.CHUNKS,
    }
    overrides = (llama_cpp.llama_model_kv_override * (len(said) + 1))()
    for override, (key, value) in zip(overrides, said.items(), strict=False):
        override.key = f"quantize.imatrix.{key}".encode()
        if isinstance(value, int):
            override.tag, override.value.val_i64 = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_INT, value
        else:
            override.tag, override.value.val_str = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_STR, value.encode()
    parameters.imatrix = ctypes.cast(array, type(parameters.imatrix))
    parameters.kv_overrides = ctypes.cast(overrides, type(parameters.kv_overrides))
    return [means, array, overrides]


def sha256(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def dump(golden: dict[str, Any]) -> str:
    """JSON with one line per tensor, so that differences can be read."""
    tables = golden.pop("tensors")
    text = json.dumps(golden, indent=1).removesuffix("\n}")
    for name, table in tables.items():
        rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in table.items())
        text += f',\n "tensors": {{{json.dumps(name)}: {{\n{rows}\n }}}}'
    return text + "\n}\n"


if __name__ == "__main__":
    main()
