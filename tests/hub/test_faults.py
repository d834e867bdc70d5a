"""What goes wrong on the way: everything that passes is waited out, everything else is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.convert import convert
from localqwen.hub.pull import Options, pull
from localqwen.hub.repository import HubError
from tests.hub.conftest import HASTY, NAME
from tests.hub.mock_hub import Fault, MockHub

OPTIONS = Options(type="Q8_0", patience=HASTY)
SECOND = "model-00002-of-00003.safetensors"


@pytest.fixture(autouse=True)
def small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several requests per shard, several slabs per tensor."""
    monkeypatch.setattr("converters.readahead.SEGMENT", 20_000)
    monkeypatch.setattr("converters.slabs.SLAB_WEIGHTS", 4000)


@pytest.fixture
def expected(checkpoint: Path, tmp_path: Path) -> bytes:
    """What a local conversion gives."""
    convert(checkpoint, tmp_path / "expected.gguf", type="Q8_0")
    return (tmp_path / "expected.gguf").read_bytes()


# Each of these happens twice to every range.
PASSING = {
    "503": Fault(status=503),
    "502": Fault(status=502),
    "429 that says when": Fault(status=429, headers={"Retry-After": "0"}),
    "429 in the hub's own words": Fault(status=429, headers={"RateLimit": '"api";r=0;t=0'}),
    "cut at once": Fault(cut_after=0),
    "cut later": Fault(cut_after=777),
    "wrong length": Fault(longer=5),
    "wrong range": Fault(shift=3),
}


@pytest.mark.parametrize("name", PASSING)
def test_passing_fault_is_waited_out(name: str, hub: MockHub, expected: bytes, tmp_path: Path) -> None:
    fault = PASSING[name]
    hub.faults = lambda name, begin, count: fault if count < 2 else None
    pulled = pull(NAME, tmp_path / "x.gguf", OPTIONS)
    assert (tmp_path / "x.gguf").read_bytes() == expected
    assert pulled.verified == 3


def test_address_that_expires_is_asked_for_again(hub: MockHub, expected: bytes, tmp_path: Path) -> None:
    hub.uses = 2
    pull(NAME, tmp_path / "x.gguf", OPTIONS)
    assert (tmp_path / "x.gguf").read_bytes() == expected
    assert len(hub.resolved) > len(set(hub.resolved))


def test_silence_is_a_failure_too(hub: MockHub, expected: bytes, tmp_path: Path) -> None:
    hub.faults = lambda name, begin, count: Fault(silent=True) if (name, begin, count) == (SECOND, 20_000, 0) else None
    pull(NAME, tmp_path / "x.gguf", OPTIONS)
    assert (tmp_path / "x.gguf").read_bytes() == expected


def test_a_line_that_cuts_every_answer_still_arrives(hub: MockHub, expected: bytes, tmp_path: Path) -> None:
    # More cuts in a row than there are tries: each brings a little, and that counts.
    hub.faults = lambda name, begin, count: Fault(cut_after=2500) if name == SECOND else None
    pull(NAME, tmp_path / "x.gguf", OPTIONS)
    assert (tmp_path / "x.gguf").read_bytes() == expected


def test_dead_hub_ends_in_a_sentence_and_the_next_run_goes_on(hub: MockHub, expected: bytes, tmp_path: Path) -> None:
    hub.faults = lambda name, begin, count: Fault(status=503) if name == SECOND and begin >= 40_000 else None
    with pytest.raises(HubError) as caught:
        pull(NAME, tmp_path / "x.gguf", OPTIONS)
    message = str(caught.value)
    for words in (SECOND, NAME, "503", "4 times in a row", "goes on where it stopped"):
        assert words in message
    assert not (tmp_path / "x.gguf").exists()
    hub.faults = lambda name, begin, count: None
    sent = hub.weights_sent()
    pulled = pull(NAME, tmp_path / "x.gguf", OPTIONS)
    assert (tmp_path / "x.gguf").read_bytes() == expected
    # The first shard was complete; headers are read again.
    assert hub.weights_sent() - sent < 130_000
    assert pulled.verified == 1


def test_wrong_bytes_are_noticed_and_downloaded_again(hub: MockHub, expected: bytes, tmp_path: Path) -> None:
    hub.faults = lambda name, begin, count: Fault(flip=True) if name == SECOND and begin == 40_000 else None
    with pytest.raises(HubError, match=f"{SECOND} did not arrive as it was published"):
        pull(NAME, tmp_path / "x.gguf", OPTIONS)
    assert not (tmp_path / "x.gguf").exists()
    hub.faults = lambda name, begin, count: None
    pulled = pull(NAME, tmp_path / "x.gguf", OPTIONS)
    assert (tmp_path / "x.gguf").read_bytes() == expected
    assert pulled.verified >= 1


def test_wrong_bytes_in_a_small_file_are_noticed(hub: MockHub, tmp_path: Path) -> None:
    hub.faults = lambda name, begin, count: Fault(flip=True) if name == "tokenizer.json" else None
    with pytest.raises(HubError, match=r"tokenizer\.json of .* did not arrive"):
        pull(NAME, tmp_path / "x.gguf", OPTIONS)


def test_file_without_a_digest_is_converted_unverified(hub: MockHub, expected: bytes, tmp_path: Path) -> None:
    hub.lfs = False
    assert pull(NAME, tmp_path / "x.gguf", OPTIONS).verified == 0
    assert (tmp_path / "x.gguf").read_bytes() == expected


@pytest.mark.parametrize("status,words", [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (404, "answered 404")])
def test_refusal_is_not_tried_again(status: int, words: str, hub: MockHub, tmp_path: Path) -> None:
    hub.faults = lambda name, begin, count: Fault(status=status) if name == SECOND else None
    with pytest.raises(HubError, match=words):
        pull(NAME, tmp_path / "x.gguf", OPTIONS)
    assert sum(name == SECOND for name, _, _ in hub.requests) == 1


def test_lying_header_is_refused_before_it_is_read(hub: MockHub, tmp_path: Path) -> None:
    path = hub.repositories[NAME] / SECOND
    path.write_bytes((2**62).to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(HubError, match=f"{NAME}/{SECOND} is no safetensors file"):
        pull(NAME, tmp_path / "x.gguf", OPTIONS)
    assert not list(tmp_path.glob("x.gguf*"))


def test_file_that_is_too_large_to_be_what_it_says_is_not_fetched(hub: MockHub, tmp_path: Path) -> None:
    with (hub.repositories[NAME] / "README.md").open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(HubError, match=r"README\.md of .* far larger"):
        pull(NAME, tmp_path / "x.gguf", OPTIONS)
    assert not any(name == "README.md" for name, _, _ in hub.requests)
