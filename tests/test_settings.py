"""Settings: read with patience, written with care."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localqwen import paths
from localqwen.params import SamplingParams
from localqwen.settings import Settings, options, parse, read
from localqwen.settings_file import SettingsError, fresh, save, updated

SAID = """# mine
[view]
theme = "nord"  # the best
sidebar = false

[sampling]
temperature = 1
seed = 7

[keys]
"answer.stop" = "F9, ctrl+x"
"""


def test_no_file_is_all_defaults(home: Path) -> None:
    assert paths.settings_path() == home / "config" / "settings.toml"
    assert read(paths.settings_path()) == (Settings(), [])


def test_a_file_is_read() -> None:
    settings, complaints = parse(SAID, "f")
    assert complaints == []
    assert (settings.theme, settings.sidebar) == ("nord", False)
    assert settings.sampling == SamplingParams(temperature=1.0, seed=7)
    assert dict(settings.keys) == {"answer.stop": "f9,ctrl+x"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[view]\n\nsidebar = 1\n", "f, line 3: sidebar must be true or false, not 1; its default counts."),
        ("[sampling]\ntemperature = 3", "f, line 2: temperature must be a number from 0 to 2, not 3"),
        ("[sampling]\ntop_k = 1.5", "top_k must be a whole number from 0, not 1.5"),
        ('[composer]\nsend = "space"', "send must be 'enter' or 'alt+enter', not 'space'"),
        ("[view]\ntheme = 4", "theme must be text in quotes"),
        ('[view]\ntehme = "x"', "f, line 2: there is no such setting in [view] (did you mean theme?)."),
        ("[veiw]\nx = 1", "f, line 1: there is no table [veiw] (did you mean view?)."),
        ("view = 1", "f, line 1: there is no table [view]"),
        ('[keys]\n"a" = "ctrl+m"', "f, line 2: ctrl+m is the same as Enter"),
        ('[keys]\n"a" = 1', "a must be a key such as"),
        ('[view]\ntheme = "x', "f is no TOML (Unterminated string (at end of document)): the defaults count"),
        ("[sampling]\ntemperature = nan", "temperature must be a number from 0 to 2, not nan"),
    ],
)
def test_a_bad_line_is_named_and_the_default_counts(text: str, words: str) -> None:
    settings, (complaint,) = parse(text, "f")
    assert words in complaint
    assert complaint.endswith(".")
    assert settings == Settings()


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_bytes(b"\xff\xfe")
    assert read(tmp_path / "s.toml")[1] == [
        f"{tmp_path}/s.toml cannot be read (it is no UTF-8 text): the defaults count."
    ]
    assert "cannot be read" in read(tmp_path)[1][0]


values = st.fixed_dictionaries(
    {},
    optional={
        "theme": st.text(max_size=10),
        "sidebar": st.booleans(),
        "send": st.sampled_from(["enter", "alt+enter"]),
        "system_prompt": st.text(),
        "temperature": st.none() | st.floats(0, 2),
        "top_k": st.none() | st.integers(0, 1000),
        "seed": st.none() | st.integers(-(2**62), 2**62),
        "keys": st.dictionaries(st.text("ab.", min_size=1), st.sampled_from(["f9", "ctrl+x,f2"])).map(
            lambda keys: tuple(keys.items())
        ),
    },
)


@given(values, values, values)
def test_what_is_written_is_what_is_read(first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]) -> None:
    none, one, other, last = Settings(), Settings(**first), Settings(**second), Settings(**third)
    text = updated(fresh(), none, one)
    assert all(option.metadata["doc"] in text for option in options())
    assert same(text, one)
    text = updated(text, one, other)
    assert same(text, other)
    assert same(updated(text, other, last), last)
    assert same(updated("", none, last), last)
    assert updated(text, last, last) == text


def same(text: str, settings: Settings) -> bool:
    found, complaints = parse(text, "f")
    assert complaints == []
    return replace(found, keys=()) == replace(settings, keys=()) and dict(found.keys) == dict(settings.keys)


def test_comments_order_and_strange_parts_stay() -> None:
    text = SAID + "\n[mine]\nx = 1  # keep\n"
    settings, _ = parse(text, "f")
    changed = updated(text, settings, replace(settings, theme="gruvbox", temperature=None, send="alt+enter"))
    assert 'theme = "gruvbox"  # the best' in changed
    assert changed.startswith("# mine\n[view]\n")
    assert "[mine]\nx = 1  # keep\n" in changed
    assert "temperature" not in changed
    assert parse(changed, "f")[0] == replace(settings, theme="gruvbox", temperature=None, send="alt+enter")
    assert updated(text, settings, settings) == text


def test_keys_need_no_quotes() -> None:
    text = '[keys]\nanswer.stop = "f9"\n'
    settings, complaints = parse(text, "f")
    assert (dict(settings.keys), complaints) == ({"answer.stop": "f9"}, [])
    changed = updated(text, settings, replace(settings, keys=(("answer.stop", "f8"),)))
    assert dict(parse(changed, "f")[0].keys) == {"answer.stop": "f8"}


def test_a_bad_value_is_its_writers_to_mend_until_another_one_is_chosen() -> None:
    text = "[view]\nsidebar = 1\n[sampling]\ntemperature = 3  # hot\n"
    settings, _ = parse(text, "f")
    assert updated(text, settings, replace(settings, theme="nord")).endswith("[sampling]\ntemperature = 3  # hot\n")
    changed = updated(text, settings, replace(settings, sidebar=False, temperature=1.5))
    assert changed == "[view]\nsidebar = false\n[sampling]\ntemperature = 1.5  # hot\n"


def test_what_another_window_or_an_editor_has_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[chat]\nsystem_prompt = 'Old.'\n")
    ours, _ = read(path)
    path.write_text("[chat]\nsystem_prompt = 'New.'\n[keys]\n'answer.stop' = 'f9'\n")
    save(path, ours, replace(ours, theme="nord"))
    found, complaints = read(path)
    assert complaints == []
    assert (found.system_prompt, found.theme, found.keys) == ("New.", "nord", (("answer.stop", "f9"),))


def test_a_removed_file_does_not_come_back_with_what_it_said(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    save(path, Settings(seed=5), Settings(seed=5, theme="nord"))
    assert read(path)[0] == Settings(theme="nord")


def test_a_setting_takes_the_place_of_its_commented_default_and_gives_it_back() -> None:
    text = fresh()
    warm, nothing = Settings(temperature=0.5, sidebar=False), Settings()
    changed = updated(text, nothing, warm)
    assert changed == text.replace("# temperature =", "temperature = 0.5").replace(
        "# sidebar = true", "sidebar = false"
    )
    assert updated(changed, warm, replace(warm, temperature=None)) == text.replace(
        "# sidebar = true", "sidebar = false"
    )


def test_a_setting_that_is_added_is_explained() -> None:
    changed = updated("[view]\ntheme = 'nord'\n\n[keys]\n", Settings(theme="nord"), Settings("nord", False, seed=4))
    assert changed.splitlines() == [
        "[view]",
        "theme = 'nord'",
        "# Show the list of conversations at the start, where the terminal is wide.",
        "sidebar = false",
        "",
        "[keys]",
        "",
        "[sampling]",
        "# The same seed gives the same answer. Left out, the model's own default counts.",
        "seed = 4",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "view = {theme = 'x'}\n",
        "view.theme = 'x'\n",
        "[keys.answer]\nstop = 'f9'\n[view]\ntheme = 'x'\n[keys.chat]\nnew = 'f7'\n",
    ],
)
def test_a_table_may_be_written_in_other_ways(text: str) -> None:
    before, _ = parse(text, "f")
    after = replace(before, theme="nord", sidebar=False, keys=(("answer.stop", "f8"),))
    assert same(updated(text, before, after), after)


def test_what_stands_in_the_place_of_a_table_is_named_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("view = 1\n")
    with pytest.raises(SettingsError, match=r"view is no table, so nothing was written"):
        save(path, Settings(), Settings(theme="nord"))
    assert path.read_text() == "view = 1\n"


def test_a_new_file_explains_every_setting(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "settings.toml"
    save(path, Settings(), Settings(theme="nord"))
    text = path.read_text()
    assert all(option.metadata["doc"] in text for option in options())
    assert '\ntheme = "nord"\n' in text
    assert '# send = "enter"\n' in text
    save(path, Settings(theme="nord"), Settings())
    assert read(path) == (Settings(), [])
    assert [entry.name for entry in path.parent.iterdir()] == ["settings.toml"]


def test_a_broken_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[view")
    with pytest.raises(SettingsError, match=r"is no TOML .* nothing was written"):
        save(path, Settings(), Settings(theme="nord"))
    assert path.read_text() == "[view"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    real, link = tmp_path / "dotfiles" / "s.toml", tmp_path / "s.toml"
    real.write_text("")
    link.symlink_to(real)
    save(link, Settings(), Settings(theme="nord"))
    assert link.is_symlink()
    assert "nord" in real.read_text()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be written"):
        save(tmp_path / "file" / "settings.toml", Settings(), Settings(theme="nord"))
