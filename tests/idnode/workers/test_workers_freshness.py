"""Write, acknowledge, read from a random worker: never an old answer, however hot the name is in every cache.

Each *lane* owns a name and does one round after the other: questions to random workers, which nobody waits for, so that
answers are being made and kept while the write is committed; the write; as soon as it is acknowledged a question to a
random worker, whose answer has to be the state just written. Many lanes run at once, so that commits come in groups.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from idnode_protocol.codes import OpCode, ResponseCode
from idnode_protocol.limits import ENVELOPE_OCTETS
from idnode_protocol.requests import AnyRequest, HandleRequest, ValuesRequest
from tests.campaigns.results import RESULTS, Result
from tests.clients.node_process import parse_counters
from tests.idnode.cli.command_line import PROGRAM
from tests.idnode.workers.several import (
    ANSWER_S,
    FAST,
    OPEN,
    Several,
    code_of,
    first_value,
    message,
    question,
    several,
    url,
    with_module,
)

ROUNDS = int(
    os.environ.get("IDNODE_WORKERS_ROUNDS") or {"prove": 1_000_000}.get(os.environ.get("IDNODE_CAMPAIGN", ""), 5_000)
)
CONTROL_ROUNDS = 500
WORKERS = 4
LANES = 24
SOCKETS = 32
WARMING = 2
"""Questions on their way while a write is committed; their request id is 0, their answers are passed over."""
DELETED_ONE_IN = 10
ABSENT = b""

pytestmark = [pytest.mark.serial, pytest.mark.grows, pytest.mark.timeout(0)]


class Asker(asyncio.DatagramProtocol):
    """A socket; the kernel decides by its port which worker it talks to."""

    def __init__(self) -> None:
        self.transport: asyncio.DatagramTransport
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: object) -> None:
        waiting = self._waiting.pop(int.from_bytes(data[8:12], "big"), None)
        if waiting is not None:
            waiting.set_result(data)

    async def ask(self, octets: bytes, number: int) -> bytes:
        """The answer; asked once more when a datagram was lost."""
        for _ in range(3):
            waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self._waiting[number] = waiting
            self.transport.sendto(octets)
            done, _pending = await asyncio.wait({waiting}, timeout=ANSWER_S)
            if done:
                return waiting.result()
        raise TimeoutError(f"no answer within {3 * ANSWER_S:g} s")


@dataclass(slots=True)
class Campaign:
    """All lanes together: rounds done, reads, and answers older than what was acknowledged."""

    random: Random
    rounds: int
    stops_at_first: bool = False
    done: int = 0
    stale: list[str] = field(default_factory=list)

    async def run(self, node: Several) -> None:
        loop = asyncio.get_running_loop()
        ends = [await loop.create_datagram_endpoint(Asker, remote_addr=node.native) for _ in range(SOCKETS)]
        askers = [asker for _, asker in ends]
        try:
            async with asyncio.TaskGroup() as lanes:
                for lane in range(LANES):
                    lanes.create_task(self._lane(node, lane, askers))
        finally:
            for transport, _ in ends:
                transport.close()

    async def _lane(self, node: Several, lane: int, askers: list[Asker]) -> None:
        reader, writer = await asyncio.open_connection(*node.native)
        handle, state, number = f"99.901/hot-{lane}", ABSENT, 0
        warming = question(handle, 0)
        try:
            while self.done < self.rounds and not (self.stale and self.stops_at_first):
                self.done += 1
                number += 1
                for asker in self.random.sample(askers, WARMING):
                    asker.transport.sendto(warming)
                octets, after = self._write(handle, state, number)
                writer.write(octets)
                envelope = await reader.readexactly(ENVELOPE_OCTETS)
                answer = envelope + await reader.readexactly(int.from_bytes(envelope[16:20], "big"))
                assert code_of(answer) == ResponseCode.SUCCESS, code_of(answer)
                state, named = after, lane << 24 | number & 0xFFFFFF
                answer = await self.random.choice(askers).ask(question(handle, named), named)
                found = first_value(answer) if code_of(answer) == ResponseCode.SUCCESS else ABSENT
                if found != state:
                    self.stale.append(f"{handle}, round {number}: {found!r} after {state!r} was acknowledged")
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    def _write(self, handle: str, state: bytes, number: int) -> tuple[bytes, bytes]:
        """Create, change or delete: the request, and the state after it."""
        text = f"value {number}"
        request: AnyRequest = ValuesRequest(handle.encode(), (url(text),))
        if state == ABSENT:
            return message(OpCode.CREATE_HANDLE, request, number), text.encode()
        if self.random.randrange(DELETED_ONE_IN) == 0:
            return message(OpCode.DELETE_HANDLE, HandleRequest(handle.encode()), number), ABSENT
        return message(OpCode.MODIFY_VALUES, request, number), text.encode()


@contextmanager
def hot_node(folder: Path, program: tuple[str, ...] = PROGRAM) -> Iterator[Several]:
    with several(folder, FAST, OPEN, workers=WORKERS, program=program) as node:
        yield node


async def test_no_answer_is_older_than_an_acknowledged_write(tmp_path: Path, seed: int, campaign: str) -> None:
    result = Result(RESULTS if campaign == "prove" else None, seed)
    rounds = Campaign(Random(seed), ROUNDS)
    with hot_node(tmp_path) as node:
        await rounds.run(node)
        counters = parse_counters(node.http("/metrics")[2].decode()).values
    hits, misses = (int(counters[f"hdl_cache_{kind}_total", ()]) for kind in ("hits", "misses"))
    print(f"rounds {rounds.done}, from caches {hits}, looked up {misses}, old {len(rounds.stale)}, seed {seed}")
    result.write(
        "workers-freshness",
        rounds=rounds.done,
        workers=WORKERS,
        cache_hits=hits,
        cache_misses=misses,
        stale=rounds.stale[:20],
    )
    assert rounds.stale == []
    assert hits > rounds.done // 10, "the caches were not hot"


async def test_a_node_that_tells_its_workers_late_is_found(tmp_path: Path, seed: int) -> None:
    """The negative control: this campaign can lose."""
    rounds = Campaign(Random(seed), CONTROL_ROUNDS, stops_at_first=True)
    with hot_node(tmp_path, with_module("tests.idnode.workers.late_ring")) as node:
        await rounds.run(node)
    assert rounds.stale
