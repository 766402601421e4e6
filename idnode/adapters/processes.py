"""Processes of ours, and the line between parent and child.

Children come from a *fork server*: a process without threads that has imported what they need, so that a child that
died is replaced within milliseconds, where a fresh interpreter needs a second for its imports. Nothing of the parent is
inherited but what is passed (as with ``spawn``).

The line is a pipe of pickled messages. It ends when either side does, however it does: so the parent learns of a death,
and no child outlives its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import Any, Final

STOP: Final = "stop"
ORPHAN_S: Final = 15.0
"""What a child may take for its end when its parent is gone; then it is ended."""
REAP_S: Final = 5.0


class Child:
    """A child process as its parent sees it, on the running loop."""

    def __init__(self, process: BaseProcess, line: Connection) -> None:
        self._process = process
        self._line = line
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(line.fileno(), self._readable)

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    @property
    def exit_code(self) -> int | None:
        """As multiprocessing has it: negative = the signal that ended it; None while it runs."""
        return self._process.exitcode

    async def receive(self) -> Any:
        """The child's next message; None when it has ended."""
        return await self._messages.get()

    def tell_to_stop(self) -> None:
        """It has ended when :meth:`receive` gives None."""
        with contextlib.suppress(OSError):  # it has ended already
            self._line.send(STOP)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def _readable(self) -> None:
        try:
            while self._line.poll():
                self._messages.put_nowait(self._line.recv())
        except (EOFError, OSError):
            self._loop.remove_reader(self._line.fileno())
            self._line.close()
            self._process.join(REAP_S)
            self._messages.put_nowait(None)


class Processes:
    """Starts children. ``modules`` are imported once, for all of them."""

    def __init__(self, modules: Sequence[str] = ()) -> None:
        context = multiprocessing.get_context("forkserver")
        assert isinstance(context, ForkServerContext)
        context.set_forkserver_preload(list(modules))
        self._context = context

    def start(self, name: str, main: Callable[..., None], *arguments: Any) -> Child:
        """A child that runs ``main(line, *arguments)``; all must be picklable, ``line`` is a :class:`ParentLine`."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_run, args=(main, theirs, *arguments), name=name, daemon=True)
        process.start()
        theirs.close()
        return Child(process, ours)


def _run(main: Callable[..., None], line: Connection, *arguments: Any) -> None:
    """In the child. Ctrl-C reaches the whole group of processes: what it means is for the parent to say."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    main(ParentLine(line), *arguments)


class ParentLine:
    """The child's end of the line."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self.is_orphan = False

    def send(self, message: Any) -> None:
        """Tell the parent; what cannot be told to one that has gone is lost."""
        with contextlib.suppress(OSError):
            self._line.send(message)

    def when_told_to_stop(self, stop: asyncio.Event) -> None:
        """Set ``stop``, of the running loop, when the parent says so or is gone."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, args=(loop, stop), name="idnode-parent", daemon=True).start()

    def _listen(self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        try:
            while self._line.recv() != STOP:
                pass
        except (EOFError, OSError):
            self.is_orphan = True
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(stop.set)
        threading.Event().wait(ORPHAN_S if self.is_orphan else None)
        os._exit(1)
