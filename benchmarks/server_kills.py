"""`kill -9` of the server process at random moments, with the chat's own client attached.

    PYTHONPATH=. python -m benchmarks.server_kills [--model GGUF] [--kills 200] [--seed 0]

Every conversation asks, loses its server somewhere between the question and the end of the answer, has the server
started again, and asks once more. It is whole when the file holds the question, all of the text that had arrived, the
reason, and a finished second answer. The time from the kill to a ready server is compared with loading undisturbed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sqlite3
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from benchmarks.machine import description
from benchmarks.serving import median
from localqwen.chats.session import Conversation
from localqwen.chats.store import Store
from localqwen.client import Client
from localqwen.errors import ServerError
from localqwen.events import AnswerEvent, Delta, Ready
from localqwen.params import ChatMessage, SamplingParams
from localqwen.serve_options import ServeOptions
from localqwen.supervisor import Supervisor
from tests.fixtures import demo_gguf

LONGEST_SECONDS = 1.5  # after the question
PARAMS = SamplingParams(temperature=0, max_tokens=160)


class Attached:
    """A server that is ready, with a client that keeps it alive."""

    def __init__(self, supervisor: Supervisor, client: Client, process: int) -> None:
        self.supervisor = supervisor
        self.client = client
        self.process = process
        self.received = ""

    async def answers(self, history: list[ChatMessage]) -> AsyncGenerator[AnswerEvent, None]:
        """The client's stream, with an ear on it."""
        async with aclosing(self.client.stream(history, PARAMS)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    self.received += event.text
                yield event


async def trial(path: Path, store: Store, chooser: random.Random) -> tuple[bool, str, float, float]:
    """One conversation: whether it is whole, when the kill came, and seconds to load before and after it."""
    conversation = Conversation(store)
    loads = []
    phase, arrived = "prefill", ""
    started = time.monotonic()
    for attempt in range(2):
        supervisor = Supervisor(path, ServeOptions(ctx=4096), "demo")
        endpoint = await supervisor.start()
        async with Client(endpoint) as client, aclosing(client.attach()) as states:
            async for state in states:
                if isinstance(state, Ready):
                    break
            loads.append(time.monotonic() - started)
            assert supervisor._process is not None
            attached = Attached(supervisor, client, supervisor._process.pid)
            await conversation.ask(
                f"Write a long story about {'the sea' if attempt else 'a lighthouse keeper ' * 150}."
            )
            answering = asyncio.create_task(
                conversation.respond(attached.answers, PARAMS, lambda: "demo", lambda: None)
            )
            if attempt == 0:
                await asyncio.sleep(chooser.uniform(0, LONGEST_SECONDS))
                os.kill(attached.process, signal.SIGKILL)
                started = time.monotonic()
                message = await answering
                phase = "answer" if attached.received else "prefill"
                if message.state == "done":
                    phase = "after the answer"
                arrived = attached.received
            else:
                await answering
                os.kill(attached.process, signal.SIGKILL)  # the next trial loads from scratch
                await asyncio.to_thread(supervisor.failure)
    assert conversation.chat is not None
    kept = store.tree(conversation.chat.id).path(store.chat(conversation.chat.id).tip)
    whole = (
        [message.role for message in kept] == ["user", "assistant"] * 2
        and kept[1].text == arrived
        and kept[1].state in {"error", "done"}
        and (kept[3].state, bool(kept[3].text)) == ("done", True)
    )
    return whole, phase, loads[0], loads[1]


async def run(path: Path, kills: int, seed: int) -> None:
    """All of them, and the table."""
    chooser = random.Random(seed)
    with tempfile.TemporaryDirectory() as home:
        os.environ["LOCALQWEN_HOME"] = home
        database = Path(home) / "chats.sqlite3"
        store = Store(database)
        results = []
        for _ in range(kills):
            try:
                results.append(await trial(path, store, chooser))
            except ServerError as error:
                print(f"A server did not come up: {error}")
                results.append((False, "start", 0.0, float("inf")))
        store.close()
        with sqlite3.connect(database) as connection:
            sound = connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    phases = [phase for _, phase, _, _ in results]
    print(f"{description()}, {path.name}, {kills} kills, seed {seed}\n")
    print("| whole conversations | database | killed before the first token | in the answer | after it |")
    print("| --- | --- | --- | --- | --- |")
    counts = " | ".join(str(phases.count(phase)) for phase in ("prefill", "answer", "after the answer"))
    print(f"| {sum(row[0] for row in results)} of {kills} | {'sound' if sound else 'DAMAGED'} | {counts} |\n")
    print("| | median | longest |")
    print("| --- | --- | --- |")
    undisturbed, again = [row[2] for row in results], [row[3] for row in results]
    for label, seconds in (("start and load, undisturbed", undisturbed), ("ready again after a kill", again)):
        print(f"| {label} | {median(seconds):.2f} s | {max(seconds):.2f} s |")


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.model or demo_gguf(), arguments.kills, arguments.seed))


if __name__ == "__main__":
    main()
