"""Write, acknowledge, read from a random worker: never an old answer, however hot the name is in every cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from idnode_protocol.codes import OpCode, ResponseCode
from idnode_protocol.requests import AnyRequest, HandleRequest, ValuesRequest
from tests.campaigns.results import RESULTS, Result
from tests.clients.node_process import parse_counters
from tests.idnode.cli.command_line import PROGRAM
from tests.idnode.workers.several import (
    FAST,
    OPEN,
    Datagrams,
    Several,
    Stream,
    code_of,
    first_value,
    message,
    question,
    several,
    url,
    with_module,
)

ROUNDS = {"test": 5_000, "prove": 1_000_000}
CONTROL_ROUNDS_MAX = 300
WORKERS = 4
SOCKETS = 16
NAMES = 4
ABSENT = b""
HOT_EVERY = 16
"""Rounds between two in which every socket asks, so that the name is in every worker's cache."""

pytestmark = [pytest.mark.serial, pytest.mark.grows, pytest.mark.timeout(0)]


@dataclass(slots=True)
class Rounds:
    """What was written last, and what was read that is older."""

    node: Several
    random: Random
    state: list[bytes] = field(default_factory=lambda: [ABSENT] * NAMES)
    stale: list[str] = field(default_factory=list)
    reads: int = 0
    number: int = 0

    def write(self, stream: Stream, name: int) -> None:
        """Create, change or delete; returns with the acknowledgement."""
        self.number += 1
        handle, text = f"99.901/hot-{name}", b"value %d" % self.number
        request: AnyRequest
        if self.state[name] == ABSENT:
            opcode, request, after = OpCode.CREATE_HANDLE, ValuesRequest(handle.encode(), (url(text.decode()),)), text
        elif self.random.random() < 0.1:
            opcode, request, after = OpCode.DELETE_HANDLE, HandleRequest(handle.encode()), ABSENT
        else:
            opcode, request, after = OpCode.MODIFY_VALUES, ValuesRequest(handle.encode(), (url(text.decode()),)), text
        stream.send(message(opcode, request, self.number))
        answer = stream.receive()
        assert code_of(answer) == ResponseCode.SUCCESS, code_of(answer)
        self.state[name] = after

    def read(self, asked: Datagrams, place: int, name: int) -> None:
        answer = asked.ask(place, question(f"99.901/hot-{name}", self.number << 8 | self.reads & 0xFF))
        self.reads += 1
        found = first_value(answer) if code_of(answer) == ResponseCode.SUCCESS else ABSENT
        if found != self.state[name]:
            self.stale.append(f"round {self.number}: {found!r} after {self.state[name]!r} was acknowledged")

    def run(self, rounds: int, *, stop_at_first: bool = False) -> None:
        """Before each write questions are on their way, so that answers are made while it is being committed."""
        with Datagrams(self.node.native, SOCKETS) as asked, Stream(self.node.native) as stream:
            for round_number in range(rounds):
                name = self.random.randrange(NAMES)
                if round_number % HOT_EVERY == 0:
                    for place in range(SOCKETS):
                        for each in range(NAMES):
                            self.read(asked, place, each)
                for place in self.random.sample(range(SOCKETS), 4):
                    asked.sockets[place].send(question(f"99.901/hot-{name}", 0))
                self.write(stream, name)
                for place in self.random.sample(range(SOCKETS), 2):
                    self.read(asked, place, name)
                if self.stale and stop_at_first:
                    return


@contextmanager
def hot_node(folder: Path, program: tuple[str, ...] = PROGRAM) -> Iterator[Several]:
    with several(folder, FAST, OPEN, workers=WORKERS, program=program) as node:
        yield node


def test_no_answer_is_older_than_an_acknowledged_write(tmp_path: Path, seed: int, campaign: str) -> None:
    result = Result(RESULTS if campaign == "prove" else None, seed)
    wanted = ROUNDS.get(campaign, ROUNDS["test"])
    with hot_node(tmp_path) as node:
        rounds = Rounds(node, Random(seed))
        rounds.run(wanted)
        counters = parse_counters(node.http("/metrics")[2].decode()).values
    hits = counters["hdl_cache_hits_total", ()]
    print(
        f"rounds {wanted}, reads {rounds.reads}, from caches {hits:.0f}, old answers {len(rounds.stale)}, seed {seed}"
    )
    result.write("workers-freshness", rounds=wanted, reads=rounds.reads, cache_hits=hits, stale=rounds.stale[:20])
    assert rounds.stale == []
    assert hits > wanted, "the caches were not hot"


def test_a_node_that_tells_its_workers_late_is_found(tmp_path: Path, seed: int) -> None:
    """The negative control: this campaign can lose."""
    with hot_node(tmp_path, with_module("tests.idnode.workers.late_ring")) as node:
        rounds = Rounds(node, Random(seed))
        rounds.run(CONTROL_ROUNDS_MAX, stop_at_first=True)
    assert rounds.stale
