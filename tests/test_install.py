from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import install


def test_pinned_version_is_the_installed_one() -> None:
    from importlib.metadata import version

    assert install.llama_version() == version("llama-cpp-python")


def test_rpc_devices_are_always_built_and_the_users_arguments_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_BLAS=ON")
    assert install.llama_cmake_args().startswith("-DGGML_RPC=ON")
    assert install.llama_cmake_args().endswith(" -DGGML_BLAS=ON")


def test_builds_with_other_options_are_kept_apart() -> None:
    options = {"CMAKE_ARGS": "-DGGML_RPC=ON", "CXXFLAGS": ""}
    others = [options, options | {"CMAKE_ARGS": "-DGGML_CUDA=ON"}, options | {"CXXFLAGS": "-U__AMX_INT8__"}]
    keys = {install.wheel_key("0.3.36", each) for each in others}
    assert len(keys | {install.wheel_key("0.3.37", options)}) == 4
    assert len({install.installation_key(each) for each in others}) == 3


@pytest.mark.parametrize(
    ("features", "works", "flags"),
    [(["amx_int8"], False, "-U__AMX_INT8__ -g"), (["amx_int8"], True, "-g"), (["avx2"], False, "-g")],
)
def test_amx_is_left_out_where_the_compiler_gets_it_wrong(
    features: list[str], works: bool, flags: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXXFLAGS", "-g")
    monkeypatch.setattr(install, "cpu_features", lambda: features)
    monkeypatch.setattr(install, "amx_works", lambda: works)
    assert install.llama_cxx_flags() == flags


def compiler_that_builds(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name a CXX that compiles ``body`` in place of what it is given, with the machine's own compiler."""
    (tmp_path / "body.cpp").write_text(body)
    script = tmp_path / "c++ of a test"
    script.write_text(f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nexec c++ \'{tmp_path}/body.cpp\' -o "$2"\n')
    script.chmod(0o755)
    monkeypatch.setenv("CXX", f"'{script}'")


@pytest.mark.parametrize(
    ("body", "works"),
    [("int main() {}", True), ("int main() { __builtin_trap(); }", False), ("this is no C++", False)],
)
def test_amx_works_only_where_the_compiled_program_ends_well(
    body: str, works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler_that_builds(body, tmp_path, monkeypatch)
    assert install.amx_works() is works


def test_the_probe_compiles_for_a_cpu_with_amx() -> None:
    built = subprocess.run(
        ["c++", "-fsyntax-only", "-march=sapphirerapids", "-x", "c++", "-"],
        input=install.AMX_PROBE,
        text=True,
        capture_output=True,
        check=False,
    )
    if "sapphirerapids" in built.stderr:
        pytest.skip("this compiler knows no CPU with AMX")
    assert (built.returncode, built.stderr) == (0, "")


def test_a_cuda_toolkit_without_a_card_builds_for_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "nvidia-smi" else f"/usr/bin/{name}")
    assert "CUDA" not in install.llama_cmake_args()


def test_missing_compiler_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(install.InstallError, match=r"no C compiler was found.*apt install build-essential"):
        install.check_machine()


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("  [50/200] /usr/bin/g++ -c sampling.cpp", (0.25, "50 of 200 files")),
        ("-- Build files have been written", None),
        ("[notes] 1/2", None),
    ],
)
def test_build_progress_is_read_from_ninja(line: str, step: install.Step | None) -> None:
    assert install.cmake_step(line) == step


def test_progress_line_tells_the_time_left() -> None:
    assert install.progress_line("Building", 0.25, "50 of 200 files", 60.0) == (
        "Building: █████░░░░░░░░░░░░░░░  25%, 50 of 200 files, 1:00, about 3:00 left"
    )


def test_failing_step_shows_the_end_of_its_output_and_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "LOG", tmp_path / "install.log")
    command: list[str | Path] = [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"]
    with pytest.raises(install.InstallError, match=r"“Trying” failed.*install\.log"):
        install.run_with_progress("Trying", command, install.pip_step)
    assert "the reason" in capsys.readouterr().err
    assert "the reason" in (tmp_path / "install.log").read_text()


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs of pip are only written down here; what they do, CI's clean clone shows."""
    done: list[str] = []
    monkeypatch.setattr(install, "STAMP", tmp_path / "stamp.json")
    monkeypatch.setattr(install, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(install, "make_environment", lambda: None)
    monkeypatch.setattr(install, "llama_wheel", lambda version, options, rebuild: tmp_path / "llama.whl")
    monkeypatch.setattr(install, "pip_install", lambda label, arguments: done.append(" ".join(arguments)))
    return done


def test_second_run_changes_nothing(steps: list[str]) -> None:
    install.install(development=False, demo=True)
    assert len(steps) == 2
    install.install(development=False, demo=True)
    install.install(development=False, demo=False)
    assert len(steps) == 2


def test_wanting_more_installs_more_and_keeps_what_was_there(steps: list[str]) -> None:
    install.install(development=False, demo=True)
    install.install(development=True, demo=False)
    assert steps[2].endswith("[dev]")
    assert steps[3] == f"--no-deps {install.DEMO_PACKAGE}"


def test_other_build_options_install_again(steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    install.install(development=False, demo=False)
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_NATIVE=OFF")
    install.install(development=False, demo=False)
    assert len(steps) == 3
    assert steps[1].startswith("--force-reinstall --no-deps "), "pip takes a wheel of the same version for the same"


def test_a_rebuild_replaces_what_is_up_to_date(steps: list[str]) -> None:
    install.install(development=False, demo=False)
    install.install(development=False, demo=False, rebuild=True)
    assert steps[1].startswith("--force-reinstall --no-deps ")


def test_a_rebuild_takes_no_kept_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = {"CMAKE_ARGS": "-DGGML_RPC=ON", "CXXFLAGS": ""}
    folder = tmp_path / "localqwen" / "wheels" / install.wheel_key("0.3.36", options)
    folder.mkdir(parents=True)
    kept = folder / "llama_cpp_python-0.3.36-kept.whl"
    kept.touch()

    def build(_label: str, command: list[str | Path], *_: object, **_options: object) -> None:
        fresh = Path(command[command.index("--wheel-dir") + 1])
        fresh.mkdir()
        (fresh / "llama_cpp_python-0.3.36-fresh.whl").touch()

    monkeypatch.setattr(install, "run_with_progress", build)
    assert install.llama_wheel("0.3.36", options) == kept
    rebuilt = install.llama_wheel("0.3.36", options, rebuild=True)
    assert rebuilt.name == "llama_cpp_python-0.3.36-fresh.whl"
    assert install.llama_wheel("0.3.36", options) == rebuilt
