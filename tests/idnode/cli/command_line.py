"""The command line as a user has it: child processes, their exit codes, and what they print where."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = (sys.executable, "-m", "idnode")
TIMEOUT_S = 60.0
FREE_PORTS = ("listen.udp_port=0", "listen.tcp_port=0", "listen.http_port=0", "listen.addresses=127.0.0.1")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without any variable of idnode's, plus ``more``; 200 columns, so that no message is wrapped."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("IDNODE_")}
    return {**ours, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", **(more or {})}


def idnode(*arguments: str | Path, env: Mapping[str, str] | None = None) -> Ended:
    """Run one command to its end."""
    command = [sys.executable, "-m", "idnode", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, env=environment(env), timeout=TIMEOUT_S, stdin=subprocess.DEVNULL
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@dataclass(frozen=True, slots=True)
class Serving:
    """A node started by ``idnode serve``."""

    process: subprocess.Popen[bytes]
    log_file: Path
    first_line: str

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_file.read_text("utf-8").splitlines()]

    def address(self, transport: str) -> str:
        return str(next(each["address"] for each in self.log if each.get("transport") == transport))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT_S)


@contextmanager
def serving(
    folder: Path, *arguments: str | Path, settings: Sequence[str] = (), program: Sequence[str] = PROGRAM
) -> Iterator[Serving]:
    """``idnode serve`` on free ports, its records in ``folder``; killed at the end if it still runs."""
    pairs = [part for each in (*FREE_PORTS, f"store.folder={folder / 'store'}", *settings) for part in ("--set", each)]
    command = [*program, "serve", *map(str, arguments), *pairs]
    log_file = folder / "log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, env=environment(), stdin=subprocess.DEVNULL
        )
    try:
        assert process.stdout is not None
        first_line = process.stdout.readline().decode()
        assert first_line, log_file.read_text("utf-8")
        yield Serving(process, log_file, first_line)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
