"""Make docs/chat.svg, the README's picture: the real app, the real engine, the demo model.

    .venv/bin/python scripts/screenshot.py [MODEL]

MODEL is `demo` by default, which `localqwen demo` installs. With cairosvg installed, docs/chat.png is made as well.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from textual.pilot import Pilot

from localqwen import library
from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from localqwen.events import Ready
from localqwen.params import SamplingParams
from tui.app import ChatApp
from tui.backend import LocalServer

DOCS = Path(__file__).resolve().parent.parent / "docs"
EARLIER = ("Plan a week of dinners", "Why is the sky blue?", "Explain YaRN like I am five")
QUESTIONS = (
    "What is the capital of Japan?",
    "Write a Python function that reverses a string, with a short explanation.",
)
SIZE = (108, 34)
DEADLINE_SECONDS = 180


async def main(model: str) -> None:
    """Ask the questions and take the picture."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "chats.sqlite3")
        for title in EARLIER:
            await Conversation(store).ask(title)
        # Temperature 0: the picture is the same each time.
        params = SamplingParams(temperature=0, max_tokens=400)
        app = ChatApp(store, LocalServer(library.resolve(model), model), params)
        async with app.run_test(size=SIZE) as pilot:
            for count, question in enumerate(QUESTIONS, 1):
                app.chat.focused.insert(question)  # type: ignore[union-attr]
                await pilot.press("enter")
                await _answered(app, pilot, store, count)
            await pilot.pause(0.5)
            svg = app.export_screenshot(title="localqwen")
        store.close()
    DOCS.mkdir(exist_ok=True)
    (DOCS / "chat.svg").write_text(svg)
    print(f"wrote {DOCS / 'chat.svg'}")
    try:
        import cairosvg  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return
    # cairosvg loads no web fonts; name one that is there.
    cairosvg.svg2png(bytestring=svg.replace("Fira Code", "DejaVu Sans Mono").encode(), write_to=str(DOCS / "chat.png"))
    print(f"wrote {DOCS / 'chat.png'}")


async def _answered(app: ChatApp, pilot: Pilot[None], store: Store, count: int) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            await pilot.pause(0.05)
            chat = store.chats()[0]
            answers = [m for m in store.tree(chat.id).path(chat.tip) if m.role == "assistant" and m.state == "done"]
            if len(answers) == count and isinstance(app.backend.state, Ready):
                return


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:] or ["demo"]))
