from __future__ import annotations

import pytest

from tui.commands import ALIASES, BY_ID, BY_NAME, COMMANDS, key_label
from tui.keymap import DEFAULTS, split

# The same bytes as Enter, Tab, Backspace and Esc where the terminal has no Kitty protocol.
AMBIGUOUS = {"ctrl+m", "ctrl+i", "ctrl+h", "ctrl+left_square_bracket"}


def test_no_two_commands_share_an_id_a_name_or_a_key() -> None:
    keys = [key for command in COMMANDS for key in command.keys.split(",") if key]
    names = [*(command.name for command in COMMANDS), *ALIASES]
    for values in ([command.id for command in COMMANDS], names, keys):
        assert len(values) == len(set(values))


def test_every_other_name_is_one_of_a_command() -> None:
    assert {BY_NAME[name].id for name in ALIASES} <= set(BY_ID)


def test_no_key_is_another_one_in_disguise() -> None:
    assert not {key for keys in DEFAULTS.values() for key in split(keys)} & AMBIGUOUS


@pytest.mark.parametrize(
    ("keys", "label"), [("ctrl+o", "Ctrl+O"), ("escape", "Esc"), ("f2,ctrl+home", "F2, Ctrl+Home"), ("", "")]
)
def test_keys_are_written_as_people_read_them(keys: str, label: str) -> None:
    assert key_label(keys) == label
