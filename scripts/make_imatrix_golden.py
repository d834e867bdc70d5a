"""Make tests/golden/imatrix-*.json: what llama-imatrix measures on the test fixtures.

    python scripts/make_imatrix_golden.py --llama-imatrix PATH [CASE ...]

PATH is the tool built from the llama.cpp tree inside the llama-cpp-python sdist of the pinned version
(``vendor/llama.cpp``) for this machine's CPU, as the installed library is:

    cmake -S SOURCE -B BUILD -DGGML_RPC=ON -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_UI=OFF
    cmake --build BUILD --target llama-imatrix

The sums' last bits depend on the kernels that the CPU gets, so the golden says for which features it holds; the tests
compare bits only where these are the same, and sums within a tolerance elsewhere.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import gguf  # noqa: E402
import llama_cpp  # noqa: E402
import numpy as np  # noqa: E402

from tests.fixtures.imatrix_cases import CASES, TEXT, Case  # noqa: E402


def main() -> None:
    """Run the tool for the cases that were asked for (all, by default)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-imatrix", type=Path, required=True)
    parser.add_argument("cases", nargs="*", default=list(CASES))
    arguments = parser.parse_args()
    for name in arguments.cases:
        case = CASES[name]
        golden = {
            "how": f"llama-imatrix of the llama.cpp in llama-cpp-python {llama_cpp.__version__}, with {options(case)} "
            "--no-ppl -t 2 and a text named text.txt. Made by scripts/make_imatrix_golden.py.",
            "llama_cpp": llama_cpp.__version__,
            "cpu": llama_cpp.llama_print_system_info().decode(),
            "model": sha256(case.model()),
            "text": sha256(TEXT),
            **reference(case, arguments.llama_imatrix.resolve()),
        }
        path = ROOT / "tests" / "golden" / f"imatrix-{name}.json"
        path.write_text(dump(golden), encoding="utf-8")
        print(path.relative_to(ROOT))


def options(case: Case) -> str:
    """The tool's options for a case."""
    output = " --process-output" if case.process_output else ""
    return f"-c {case.ctx} -b {case.batch} --chunks {case.chunks}{output}"


def reference(case: Case, tool: Path) -> dict[str, Any]:
    """The file's digest, and of each entry its digest, the sum of its values, and its counts."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "text.txt").write_bytes(TEXT.read_bytes())
        command = f"-f text.txt -o out.gguf --no-ppl -t 2 {options(case)}".split()
        subprocess.run([str(tool), "-m", str(case.model()), *command], cwd=folder, check=True, capture_output=True)
        out = Path(folder) / "out.gguf"
        return {"file": sha256(out), "entries": entries(out)}


def entries(path: Path) -> dict[str, list[Any]]:
    """Of each entry of an importance matrix: digest of the values, their sum, the counts."""
    arrays = {tensor.name: np.array(tensor.data, np.float32) for tensor in gguf.GGUFReader(path).tensors}
    found: dict[str, list[Any]] = {}
    for name, values in arrays.items():
        if name.endswith(".in_sum2"):
            weight = name.removesuffix(".in_sum2")
            total = float(f"{values.astype(np.float64).sum():.6g}")
            counts = [int(count) for count in arrays[f"{weight}.counts"].ravel()]
            found[weight] = [hashlib.sha256(values.tobytes()).hexdigest(), total, counts]
    return found


def sha256(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def dump(golden: dict[str, Any]) -> str:
    """JSON with one line per entry, so that differences can be read."""
    table = golden.pop("entries")
    rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in table.items())
    return json.dumps(golden, indent=1).removesuffix("\n}") + f',\n "entries": {{\n{rows}\n }}\n}}\n'


if __name__ == "__main__":
    main()
