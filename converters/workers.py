"""Work in threads with little of it in flight, so that memory and what a kill costs stay bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait


def in_threads(
    work: Callable[[int], int], numbers: Iterator[int], threads: int, interrupt: Callable[[], None]
) -> Iterator[int]:
    """Run ``work`` on all numbers, begun in their order; yields finished ones, raises the first failure.

    ``interrupt`` is called after a failure or Ctrl-C and lets work that waits for something fail soon.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="quantize") as pool:
        pending: set[Future[int]] = set()
        try:
            for number in numbers:
                pending.add(pool.submit(work, number))
                # Two waiting ones keep the threads busy while the caller looks at a finished one.
                if len(pending) >= threads + 2:
                    finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            while pending:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        except BaseException:
            interrupt()
            raise
        finally:
            # After a failure or Ctrl-C, wait only for the few slabs that are being worked on.
            pool.shutdown(cancel_futures=True)
