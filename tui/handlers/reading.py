"""Commands that are about what is shown: finding, marking, copying, saving, scrolling."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tui.desk import Desk
from tui.files import new_file
from tui.handlers import Handler, asked
from tui.sanitize import SafeText, safe_line
from tui.widgets.find_bar import FindBar
from tui.widgets.transcript.cursor import Current

NO_CODE = SafeText("There is no code here yet.")


class ReadingCommands:
    """Find, mark, copy, save, open, scroll."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By command id."""
        desk = self._desk
        return {
            "view.find": self.find,
            "message.previous": lambda _: desk.transcript.move(-1, "message"),
            "message.next": lambda _: desk.transcript.move(1, "message"),
            "code.previous": lambda _: desk.transcript.move(-1, "code"),
            "code.next": lambda _: desk.transcript.move(1, "code"),
            "message.copy": self.copy,
            "code.copy": self.copy_code,
            "code.save": self.save_code,
            "code.open": self.open_code,
            "view.page_up": lambda _: self.page(-1),
            "view.page_down": lambda _: self.page(1),
            "view.start": lambda _: self.jump(to_end=False),
            "view.end": lambda _: self.jump(to_end=True),
        }

    def find(self, text: str) -> None:
        """Open the bar."""
        self._desk.screen.query_one(FindBar).open(safe_line(text))

    def copy(self, _: str) -> None:
        """The selection, the marked block or message, else the last answer; as it was written."""
        desk = self._desk
        answer = desk.last_answer
        text = desk.transcript.current_text() or (answer.message.text if answer is not None else "")
        if text:
            desk.screen.app.copy_to_clipboard(text)
        else:
            desk.voice.say(SafeText("There is no answer to copy yet."))

    def copy_code(self, _: str) -> None:
        """The marked code block, or the last one."""
        code = self._code()
        if code is not None:
            self._desk.screen.app.copy_to_clipboard(code.text)

    async def save_code(self, name: str) -> None:
        """Write the code to a file that is not there yet."""
        from localqwen.chats.export import write_whole

        desk, code = self._desk, self._code()
        if code is None:
            return
        if not name:
            hint = "In the folder where localqwen was started, unless the path says otherwise"
            name = await asked(desk, "Save the code as", safe_line(f"code.{suffix(code.language)}"), hint)
        if not name.strip():
            return

        def write() -> Path:
            path = new_file(name)
            write_whole(path, code.text.encode("utf-8", "replace"))
            return path

        await desk.voice.tell_written(write)

    async def open_code(self, _: str) -> None:
        """Look at the code in an editor; what is changed there stays in its file."""
        from tui.editor import EditorError, edit

        desk, code = self._desk, self._code()
        if code is None:
            return
        try:
            await edit(
                desk.screen.app,
                code.text,
                suffix=f".{suffix(code.language)}",
                configured=desk.settings().editor or None,
                on_changed=lambda file: desk.voice.say(safe_line(f"What you changed is in {file}."), seconds=15),
            )
        except EditorError as error:
            desk.voice.say(safe_line(str(error)), seconds=8)

    def page(self, direction: int) -> None:
        """Scroll by a page, wherever the focus is."""
        transcript = self._desk.transcript
        transcript.scroll_relative(y=direction * max(1, transcript.size.height - 2), animate=False)

    def jump(self, *, to_end: bool) -> None:
        """To the start or the end."""
        transcript = self._desk.transcript
        transcript.scroll_to(y=transcript.max_scroll_y if to_end else 0, animate=False)

    def _code(self) -> Current | None:
        code = self._desk.transcript.current_code()
        if code is None:
            self._desk.voice.say(NO_CODE)
        return code


# Languages whose files do not end in the language's own name.
_SUFFIXES = {
    "python": "py", "py": "py", "javascript": "js", "typescript": "ts", "shell": "sh", "bash": "sh", "sh": "sh",
    "console": "sh", "markdown": "md", "c++": "cpp", "csharp": "cs", "rust": "rs", "ruby": "rb", "kotlin": "kt",
    "yaml": "yml", "text": "txt", "plaintext": "txt", "": "txt",
}  # fmt: skip


def suffix(language: str) -> str:
    """What a file of that language ends in; foreign words are no part of a name unless they are short and plain."""
    name = language.lower()
    plain = name.isascii() and name.isalnum() and len(name) <= 8
    return _SUFFIXES.get(name, name if plain else "txt")
