"""``idnode serve`` in processes that are killed, with what no setting offers: a group size, and a defect on request.

Importing the node takes longer than most lives last, so this process does it once and forks. One JSON line in is one
life: ``{"settings", "errors", "group_jobs", "defect"}``, ``errors`` being the file for what it complains about. Out:
``pid N``, what ``idnode serve`` prints, and ``ended STATUS``.

The defect ``acknowledge-first`` answers before the commit, which then takes its time: the campaign must find it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from idnode.cli.main import app
from idnode_registry.engines import writer

COMMIT_DELAY_S = 0.02


def acknowledge_first() -> None:
    """Resolve each future when its job is in the transaction; commit a little later, as a slow disk would."""
    apply, attempt, pause = writer._apply, writer.Writer._attempt, threading.Event()

    def early(job: Any, group: writer.Group) -> tuple[Any, Exception | None]:
        result, fault = apply(job, group)
        if fault is None:
            asked, job.future = job.future, Future()
            job.future.set_running_or_notify_cancel()
            asked.set_result(result)
        return result, fault

    def slow(self: writer.Writer, jobs: Any) -> Any:
        self.commit = lambda txn: (pause.wait(COMMIT_DELAY_S), txn.commit())[1]
        return attempt(self, jobs)

    writer._apply = early
    writer.Writer._attempt = slow  # type: ignore[method-assign]


DEFECTS: Final[dict[str, Callable[[], None]]] = {"": lambda: None, "acknowledge-first": acknowledge_first}


def live(order: dict[str, Any]) -> None:
    """In the forked process: serve until the end."""
    errors = os.open(order["errors"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(errors, 2)
    writer.GROUP_JOBS_MAX = order["group_jobs"]  # type: ignore[misc]
    DEFECTS[order["defect"]]()
    try:
        app(["serve", order["settings"]])
    finally:
        sys.stdout.flush()


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                live(json.loads(line))
            finally:
                os._exit(1)
        print(f"pid {pid}", flush=True)
        _, status = os.waitpid(pid, 0)
        print(f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main()
