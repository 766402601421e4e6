"""The UDP loop gives way: what it begins per turn, what it lets wait, and what it no longer answers."""

from __future__ import annotations

import asyncio
import re

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.node import Node
from idnode.servers.udp import BATCHES_PER_WAKE_UP, STALE_S, STARTED_PER_TURN, TASKS_MAX, WAITING_MAX
from idnode_protocol.codes import OpCode
from idnode_protocol.envelope import Envelope
from idnode_protocol.header import Header
from idnode_protocol.requests import HandleRequest, encode_request
from idnode_protocol.versions import CURRENT
from tests.idnode.test_answer_cache import NAME, PEER, SMALL, Wire, message, started

SITE_INFO = Header(int(OpCode.GET_SITE_INFO), expiration=99)
GENERAL = message(header=SITE_INFO, body=encode_request(HandleRequest(NAME), CURRENT))


class Batches(Wire):
    """A datagram socket that gives at most 64 at a time, as the real ones do, and says when they came."""

    def receive_batch(self) -> list[tuple[bytes, bytes]]:
        batch, self.waiting = self.waiting[:64], self.waiting[64:]
        return batch


def shed(node: Node, reason: str) -> int:
    found = re.search(rf'hdl_shed_total{{reason="{reason}"}} (\S+)', node.metrics.exposition().decode())
    return int(float(found[1])) if found else 0


async def batches(adapters: SimulatedAdapters) -> tuple[Node, Batches]:
    node, _ = await started(adapters, 0, SMALL)
    wire = Batches()
    node._udp.attach(wire)  # type: ignore[arg-type]
    return node, wire


def wake_up(wire: Batches) -> None:
    wire._callback()


def test_a_wake_up_takes_four_batches_at_most() -> None:
    async def main(adapters: SimulatedAdapters) -> int:
        node, wire = await batches(adapters)
        wire.waiting = [(message(), PEER)] * 1_000
        wake_up(wire)
        await node.stop()
        return len(wire.waiting)

    assert run_simulated(main, seed=1) == 1_000 - BATCHES_PER_WAKE_UP * 64


def test_a_turn_begins_a_few_requests_and_the_others_wait_bounded() -> None:
    async def main(adapters: SimulatedAdapters) -> tuple[int, int, int, int]:
        node, wire = await batches(adapters)
        wire.waiting = [(GENERAL, PEER)] * (WAITING_MAX + 100)
        begun = 0
        while wire.waiting:
            wake_up(wire)
            begun = max(begun, len(node._udp.tasks))
        busy = shed(node, "udp_busy")
        turns = 0
        while len(wire.sent) < WAITING_MAX + STARTED_PER_TURN:
            await asyncio.sleep(0)
            turns += 1
        await node.stop()
        return begun, busy, len(wire.sent), turns

    begun, busy, answered, turns = run_simulated(main, seed=1)
    assert begun == STARTED_PER_TURN < TASKS_MAX
    assert busy == 100 - STARTED_PER_TURN
    assert answered == WAITING_MAX + STARTED_PER_TURN
    assert turns >= WAITING_MAX // STARTED_PER_TURN


def test_what_waited_for_a_second_is_not_begun() -> None:
    async def main(adapters: SimulatedAdapters) -> tuple[int, int]:
        node, wire = await batches(adapters)
        wire.waiting = [(GENERAL, PEER)] * 20
        wake_up(wire)
        adapters.clock.advance_to(adapters.clock.monotonic() + STALE_S + 0.001)
        await asyncio.gather(*node._udp.tasks)
        for _ in range(3):
            await asyncio.sleep(0)
        await node.stop()
        return len(wire.sent), shed(node, "udp_stale")

    assert run_simulated(main, seed=1) == (STARTED_PER_TURN, 20 - STARTED_PER_TURN)


def test_a_look_up_for_which_the_turn_has_no_time_left_is_made_in_the_next() -> None:
    """Every look-up takes 0.05 ms here, so twenty make a millisecond full: of the batch, then of those that waited."""

    async def main(adapters: SimulatedAdapters) -> tuple[list[int], list[bytes]]:
        node, wire = await batches(adapters)
        get = node.store.get

        def slow(prefix: bytes, suffix: bytes) -> bytes | None:
            adapters.clock.advance_to(adapters.clock.monotonic() + 0.000_05)
            return get(prefix, suffix)

        node.engine.get = slow
        wire.waiting = [(message(Envelope(number, 0)), PEER) for number in range(64)]
        wake_up(wire)
        progress = [len(wire.sent)]
        while len(wire.sent) < 64:
            await asyncio.sleep(0)
            progress.append(len(wire.sent))
        await node.stop()
        return progress, wire.sent

    progress, sent = run_simulated(main, seed=1)
    assert len(progress) >= 2
    assert all(0 <= later - earlier <= 45 for earlier, later in zip([0, *progress], progress, strict=False))
    assert [int.from_bytes(each[8:12], "big") for each in sent] == list(range(64))
    assert {each[24:28] for each in sent} == {b"\0\0\0\1"}


@pytest.mark.parametrize(("age_s", "answers"), [(STALE_S - 0.01, 3), (STALE_S + 0.01, 0), (-3_600.0, 3)])
def test_what_lay_in_the_socket_for_a_second_is_not_answered(age_s: float, answers: int) -> None:
    """A datagram from the future is a clock that was set back: answered."""

    async def main(adapters: SimulatedAdapters) -> tuple[int, int]:
        node, wire = await batches(adapters)
        wire.received_at = adapters.clock.now() - age_s
        wire.waiting = [(message(), PEER)] * 3
        wake_up(wire)
        await node.stop()
        return len(wire.sent), shed(node, "udp_stale")

    assert run_simulated(main, seed=1) == (answers, 3 - answers)
