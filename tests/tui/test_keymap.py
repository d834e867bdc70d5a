"""Keys from the settings file: what cannot count is named, and nothing loses its key in silence."""

from __future__ import annotations

import pytest
from textual._xterm_parser import XTermParser
from textual.events import Key

from localqwen.settings import Settings, parse
from tui.keymap import DEFAULTS, is_key, label, resolved, split


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"hlep": "f10"}, "there is no such command (did you mean help?); the line does nothing."),
        ({"help": "ctlr+x"}, "there is no key ctlr+x (did you mean ctrl+x?); its default counts."),
        ({"help": "f10,eenter"}, "there is no key eenter (did you mean enter?)"),
        ({"help": "escape"}, "Esc is the key of"),
        ({"view.find": "ctrl+u"}, "Ctrl+U edits the text in the composer"),
        ({"help": "ctrl+p"}, "Ctrl+P is the key of palette already"),
        ({"palette": "x"}, "X is typed where that key is heard"),
        ({"help": "enter"}, "Enter is the key of"),
        ({"dialog.take": "up"}, "is the key of dialog.previous already"),
        ({"composer.send": "ctrl+n"}, "Ctrl+N is the key of chat.new already"),
        ({"transcript.copy": "j"}, "J is the key of transcript.next_block already"),
        ({"list.pin": "r"}, "R is the key of list.rename already"),
        ({"find.next": "escape"}, "Esc is the key of"),
        ({"dialog.accept": "escape"}, "Esc is the key of dialog.cancel already"),
        ({"quit": "q"}, "Q is typed where that key is heard; its default counts."),
        ({"composer.editor": "shift+e"}, "Shift+E is typed where"),
        ({"dialog.cancel": "_"}, "Underscore is typed where"),
        ({"find.next": "space"}, "Space is typed where"),
        ({"help": "["}, "is the key of transcript.previous_code already"),
        ({"help": "f10", "settings": "f10"}, '"settings" = "f10": F10 is the key of help already'),
    ],
)
def test_a_line_that_cannot_count_is_named_and_its_default_does(keys: dict[str, str], words: str) -> None:
    keymap, (complaint,) = resolved(Settings(keys=tuple(keys.items())))
    *good, bad = keys
    assert complaint.startswith(f'[keys] "{bad}" = "{keys[bad]}": ')
    assert words in complaint
    assert list(keymap) == good


def test_keys_can_be_swapped_unless_one_of_the_two_cannot_count() -> None:
    swap = (("help", "f3"), ("view.find", "f1"))
    assert resolved(Settings(keys=swap)) == (dict(swap), ())
    keymap, complaints = resolved(Settings(keys=(("help", "f2"), ("plan", "f99"))))
    assert (keymap, len(complaints)) == ({}, 2)


def test_all_defaults_are_keys_and_none_draws_a_complaint() -> None:
    assert all(is_key(key) for keys in DEFAULTS.values() for key in split(keys))
    for name, keys in DEFAULTS.items():
        if keys:
            assert resolved(Settings(keys=((name, keys),)))[1] == ()


def test_the_setting_for_sending_moves_both_keys_and_a_line_of_keys_goes_before() -> None:
    settings = Settings(send="alt+enter")
    assert (label(settings, "composer.send"), label(settings, "composer.newline")) == ("Alt+Enter", "Enter")
    assert resolved(settings)[1] == ()
    assert label(Settings(send="alt+enter", keys=(("composer.send", "f6"),)), "composer.send") == "F6"


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("composer.send", "ctrl+retrun"),
        ("composer.send", "ctrl+j"),
        ("composer.newline", "entr"),
        ("composer.newline", "ctrl+s"),
    ],
)
def test_a_bad_line_leaves_the_setting_for_sending_as_it_is(name: str, keys: str) -> None:
    settings = Settings(send="alt+enter", keys=((name, keys),))
    assert (label(settings, "composer.send"), label(settings, "composer.newline")) == ("Alt+Enter", "Enter")
    [complaint] = resolved(settings)[1]
    assert complaint.startswith(f'[keys] "{name}" = "{keys}"')


def test_signs_and_capital_letters_are_keys_as_they_are_typed() -> None:
    lines = [
        'help = "?"',
        '"list.pin" = "P"',
        '"transcript.next_message" = "}, Alt+N"',
        'plan = "Ctrl++"',
        'settings = "/"',
    ]
    settings, wrong = parse("\n".join(["[keys]", *lines]), "settings.toml")
    assert wrong == []
    assert resolved(settings) == (
        {
            "help": "question_mark",
            "list.pin": "P,shift+p",
            "transcript.next_message": "right_curly_bracket,alt+n",
            "plan": "ctrl+plus",
            "settings": "slash",
        },
        (),
    )
    assert [label(settings, name) for name in ("help", "list.pin", "transcript.next_message")] == ["?", "Shift+P", "}"]


def test_what_only_shows_something_may_be_closed_with_a_letter() -> None:
    assert resolved(Settings(keys=(("dialog.close", "x"),))) == ({"dialog.close": "x"}, ())


def test_keys_are_named_as_the_terminal_will_report_them() -> None:
    parser = XTermParser()
    (reported,) = parser.feed("\x1b[115;7u")  # Ctrl+Alt+S in the Kitty protocol
    assert isinstance(reported, Key)
    settings = Settings(keys=(("answer.stop", "ctrl+alt+s"), ("view.end", "shift+ctrl+f5")))
    assert resolved(settings) == ({"answer.stop": reported.key, "view.end": "ctrl+shift+f5"}, ())
