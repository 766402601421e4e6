"""What the tests with real clients share: a running node, the Java client behind a pipe, the printed matrix."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.java_client import JavaClient, build, started_client
from tests.clients.node_process import RunningNode, started_node

BUILD = Path(__file__).parents[2] / "build"
MATRIX_PROPERTY = "java_cell"
_COLUMNS = ("operation", "via", "transport", "credential", "session", "code", "ms", "counted")


@pytest.fixture(scope="session")
def running_node() -> Iterator[RunningNode]:
    """The demo node, started once by `idnode up` and shared; tests use names of their own."""
    with started_node() as node:
        yield node


@pytest.fixture(scope="session")
def java_class_path() -> str:
    """The compiled driver and the reference client; built by Maven on first use, else found in the cache."""
    return build(BUILD)


@pytest.fixture(scope="session")
def java(
    java_class_path: str, running_node: RunningNode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[JavaClient]:
    """A JVM that was given the node's client-config folder, with the node standing in for the root.

    The matrix is about one server: what the client would ask the country's other nodes must be counted here too.
    """
    folder = tmp_path_factory.mktemp("java")
    config = folder / "config"
    shutil.copytree(running_node.client_config, config)
    local = json.loads((config / "local_info.json").read_text())
    local[0]["nas"].append("0.NA/0.NA")
    (config / "local_info.json").write_text(json.dumps(local))
    (config / "local_info").unlink()  # the same in the binary form, which the client would read first
    with started_client(java_class_path, config, folder / "stderr") as client:
        yield client


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the matrix: one line per cell, with what the server counted."""
    rows = []
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            rows += [(outcome, json.loads(str(v))) for name, v in report.user_properties if name == MATRIX_PROPERTY]
    if not rows:
        return
    terminalreporter.section("Handle.Net Java client: operation x transport x credential x session")
    table = [_COLUMNS, *([str(cell[column]) for column in _COLUMNS] for _, cell in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(_COLUMNS))]
    marks = ["", *("" if outcome == "passed" else "  FAILED" for outcome, _ in rows)]
    for row, mark in zip(table, marks, strict=True):
        line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        terminalreporter.write_line(line.rstrip() + mark)
    failed = sum(outcome == "failed" for outcome, _ in rows)
    terminalreporter.write_line(f"{len(rows)} cells, {failed} failed")
