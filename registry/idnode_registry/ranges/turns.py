"""One registration of a range after the other: whether two overlap is decided from what is stored.

A store compares and sets one row; that two rows of different names overlap it cannot see. So a range is decided about
only when the one before it was written, or refused. One process writes to a store, so its memory is the place for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import TypeVar

_T = TypeVar("_T")
Work = Callable[[], "Future[_T]"]


class Turns:
    """Starts each piece of work when the one before it has ended. Any thread may add some."""

    def __init__(self) -> None:
        self._lock = Lock()  # guards the two below
        self._waiting: deque[Callable[[], Future[object]]] = deque()
        self._is_busy = False

    def take(self, work: Callable[[], Future[_T]]) -> Future[_T]:
        """The future of ``work``, which starts now or later on another thread."""
        promised: Future[_T] = Future()
        promised.set_running_or_notify_cancel()

        def start() -> Future[object]:
            started: Future[object] = Future()
            try:
                inner = work()
            except BaseException as wrong:
                promised.set_exception(wrong)
                started.set_result(None)
                return started
            inner.add_done_callback(lambda done: _pass_on(done, promised, started))
            return started

        with self._lock:
            self._waiting.append(start)
            if self._is_busy:
                return promised
            self._is_busy = True
        self._run()
        return promised

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._is_busy = False
                    return
                start = self._waiting.popleft()
            ended = start()
            if not ended.done():
                ended.add_done_callback(lambda _: self._run())
                return


def _pass_on(done: Future[_T], promised: Future[_T], started: Future[object]) -> None:
    wrong = done.exception()
    if wrong is None:
        promised.set_result(done.result())
    else:
        promised.set_exception(wrong)
    started.set_result(None)
