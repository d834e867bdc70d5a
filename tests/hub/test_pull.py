"""Models from the hub: the same bytes as from a clone, and nothing of the original left on this machine."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from huggingface_hub import constants

from converters.convert import Progress, convert
from localqwen.hub.pull import Options, pull
from localqwen.hub.repository import HubError
from tests.hub.conftest import HASTY, NAME
from tests.hub.mock_hub import Fault, MockHub

OPTIONS = Options(type="Q8_0", patience=HASTY)


@pytest.fixture
def expected(checkpoint: Path, tmp_path: Path) -> bytes:
    """What a local conversion of the same checkpoint gives."""
    convert(checkpoint, tmp_path / "expected.gguf", type="Q8_0")
    return (tmp_path / "expected.gguf").read_bytes()


def test_same_bytes_as_from_a_clone(hub: MockHub, expected: bytes, tmp_path: Path) -> None:
    pulled = pull(NAME, tmp_path / "x.gguf", OPTIONS)
    assert (tmp_path / "x.gguf").read_bytes() == expected
    assert pulled.revision == hub.commit
    assert (pulled.verified, pulled.files) == (3, 3)
    assert pulled.size == len(expected)


def test_small_requests_give_the_same_bytes(
    hub: MockHub, expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("converters.readahead.SEGMENT", 1000)
    monkeypatch.setattr("converters.slabs.SLAB_WEIGHTS", 700)
    pulled = pull(NAME, tmp_path / "x.gguf", OPTIONS)
    assert (tmp_path / "x.gguf").read_bytes() == expected
    assert pulled.verified == 3
    assert len(hub.requests) > 190


def test_each_byte_comes_once_and_the_hub_is_asked_once_per_file(
    hub: MockHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("converters.readahead.SEGMENT", 10_000)
    pull(NAME, tmp_path / "x.gguf", OPTIONS)
    shards = {path.name: path.stat().st_size for path in hub.repositories[NAME].glob("*.safetensors")}
    for name, size in shards.items():
        ranges = sorted((begin, end) for file, begin, end in hub.requests if file == name)
        # The header was read before, to know the layout.
        assert sum(end - begin for begin, end in ranges) < size + 2000
    assert len(hub.resolved) == len(set(hub.resolved))


def test_nothing_of_the_original_stays(hub: MockHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    pull(NAME, tmp_path / "x.gguf", OPTIONS)
    assert not list(scratch.iterdir())
    assert sorted(path.name for path in tmp_path.glob("x.gguf*")) == ["x.gguf"]


def test_card_goes_to_the_installed_models(hub: MockHub, home: Path) -> None:
    hub.repositories["Qwen/Qwen2-0.5B-Instruct"] = hub.repositories[NAME]
    pulled = pull("qwen2-0.5b-instruct", None, OPTIONS)
    assert pulled.paths == (home / "data" / "models" / "Qwen2-0.5B-Instruct-Q8_0.gguf",)
    assert pulled.paths[0].read_bytes()[:4] == b"GGUF"


def test_existing_output_stays_unless_it_may_go(hub: MockHub, expected: bytes, tmp_path: Path) -> None:
    out = tmp_path / "x.gguf"
    out.write_text("mine")
    with pytest.raises(HubError, match="--overwrite"):
        pull(NAME, out, OPTIONS)
    assert out.read_text() == "mine"
    assert not hub.weights_sent()
    pull(NAME, out, Options(type="Q8_0", overwrite=True))
    assert out.read_bytes() == expected


def test_the_token_goes_to_the_hub_and_nowhere_else(
    hub: MockHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "hf_secret"
    with pytest.raises(HubError, match="HF_TOKEN"):
        pull(NAME, tmp_path / "x.gguf", OPTIONS)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pull(NAME, tmp_path / "x.gguf", OPTIONS)
    # The CDN is another host for real; requests that remember its address must not carry the token.
    later = [token for (_, begin, _), token in zip(hub.requests, hub.cdn_tokens, strict=True) if begin > 0]
    assert set(later) <= {None}


def test_offline_is_said_in_one_sentence(hub: MockHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"offline mode is on: unset HF_HUB_OFFLINE"):
        pull(NAME, tmp_path / "x.gguf", OPTIONS)
    assert not hub.requests


def test_no_network_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(HubError, match=r"cannot be reached: check the connection\.$"):
        pull(NAME, tmp_path / "x.gguf", OPTIONS)


@pytest.mark.parametrize(
    "model,words",
    [
        ("nonsense", "localqwen models"),
        ("Someone/Nothing", "refuses access"),
        ("some one/x", "no repository"),
        ("a/b/c.txt", "FILE.gguf"),
        ("demo", "localqwen demo"),
        (f"{NAME}/missing.gguf", "has no missing.gguf"),
    ],
)
def test_names_that_lead_nowhere(hub: MockHub, model: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(HubError, match=words):
        pull(model, tmp_path / "x.gguf", OPTIONS)
    assert not list(tmp_path.glob("x.gguf*"))


def test_unknown_revision(hub: MockHub, tmp_path: Path) -> None:
    with pytest.raises(HubError, match="has no revision 'v9'"):
        pull(NAME, tmp_path / "x.gguf", Options(revision="v9"))


def test_an_interrupted_pull_stays_with_its_commit(
    hub: MockHub, expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(step: Progress) -> None:
        if step.done > 60_000:
            raise KeyboardInterrupt

    first = hub.commit
    monkeypatch.setattr("converters.slabs.SLAB_WEIGHTS", 700)
    with pytest.raises(KeyboardInterrupt):
        pull(NAME, tmp_path / "x.gguf", Options(type="Q8_0", on_progress=stop))
    hub.asked.clear()
    steps: list[Progress] = []
    pull(NAME, tmp_path / "x.gguf", Options(type="Q8_0", on_progress=steps.append))
    assert hub.asked == [first]
    assert steps[0].done >= 60_000
    assert (tmp_path / "x.gguf").read_bytes() == expected


def test_a_new_commit_starts_over_and_says_so(hub: MockHub, expected: bytes, tmp_path: Path) -> None:
    def stop(step: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(NAME, tmp_path / "x.gguf", Options(type="Q8_0", on_progress=stop))
    hub.commit = "beef" * 10
    notes: list[str] = []
    pull(NAME, tmp_path / "x.gguf", Options(type="Q8_0", revision="main", on_note=notes.append))
    assert "starting over" in notes[0]
    assert (tmp_path / "x.gguf").read_bytes() == expected


def test_errors_name_the_repository_and_not_our_scratch_directory(hub: MockHub, tmp_path: Path) -> None:
    (hub.repositories[NAME] / "tokenizer.json").unlink()
    with pytest.raises(HubError, match=rf"^{NAME} has neither tokenizer\.json"):
        pull(NAME, tmp_path / "x.gguf", OPTIONS)


def test_repository_without_weights(hub: MockHub, tmp_path: Path) -> None:
    for path in hub.repositories[NAME].glob("*.safetensors"):
        path.unlink()
    with pytest.raises(HubError, match="neither safetensors nor GGUF"):
        pull(NAME, tmp_path / "x.gguf", OPTIONS)


class TestReadyMade:
    """GGUF files as they are."""

    @pytest.fixture
    def files(self, hub: MockHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
        """A repository with a plain GGUF, another type, and one in three parts."""
        monkeypatch.setattr("converters.readahead.SEGMENT", 1 << 16)
        monkeypatch.setattr("localqwen.hub.gguf.SEGMENT", 1 << 16)
        folder = tmp_path / "ready"
        folder.mkdir()
        names = ["m-q4_k_m.gguf", "m-q8_0.gguf", *(f"m-q6_k-{i:05d}-of-00003.gguf" for i in (1, 2, 3))]
        contents = {name: b"GGUF" + hashlib.sha256(name.encode()).digest() * 20_000 for name in names}
        for name, data in contents.items():
            (folder / name).write_bytes(data)
        hub.repositories["Someone/Ready-GGUF"] = folder
        return contents

    def test_by_type(self, files: dict[str, bytes], tmp_path: Path) -> None:
        pulled = pull("Someone/Ready-GGUF", tmp_path / "x.gguf", Options(type="Q4_K_M"))
        assert (tmp_path / "x.gguf").read_bytes() == files["m-q4_k_m.gguf"]
        assert (pulled.verified, pulled.files, pulled.type) == (1, 1, None)

    def test_by_name(self, files: dict[str, bytes], home: Path) -> None:
        pulled = pull("Someone/Ready-GGUF/m-q8_0.gguf")
        assert pulled.paths == (home / "data" / "models" / "m-q8_0.gguf",)
        assert pulled.paths[0].read_bytes() == files["m-q8_0.gguf"]

    def test_missing_type_lists_what_there_is(self, files: dict[str, bytes], tmp_path: Path) -> None:
        with pytest.raises(HubError, match=r"no GGUF of type Q5_K_M.*m-q4_k_m\.gguf"):
            pull("Someone/Ready-GGUF", tmp_path / "x.gguf", Options(type="Q5_K_M"))

    def test_split_goes_on_with_the_parts_that_are_missing(
        self, hub: MockHub, files: dict[str, bytes], tmp_path: Path
    ) -> None:
        hub.faults = lambda name, begin, count: Fault(status=404) if "00002-of" in name and begin > 400_000 else None
        out = tmp_path / "x.gguf"
        with pytest.raises(HubError, match="00002"):
            pull("Someone/Ready-GGUF", out, Options(type="Q6_K", patience=HASTY))
        assert [path.name for path in tmp_path.glob("*.gguf")] == ["x-00001-of-00003.gguf"]
        hub.faults = lambda name, begin, count: None
        sent = hub.weights_sent()
        pulled = pull("Someone/Ready-GGUF", out, Options(type="Q6_K"))
        # Nothing of the first part; how much of the second was kept depends on the connections.
        assert hub.weights_sent() - sent <= 2 * 640_004
        assert pulled.verified == 3
        for number, path in enumerate(pulled.paths, 1):
            assert path.read_bytes() == files[f"m-q6_k-{number:05d}-of-00003.gguf"]

    def test_wrong_bytes_after_an_interruption_are_noticed(
        self, hub: MockHub, files: dict[str, bytes], tmp_path: Path
    ) -> None:
        def stop(step: Progress) -> None:
            if step.done:
                raise KeyboardInterrupt

        out = tmp_path / "x.gguf"
        with pytest.raises(KeyboardInterrupt):
            pull("Someone/Ready-GGUF", out, Options(type="Q4_K_M", on_progress=stop))
        # Everywhere, because which pieces were finished depends on the connections.
        part = tmp_path / "x.gguf.part"
        part.write_bytes(bytes(byte ^ 0x55 for byte in part.read_bytes()))
        with pytest.raises(HubError, match="did not arrive as it was published"):
            pull("Someone/Ready-GGUF", out, Options(type="Q4_K_M"))
        assert not out.exists()
        pull("Someone/Ready-GGUF", out, Options(type="Q4_K_M"))
        assert out.read_bytes() == files["m-q4_k_m.gguf"]

    def test_no_gguf_after_all(self, hub: MockHub, files: dict[str, bytes], tmp_path: Path) -> None:
        (hub.repositories["Someone/Ready-GGUF"] / "m-q4_k_m.gguf").write_bytes(b"<html>" * 1000)
        with pytest.raises(HubError, match="is no GGUF"):
            pull("Someone/Ready-GGUF", tmp_path / "x.gguf", Options(type="Q4_K_M"))
        assert not list(tmp_path.glob("x.gguf*"))


def test_file_names_of_a_repository_stay_in_their_folder(hub: MockHub) -> None:
    from localqwen.hub.repository import _plain

    assert _plain("a/b.gguf")
    for name in ("../x", "/etc/x", "a/../x", "a\\b", ".hidden", "a\x1b[2J", "a//b"):
        assert not _plain(name), name
    assert os.sep == "/"
