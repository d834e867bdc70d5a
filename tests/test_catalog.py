from __future__ import annotations

import tomllib
from importlib import resources

import pytest

from localqwen import catalog

SIZES = ("0.5b", "1.5b", "7b", "57b-a14b", "72b")


def test_every_release_has_a_card() -> None:
    expected = {f"qwen2-{size}{kind}" for size in SIZES for kind in ("", "-instruct")} | {"demo"}
    assert set(catalog.cards()) == expected


def test_card_files_are_named_after_their_cards() -> None:
    for entry in resources.files("models").iterdir():
        if entry.name.endswith(".toml"):
            assert tomllib.loads(entry.read_text())["name"] + ".toml" == entry.name


# Billions, as the Open LLM Leaderboard's requests state them for the published checkpoints.
@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("qwen2-0.5b", 0.494),
        ("qwen2-1.5b", 1.544),
        ("qwen2-7b", 7.616),
        ("qwen2-57b-a14b", 57.409),
        ("qwen2-72b", 72.706),
    ],
)
def test_parameters_follow_from_the_shape(name: str, billions: float) -> None:
    assert round(catalog.cards()[name].shape.parameters / 1e9, 3) == billions


def test_yarn_takes_72b_to_131072() -> None:
    window = catalog.cards()["qwen2-72b-instruct"].window
    assert (window.native, window.longest, window.yarn_factor) == (32768, 131072, 4.0)


def test_models_without_yarn_have_only_their_native_window() -> None:
    window = catalog.cards()["qwen2-0.5b-instruct"].window
    assert (window.longest, window.yarn_factor) == (32768, None)


def test_drafts_are_cards_with_nearly_the_same_vocabulary() -> None:
    cards = catalog.cards()
    drafted = [card for card in cards.values() if card.draft]
    assert drafted
    for card in drafted:
        assert card.draft is not None
        # llama.cpp's speculative decoding accepts vocabularies whose sizes differ by at most 128.
        assert abs(cards[card.draft].shape.vocabulary - card.shape.vocabulary) <= 128


def test_every_card_names_its_licence_and_where_it_stands() -> None:
    for card in catalog.cards().values():
        assert card.licence.id in {"apache-2.0", "tongyi-qianwen"}
        assert card.licence.link.startswith(f"https://huggingface.co/{card.repository}")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("layers = 24", "layers = -1"),
        ("layers = 24", 'layers = "24"'),
        ("layers = 24", "depth = 24"),
        ("[window]", "[w]"),
    ],
)
def test_malformed_card_is_refused(before: str, after: str) -> None:
    text = (resources.files("models") / "qwen2-0.5b.toml").read_text()
    with pytest.raises(catalog.CardError, match=r"qwen2-0\.5b"):
        catalog.parse_card(text.replace(before, after))
