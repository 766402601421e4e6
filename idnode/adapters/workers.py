"""Work that would hold up the event loop: in threads for real, inline in a simulation."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

THREADS_MAX: Final = 8
"""More would only wait for the interpreter's lock: the work is PBKDF2, RSA, DH and fsync, which release it."""
READERS: Final = 8
"""Threads that read a slow store: they wait for a disk, which answers several reads in the time of one."""


class RunBlocking(Protocol):
    """``await run_blocking(work, *args)`` gives the result of ``work(*args)``, or raises what it raised."""

    async def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    def close(self) -> None:
        """Finish what has begun, start nothing more."""


class ThreadWorkers:
    """A bounded pool of threads; they are started when first needed."""

    def __init__(self, threads: int | None = None) -> None:
        count = threads or min(THREADS_MAX, (os.cpu_count() or 1) + 1)
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="idnode-worker")

    async def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: work(*args, **kwargs))

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


class InlineWorkers:
    """Runs the work at once, in the caller's turn: threads would make a simulation undecided."""

    async def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return work(*args, **kwargs)

    def close(self) -> None:
        """Nothing runs."""
