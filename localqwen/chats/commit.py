"""Transactions off the event loop, which a cancellation cannot cut in two."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def committed(transaction: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``transaction`` in a thread to its end, and give its result.

    A thread cannot be stopped. So a cancellation that comes meanwhile waits, and is delivered at the caller's next
    ``await``: what is on the disk is then known to the program as well.
    """
    running = asyncio.ensure_future(asyncio.to_thread(transaction, *args, **kwargs))
    current = asyncio.current_task()
    assert current is not None
    cancelled = False
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            current.uncancel()
            cancelled = True
    if cancelled:
        current.cancel()
    return running.result()
