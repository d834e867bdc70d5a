"""The transcript's keys: for moving about in it, and for what is done with what the cursor is on."""

from __future__ import annotations

# (name, keys, action, label); the binding's id is ``transcript.NAME``, by which it is remapped.
NAVIGATION: tuple[tuple[str, str, str, str], ...] = (
    ("top", "home", "scroll_home", "Top"),
    ("end", "end", "scroll_end", "End"),
    ("previous_message", "alt+up,left_curly_bracket", "move(-1, 'message')", "Previous message"),
    ("next_message", "alt+down,right_curly_bracket", "move(1, 'message')", "Next message"),
    ("previous_block", "k", "move(-1, 'block')", "Previous block"),
    ("next_block", "j", "move(1, 'block')", "Next block"),
    ("previous_code", "left_square_bracket", "move(-1, 'code')", "Previous code block"),
    ("next_code", "right_square_bracket", "move(1, 'code')", "Next code block"),
    ("select_left", "shift+left", "select('left')", "Select to the left"),
    ("select_right", "shift+right", "select('right')", "Select to the right"),
    ("select_up", "shift+up", "select('up')", "Select upwards"),
    ("select_down", "shift+down", "select('down')", "Select downwards"),
    ("select_home", "shift+home", "select('home')", "Select to the line's beginning"),
    ("select_end", "shift+end", "select('end')", "Select to the line's end"),
    ("select_page_up", "shift+pageup", "select('pageup')", "Select a page upwards"),
    ("select_page_down", "shift+pagedown", "select('pagedown')", "Select a page downwards"),
    ("copy", "c,ctrl+c,super+c", "copy", "Copy what is selected or current"),
    ("save_code", "s", "ask('code.save')", "Save the code block"),
    ("open_code", "o", "ask('code.open')", "Open the code block in the editor"),
    ("next_hit", "n", "find(1)", "Next hit"),
    ("previous_hit", "N,shift+n", "find(-1)", "Previous hit"),
    ("write", "tab", "screen.write", "Go to the composer"),
    ("leave", "escape", "leave", "Let go"),
)
