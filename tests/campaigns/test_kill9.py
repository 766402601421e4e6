"""Durability under ``kill -9``: 16 writers, a process killed at random moments, an oracle that lives outside it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest

WRITERS = 16
KEYS_PER_WRITER = 20
CONTESTED_ONE_IN = 4
KILLS = int(os.environ.get("IDNODE_KILL9_KILLS", "20"))
LIVE_S = (0.02, 0.3)
"""From the first acknowledgement of a life to its end."""
ANSWER_WITHIN_S = 30.0

pytestmark = [pytest.mark.serial, pytest.mark.timeout(60 + 6 * KILLS)]


class StoreProcess:
    """A store in a child process. Another subject needs the same methods: ``send``, ``receive``, ``kill``, ``dump``."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-u", str(Path(__file__).with_name("store_child.py")), str(folder)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if self.receive(ANSWER_WITHIN_S) != {"ready": True}:
            self.kill()
            raise AssertionError("the store's process did not become ready; see its error output")

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if line.endswith("\n"):  # cut by the kill in its middle, it was not said
                    self._answers.put(json.loads(line))
        self._answers.put(None)

    def send(self, job: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def receive(self, within_s: float) -> dict[str, Any] | None:
        """The next answer; None when there is none in time, or the process ended."""
        try:
            return self._answers.get(timeout=max(within_s, 0.0))
        except queue.Empty:
            return None

    def kill(self) -> list[dict[str, Any]]:
        """SIGKILL; what it had still answered before."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdin is not None
        self._process.stdin.close()
        left = []
        while (answer := self.receive(0.0)) is not None:
            left.append(answer)
        return left

    def dump(self) -> dict[str, Any]:
        self.send({"dump": True})
        answer = self.receive(ANSWER_WITHIN_S)
        assert answer is not None, "the store did not say what it holds"
        return answer


class Writers:
    """16 logical writers, one operation each at a time, chosen by seed and by what the oracle knows."""

    def __init__(self, oracle_module: ModuleType, oracle: Any, random: Random) -> None:
        self._module, self._oracle, self._random = oracle_module, oracle, random
        self._writer_of: dict[int, int] = {}
        self._contested_at = [0] * WRITERS
        self._number = 0

    def next_job(self, writer: int) -> dict[str, Any]:
        self._number += 1
        value: str | None = f"value-{writer}-{self._number}"
        if self._random.randrange(CONTESTED_ONE_IN) == 0:
            self._contested_at[writer] += 1
            operation = self._module.Operation(self._number, f"RACE{self._contested_at[writer]}", value, 0, True)
        else:
            name = f"OWN{writer}-{self._random.randrange(KEYS_PER_WRITER)}"
            key = self._oracle.key(name)
            if key.serial != 0 and key.is_certain and self._random.random() < 0.3:
                value = None
            operation = self._module.Operation(self._number, name, value, key.serial)
        self._writer_of[self._number] = writer
        self._oracle.invoke(operation)
        kind = 1 if operation.expect == 0 else 5 if value is None else 6
        row = {"n": operation.number, "key": operation.key, "value": value, "expect": operation.expect}
        return {**row, "operation": kind}

    def take(self, answer: dict[str, Any]) -> int:
        """Tell the oracle; the writer that is free again."""
        number = answer["n"]
        match answer["outcome"]:
            case "applied":
                self._oracle.ok(number, answer["serial"])
            case "conflict":
                self._oracle.fail(number)
            case _:
                self._oracle.complaints.append(f"unexpected answer {answer}")
                self._oracle.unknown(number)
        return self._writer_of.pop(number)


def live(subject: StoreProcess, writers: Writers, random: Random) -> None:
    """Write for a random while, then kill."""
    for writer in range(WRITERS):
        subject.send(writers.next_job(writer))
    deadline = None
    while deadline is None or time.monotonic() < deadline:
        answer = subject.receive(ANSWER_WITHIN_S if deadline is None else deadline - time.monotonic())
        if answer is None:
            assert deadline is not None, "nothing was acknowledged"
            continue
        deadline = deadline or time.monotonic() + random.uniform(*LIVE_S)
        subject.send(writers.next_job(writers.take(answer)))
    for answer in subject.kill():
        writers.take(answer)


def check(subject: StoreProcess, oracle_module: ModuleType, oracle: Any) -> list[str]:
    """After a restart: everything the oracle, and the store's own check, find wrong."""
    dump = subject.dump()
    state = {name: oracle_module.Stored(*row) for name, row in dump["state"].items()}
    feed = [oracle_module.FeedEntry(*row) for row in dump["feed"]]
    found: list[str] = oracle.verify(state, feed)
    return [*found, *dump["problems"]]


def campaign(oracle_module: ModuleType, judge: Any, folder: Path, random: Random) -> list[str]:
    """All lives, one after the other; everything found wrong."""
    writers = Writers(oracle_module, judge, random)
    subject = StoreProcess(folder)
    wrong: list[str] = []
    try:
        for kill in range(1, KILLS + 1):
            live(subject, writers, random)
            judge.crashed()
            subject = StoreProcess(folder)
            wrong += [f"kill {kill}: {text}" for text in check(subject, oracle_module, judge)]
    finally:
        subject.kill()
    return wrong


def test_no_acknowledged_write_is_lost(oracle: ModuleType, tmp_path: Path, seed: int) -> None:
    with closing(oracle.Oracle(tmp_path / "history.jsonl")) as judge:
        wrong = campaign(oracle, judge, tmp_path / "store", Random(seed))
    print(f"kills {KILLS}, seed {seed}, {dict(judge.counts)}, wrong {len(wrong)}")
    assert wrong == [], f"repeat with IDNODE_SEED={seed}"
    assert judge.counts["ok"] >= 20 * KILLS, "too few acknowledged writes to prove anything"
    assert judge.counts["unknown"] > 0, "no kill ever met a write in flight"
