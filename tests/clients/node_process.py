"""A node as its user starts it: a child process, its ready file, and the counters it publishes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.05
HTTP_TIMEOUT_S = 10.0

_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

# One series of a counter: (metric name, sorted (label, value) pairs).
Series = tuple[str, tuple[tuple[str, str], ...]]


class NodeDidNotStart(Exception):
    """The node ended, or did not write its ready file in time; the message carries what it printed."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What `/metrics` said at one moment; subtract two to see what happened between them."""

    values: Mapping[Series, float]

    def __sub__(self, earlier: Counters) -> Counters:
        delta = {key: value - earlier.values.get(key, 0.0) for key, value in self.values.items()}
        return Counters({key: value for key, value in delta.items() if value != 0.0})

    def total(self, name: str, **labels: str) -> int:
        """Sum over the series of `name` that carry all of `labels`."""
        wanted = set(labels.items())
        return int(sum(v for (n, pairs), v in self.values.items() if n == name and wanted <= set(pairs)))

    def label_values(self, name: str, label: str) -> Counter[str]:
        """How much each value of one label of `name` counted."""
        sums: Counter[str] = Counter()
        for (metric, pairs), value in self.values.items():
            if metric == name:
                sums[dict(pairs).get(label, "")] += int(value)
        return sums

    def lines(self, prefix: str = "hdl_") -> list[str]:
        """The series as text, for messages of failed assertions."""
        found = sorted((name, pairs, value) for (name, pairs), value in self.values.items() if name.startswith(prefix))
        return [f"{name}{dict(pairs)} {value:g}" for name, pairs, value in found]


def parse_counters(text: str) -> Counters:
    """Read the Prometheus text format (version 0.0.4); comments and lines without a number are passed over."""
    values: dict[Series, float] = {}
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match is None:
            continue
        labels = tuple(sorted(_LABEL.findall(match["labels"] or "")))
        values[(match["name"], labels)] = float(match["value"])
    return Counters(values)


@dataclass(frozen=True, slots=True)
class RunningNode:
    """One node of a ready file."""

    process: subprocess.Popen[bytes]
    description: Mapping[str, Any]
    log: Path

    @property
    def prefix(self) -> str:
        return str(self.description["prefixes"][0])

    @property
    def client_config(self) -> Path:
        return Path(self.description["client_config"])

    @property
    def http(self) -> str:
        return str(self.description["http"])

    @property
    def admin(self) -> Mapping[str, Any]:
        admin: Mapping[str, Any] = self.description["admin"]
        return admin

    def counters(self) -> Counters:
        """The node's counters now."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.http}/metrics", timeout=HTTP_TIMEOUT_S) as answer:
            return parse_counters(answer.read().decode())


@contextmanager
def started_node(
    arguments: Sequence[str] = (), env: Mapping[str, str] | None = None, program: Sequence[str] = ("-m", "idnode")
) -> Iterator[RunningNode]:
    """The demo node of `idnode up`: the first of its ready file."""
    with started_nodes(arguments, env, program) as nodes:
        yield nodes[0]


@contextmanager
def started_nodes(
    arguments: Sequence[str] = (), env: Mapping[str, str] | None = None, program: Sequence[str] = ("-m", "idnode")
) -> Iterator[list[RunningNode]]:
    """Every node of `idnode up` on free ports in a folder of its own; ended and removed when the block ends.

    Raises NodeDidNotStart. `env` replaces the environment when given; `program` is what Python runs as `idnode`.
    """
    with tempfile.TemporaryDirectory(prefix="idnode-clients-") as name:
        folder = Path(name)
        ready = folder / "ready.json"
        command = [sys.executable, *program, "up", "--udp-admin", "--port-base", "0", "--ready-file", str(ready)]
        command += ["--data", str(folder / "data"), *arguments]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env)
        try:
            _await_ready(process, ready, folder / "log")
            listed = json.loads(ready.read_text())["nodes"]
            yield [RunningNode(process, each, folder / "log") for each in listed]
        finally:
            _stop(process)


def _await_ready(process: subprocess.Popen[bytes], ready: Path, log: Path) -> None:
    """Wait for the file; `Popen.wait` is the pause, so an early end of the process is noticed at once."""
    for _ in range(int(START_TIMEOUT_S / POLL_S)):
        if ready.exists():
            return
        try:
            status = process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            continue
        raise NodeDidNotStart(f"the node ended with status {status}:\n{_tail(log)}")
    raise NodeDidNotStart(f"no ready file within {START_TIMEOUT_S:g} s:\n{_tail(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path, lines: int = 40) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
