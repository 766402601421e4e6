"""The reference's Java client behind a pipe: build our small driver once, start a JVM, talk one JSON line per cell."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from idnode.adapters import real_adapters
from idnode_bench.maven import class_path

PROJECT = Path(__file__).parent / "java"
MAIN_CLASS = "idnode.matrix.HandleMatrix"
CLIENT_VERSION = os.environ.get("IDNODE_TEST_HANDLE_CLIENT", "9.3.1")

JVM_START_TIMEOUT_S = 30.0
# The driver gives a cell up after its own deadline (20 s); only a hung JVM is silent for longer.
ANSWER_TIMEOUT_S = 40.0
FAST_START = ("-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:+UseSerialGC", "-Xmx256m")


class JavaClientDied(Exception):
    """The JVM ended or fell silent in the middle of the conversation; the message carries what it printed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one command came to.

    `code` is the response code the client received, None when the library refused or gave up by itself; then
    `client_code` and `client_error` are the library's own. `raw` holds everything else of the line.
    """

    ok: bool
    code: int | None
    ms: float
    detail: str
    raw: Mapping[str, Any]

    @property
    def values(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.raw.get("values", [])
        return found

    @property
    def client_error(self) -> str | None:
        return self.raw.get("client_error")


@dataclass(frozen=True, slots=True)
class JavaClient:
    """A running JVM with one configuration folder."""

    process: subprocess.Popen[bytes]
    lines: queue.Queue[bytes] = field(repr=False)
    errors: Path = field(repr=False)

    def ask(self, **command: Any) -> Answer:
        """Run one cell and wait for its line. Raises JavaClientDied."""
        raw = self._exchange(command)
        return Answer(raw["ok"], raw["code"], raw["ms"], raw["detail"] or "", raw)

    def _exchange(self, command: Mapping[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise JavaClientDied(f"{error}; the JVM printed:\n{self._printed()}") from error
        return self.read(ANSWER_TIMEOUT_S)

    def read(self, timeout: float) -> dict[str, Any]:
        """The next line, at most `timeout` seconds from now. Raises JavaClientDied."""
        try:
            line = self.lines.get(timeout=timeout)
        except queue.Empty:
            raise JavaClientDied(f"no line within {timeout:g} s; the JVM printed:\n{self._printed()}") from None
        if not line:
            raise JavaClientDied(f"the JVM ended; it printed:\n{self._printed()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def summary(self) -> dict[str, Any]:
        """End the conversation; how many cells were run and how many succeeded."""
        return self._exchange({"op": "quit"})

    def _printed(self) -> str:
        return "\n".join(self.errors.read_text(errors="replace").splitlines()[-30:])


def build(cache: Path, version: str = CLIENT_VERSION) -> str:
    """Compile the driver against one release of the client; returns the class path. Raises PeerMissing."""
    adapters = real_adapters()
    try:
        return class_path(adapters.disk, PROJECT, cache, {"handle.client.version": version})
    finally:
        adapters.close()


@contextmanager
def started_client(class_path: str, config_dir: Path, errors: Path) -> Iterator[JavaClient]:
    """A JVM that knows nothing but the configuration folder; `errors` receives what it prints besides answers."""
    command = ["java", *FAST_START, f"-Dnet.handle.configDir={config_dir}", "-cp", class_path, MAIN_CLASS]
    with errors.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    assert process.stdin is not None
    assert process.stdout is not None
    lines: queue.Queue[bytes] = queue.Queue()
    reader = threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True)
    reader.start()
    client = JavaClient(process, lines, errors)
    try:
        client.read(JVM_START_TIMEOUT_S)
        yield client
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdin.close()
        process.stdout.close()


def _pump(stream: IO[bytes], lines: queue.Queue[bytes]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(b"")
