from __future__ import annotations

import os
from pathlib import Path

import pytest

from localqwen import library
from localqwen.errors import ModelNotFoundError


def install(home: Path, name: str, age: int = 0) -> Path:
    path = home / "data" / "models" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF")
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def test_path_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "some model.gguf"
    path.touch()
    assert library.resolve(str(path)) == path


@pytest.mark.parametrize("model", ["My-Model-Q4_K_M", "my-model-q4_k_m", "My-Model-Q4_K_M.gguf"])
def test_installed_name_is_found(home: Path, model: str) -> None:
    path = install(home, "My-Model-Q4_K_M.gguf")
    assert library.resolve(model) == path


def test_catalogue_name_means_the_newest_file_of_that_release(home: Path) -> None:
    install(home, "Qwen2-7B-Instruct-Q4_K_M.gguf", age=100)
    newest = install(home, "Qwen2-7B-Instruct-Q8_0.gguf", age=10)
    base = install(home, "Qwen2-7B-Q4_K_M.gguf")
    assert library.resolve("qwen2-7b-instruct") == newest
    assert library.resolve("qwen2-7b") == base


def test_base_card_is_not_taken_for_the_instruct_release(home: Path) -> None:
    install(home, "Qwen2-7B-Instruct-Q4_K_M.gguf")
    with pytest.raises(ModelNotFoundError, match="localqwen pull qwen2-7b`"):
        library.resolve("qwen2-7b")


def test_folder_is_to_be_converted(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="localqwen convert"):
        library.resolve(str(tmp_path))


@pytest.mark.parametrize("model", ["nowhere/model.gguf", "missing.gguf", "./missing"])
def test_missing_path_is_named(model: str) -> None:
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        library.resolve(model)


def test_unknown_name_points_to_the_list() -> None:
    with pytest.raises(ModelNotFoundError, match="localqwen models"):
        library.resolve("gpt-9")


def test_default_model_is_the_newest_and_the_demo_only_in_need(home: Path) -> None:
    assert library.default_model() is None
    install(home, "SmolLM2-135M-Instruct-Q4_K_M.gguf")
    assert library.default_model() == "SmolLM2-135M-Instruct-Q4_K_M"
    install(home, "Qwen2-72B-Instruct-Q4_K_M.gguf", age=50)
    install(home, "Other.gguf", age=100)
    assert library.default_model() == "Qwen2-72B-Instruct-Q4_K_M"


@pytest.mark.parametrize(
    ("model", "name"),
    [("demo", "demo"), ("Qwen2-7B-Q4_K_M", "Qwen2-7B-Q4_K_M"), ("m/My.gguf", "My"), ("My.gguf", "My"), ("./x", "x")],
)
def test_server_calls_a_model_as_a_person_does(model: str, name: str) -> None:
    assert library.served_name(model) == name
