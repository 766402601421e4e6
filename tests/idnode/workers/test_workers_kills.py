"""``kill -9`` of each process of a node: what still works, and how soon all does again."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from idnode_protocol.codes import OpCode, ResponseCode
from idnode_protocol.requests import ValuesRequest
from tests.campaigns.results import RESULTS, Result
from tests.idnode.workers.several import (
    OPEN,
    SMALL,
    Datagrams,
    Several,
    Stream,
    code_of,
    first_value,
    is_alive,
    message,
    question,
    several,
    until,
    url,
)

KILLS = int(os.environ.get("IDNODE_WORKERS_KILLS") or {"prove": 100}.get(os.environ.get("IDNODE_CAMPAIGN", ""), 2))
WRITES_AGAIN_S = 2.0
WRITERS = 4
READ_EVERY_S = 0.005
ACKNOWLEDGED_BETWEEN = 40

pytestmark = [pytest.mark.serial, pytest.mark.grows, pytest.mark.timeout(600 + 30 * KILLS)]


class Writers:
    """Threads that create records one after the other, each with a connection of its own, whatever happens."""

    def __init__(self, node: Several) -> None:
        self._node = node
        self._is_over = threading.Event()
        self._number = 0
        self._guard = threading.Lock()
        self.acknowledged: dict[str, float] = {}  # name -> when it was asked for
        self.refused: list[tuple[float, int]] = []
        self.others: list[int] = []
        self.threads = [threading.Thread(target=self._run) for _ in range(WRITERS)]

    def _run(self) -> None:
        while not self._is_over.is_set():
            with self._guard:
                self._number += 1
                name = f"99.901/kill-{self._number}"
            create = message(OpCode.CREATE_HANDLE, ValuesRequest(name.encode(), (url(name),)))
            try:
                with Stream(self._node.native) as stream:
                    began = time.monotonic()
                    code = code_of(stream.ask(create))
            except OSError:
                self.others.append(-1)
                continue
            if code == ResponseCode.SUCCESS:
                self.acknowledged[name] = began
            elif code == ResponseCode.SERVER_BUSY:
                self.refused.append((time.monotonic(), round(1e3 * (time.monotonic() - began))))
                time.sleep(0.01)
            else:
                self.others.append(code)

    def __enter__(self) -> Writers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        for thread in self.threads:
            thread.join()


class Reader:
    """Resolves all the time, on sockets of all workers; ``slowest`` in seconds."""

    def __init__(self, node: Several, handle: str) -> None:
        self._node, self._question = node, question(handle, 9)
        self._is_over = threading.Event()
        self.answered, self.failed, self.slowest = 0, 0, 0.0
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with Datagrams(self._node.native, 8) as asked:
            while not self._is_over.wait(READ_EVERY_S):
                began = time.monotonic()
                try:
                    is_right = code_of(asked.ask(self.answered % 8, self._question)) == ResponseCode.SUCCESS
                except OSError:
                    is_right = False
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.answered += is_right
                self.failed += not is_right

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        self._thread.join()


@contextmanager
def node_under_load(folder: Path) -> Iterator[tuple[Several, Writers, Reader]]:
    with several(folder, OPEN, workers=2) as node, Writers(node) as writers, Reader(node, SMALL) as reader:
        yield node, writers, reader


def killed_and_back(node: Several, writers: Writers) -> float:
    """Kill the registry process among writes; seconds from there to the first acknowledgement of the next one."""
    enough = len(writers.acknowledged) + ACKNOWLEDGED_BETWEEN
    until(lambda: len(writers.acknowledged) >= enough, 30)
    refused = len(writers.refused)
    killed = node.kill("registry")
    began = time.monotonic()
    until(lambda: any(at > began for at in list(writers.acknowledged.values())), 10, every=0.001)
    gap = time.monotonic() - began
    assert len(writers.refused) > refused, "a write has to be told that it was not taken"
    until(lambda: node.pids()["registry"] != killed, 5)
    return gap


def test_the_registry_process_is_killed(tmp_path: Path, seed: int, campaign: str) -> None:
    result = Result(RESULTS if campaign == "prove" else None, seed)
    gaps: list[float] = []
    with node_under_load(tmp_path) as (node, writers, reader):
        for _ in range(KILLS):
            gaps.append(killed_and_back(node, writers))
        until(lambda: node.readiness() == [], 10)
    lost = _lost(tmp_path, list(writers.acknowledged))
    slowest_refusal_ms = max(ms for _, ms in writers.refused)
    print(
        f"kills {KILLS}, writing again after {max(gaps):.2f} s at most, {len(writers.acknowledged)} acknowledged, "
        f"{len(lost)} lost, {len(writers.refused)} refused, resolved {reader.answered}, slowest {reader.slowest:.3f} s"
    )
    result.write(
        "workers-kill9",
        kills=KILLS,
        writing_again_s=[round(each, 3) for each in gaps],
        acknowledged=len(writers.acknowledged),
        lost=lost[:20],
        refused=len(writers.refused),
        slowest_refusal_ms=slowest_refusal_ms,
        resolved=reader.answered,
        unresolved=reader.failed,
        slowest_resolution_s=round(reader.slowest, 3),
    )
    assert lost == []
    assert reader.failed == 0
    assert reader.slowest < 1.0
    assert max(gaps) < WRITES_AGAIN_S
    assert set(writers.others) <= {ResponseCode.ERROR}, "what was under way: it is not known how it ended"


def _lost(folder: Path, names: list[str]) -> list[str]:
    """Acknowledged writes that a node started anew does not have."""

    lost = []
    with several(folder, OPEN, workers=2) as node, Datagrams(node.native, 4) as asked:
        for number, name in enumerate(names):
            answer = asked.ask(number % 4, question(name, number))
            if code_of(answer) != ResponseCode.SUCCESS or first_value(answer) != name.encode():
                lost.append(name)
    return lost


def test_a_resolver_is_killed(tmp_path: Path) -> None:
    with several(tmp_path, OPEN, workers=2) as node:
        killed = node.kill("resolver 0")
        until(lambda: node.pids()["resolver 0"] != killed, 10)
        until(lambda: node.readiness() == [], 10)
        with Datagrams(node.native, 16) as asked:
            for place in range(16):
                assert code_of(asked.ask(place, question(SMALL))) == ResponseCode.SUCCESS
        lost = [each for each in node.serving.log if each["event"] == "process-lost"]
        assert [(each["process"], each["status"]) for each in lost] == [("resolver 0", -9)]
        assert not is_alive(killed)


def test_the_rest_serves_while_a_process_is_away(tmp_path: Path) -> None:
    with several(tmp_path, OPEN, workers=2) as node:
        os.kill(node.pids()["registry"], signal.SIGSTOP)
        reasons = node.readiness()
        with Datagrams(node.native, 8) as asked:
            for place in range(8):
                assert code_of(asked.ask(place, question(SMALL))) == ResponseCode.SUCCESS
        assert node.http("/api/handles/99.900/ADMIN")[0] == 200
        assert any("registry" in reason for reason in reasons)
        node.kill("registry")
        until(lambda: node.readiness() == [], 10)


def test_no_process_outlives_its_parent(tmp_path: Path) -> None:
    with several(tmp_path, OPEN, workers=2) as node:
        pids = node.pids()
        assert all(map(is_alive, pids.values()))
        node.serving.process.kill()
        node.serving.process.wait()
        until(lambda: not any(map(is_alive, pids.values())), 10)
