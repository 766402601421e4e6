"""Look-ups leave the event loop while the store is slow: when, how many, and what happens to those that cannot wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import ParamSpec, TypeVar

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.adapters.workers import InlineWorkers
from idnode.node import Node
from idnode.reading import (
    JOB_LOOK_UPS_MAX,
    JOBS_MAX,
    PAUSE_MAX_S,
    PAUSE_S,
    SLOW_S,
    UNREADABLE,
    WAITING_MAX,
    Pace,
    ReadingQueue,
    read,
)
from idnode.servers.udp import STALE_S
from idnode_protocol.codes import OpCode
from idnode_protocol.envelope import Envelope
from idnode_protocol.requests import ResolutionRequest, ValuesRequest, encode_request
from idnode_protocol.value import HandleValue
from idnode_protocol.versions import CURRENT
from idnode_registry.ask import SYSTEM, Ask
from idnode_registry.errors import CorruptRecord
from tests.idnode.test_answer_cache import NAME, PEER, SMALL, Wire, message, started
from tests.idnode.test_udp_turns import shed

P = ParamSpec("P")
T = TypeVar("T")


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Held(InlineWorkers):
    """Reader threads that finish nothing before they may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.begun = 0

    async def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.begun += 1
        await self.may.wait()
        return work(*args, **kwargs)


def get(prefix: bytes, suffix: bytes) -> bytes | None:
    if suffix == b"DAMAGED":
        raise CorruptRecord("on purpose")
    return None if suffix == b"ABSENT" else prefix + suffix


def test_a_share_of_slow_look_ups_makes_the_store_slow_for_a_while_that_grows() -> None:
    clock = Clock()
    pace = Pace(clock)
    pauses: list[float] = []
    for _ in range(5):
        pace.note(1, 1)
        while not pace.is_slow:
            pace.note(1, 1)
        before = clock.now
        while pace.is_slow:
            clock.now += 0.125
        pauses.append(clock.now - before)
    assert pauses == [PAUSE_S, 2 * PAUSE_S, 4 * PAUSE_S, PAUSE_MAX_S, PAUSE_MAX_S]
    pace.note(1_000, 0)
    for _ in range(9):
        pace.note(1, 1)
    assert pace.is_slow
    clock.now += PAUSE_S
    assert not pace.is_slow


def test_a_few_slow_look_ups_are_a_neighbour_of_this_machine() -> None:
    pace = Pace(Clock())
    for _ in range(1_000):
        pace.note(15, 1)
        assert not pace.is_slow


def test_reading_ends_with_its_time_but_reads_one() -> None:
    clock = Clock()

    def slow(prefix: bytes, suffix: bytes) -> bytes | None:
        clock.now += 4 * SLOW_S
        return get(prefix, suffix)

    pace = Pace(clock)
    names = [(b"99.900/", b"%d" % number) for number in range(30)]
    assert pace.read(slow, names, clock.now - 1) == [b"99.900/0"]
    assert len(pace.read(slow, names, clock.now + 10 * SLOW_S)) == 3
    assert not pace.is_slow
    assert len(pace.read(slow, names, clock.now + 1_000)) == 30
    assert pace.is_slow


def test_what_cannot_be_read_is_told_apart_from_what_is_absent() -> None:
    names = [(b"99.900/", suffix) for suffix in (b"A", b"ABSENT", b"DAMAGED", b"B")]
    expected = [b"99.900/A", None, UNREADABLE, b"99.900/B"]
    assert read(get, names) == expected
    assert Pace(Clock()).read(get, names, 2_000.0) == expected


def test_work_that_reads_is_timed() -> None:
    clock = Clock()
    pace = Pace(clock)

    def work() -> int:
        clock.now += 0.003
        return 7

    while not pace.is_slow:
        assert pace.work(work) == 7


def test_the_queue_is_bounded_in_look_ups_and_in_threads() -> None:
    async def main(_adapters: SimulatedAdapters) -> None:
        readers = Held()
        answered: list[bytes] = []
        faults: list[BaseException] = []

        def done(items: list[bytes], records: list[bytes | None]) -> None:
            assert 1 <= len(items) <= JOB_LOOK_UPS_MAX
            assert records == [b"99.900/" + item for item in items]
            answered.extend(items)
            if b"7" in items:
                raise ValueError("on purpose")

        queue = ReadingQueue(get, readers, lambda item: (b"99.900/", item), done, faults.append)
        items = [b"%d" % number for number in range(WAITING_MAX + 50)]
        assert queue.add(items[:30]) == 30
        assert queue.add(items[30:]) == WAITING_MAX - 30
        assert queue.add([b"one more"]) == 0
        await asyncio.sleep(0)
        assert readers.begun == JOBS_MAX == len(queue.jobs)
        readers.may.set()
        while queue.jobs:
            await asyncio.gather(*queue.jobs, return_exceptions=True)
        assert sorted(answered) == sorted(items[:WAITING_MAX])
        assert [str(fault) for fault in faults] == ["on purpose"]
        assert queue.add([b"again"]) == 1

    run_simulated(main, seed=1)


def make_slow(node: Node) -> None:
    while not node.pace.is_slow:
        node.pace.note(1, 1)


async def slow_node(adapters: SimulatedAdapters) -> tuple[Node, Wire, Held]:
    """A node whose store is slow, and the threads that would read it."""
    readers = Held()
    node, wire = await started(replace(adapters, readers=readers), 1 << 20, SMALL)
    make_slow(node)
    return node, wire, readers


def asked(name: bytes, number: int = 7) -> bytes:
    return message(Envelope(number, 0), body=encode_request(ResolutionRequest(name), CURRENT))


def test_hot_questions_are_answered_while_cold_ones_wait() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        node, wire, readers = await slow_node(adapters)
        node.pace._slow_until = 0.0
        hot = await wire.exchange(node, asked(NAME))
        make_slow(node)
        wire.waiting = [(asked(b"99.900/ADMIN"), PEER), (asked(NAME), PEER), (asked(b"99.900/none"), PEER)]
        wire.sent = []
        wire._callback()
        await asyncio.sleep(0)
        assert wire.sent == hot
        readers.may.set()
        await asyncio.gather(*node._udp.tasks)
        assert [int.from_bytes(each[24:28], "big") for each in wire.sent] == [1, 1, 100]
        assert len(node.cache.entries) == 3
        await node.stop()

    run_simulated(main, seed=1)


def test_a_slow_store_gives_the_answers_of_a_quick_one() -> None:
    """What the short way leaves, too: private values, prefix handles, lists, damaged records."""

    async def main(adapters: SimulatedAdapters) -> None:
        node, wire, readers = await slow_node(adapters)
        readers.may.set()
        requests = [asked(name) for name in (NAME, b"99.900/none", b"0.NA/99.900", b"99.903/x", b"0.NA/99.900.1")]
        requests.append(message(body=encode_request(ResolutionRequest(NAME, (1,)), CURRENT)))
        slow = [await wire.exchange(node, request) for request in requests]
        for request, expected in zip(requests, slow, strict=True):
            node.pace._slow_until = 0.0
            node.cache.clear()
            assert await wire.exchange(node, request) == expected
            assert len(expected) == 1
        await node.stop()

    run_simulated(main, seed=1)


@pytest.mark.parametrize(("written", "is_kept"), [(NAME, False), (b"99.900/other", True), (b"0.NA/99.900", False)])
def test_a_write_during_a_look_up(written: bytes, *, is_kept: bool) -> None:
    """The answer is not kept if it may be older than the write, and is if the write is about something else."""

    async def main(adapters: SimulatedAdapters) -> None:
        node, wire, readers = await slow_node(adapters)
        wire.waiting = [(asked(NAME), PEER)]
        wire._callback()
        await asyncio.sleep(0)
        readers.may.set()
        opcode = OpCode.CREATE_HANDLE if written == b"99.900/other" else OpCode.ADD_VALUES
        request = ValuesRequest(written, (HandleValue(9, "DESC", b"new"),))
        assert node.registry.execute(Ask(opcode, request), SYSTEM, adapters.clock.now()).result().is_success
        await asyncio.gather(*node._udp.tasks)
        assert len(wire.sent) == 1
        assert len(node.cache.entries) == is_kept
        await node.stop()

    run_simulated(main, seed=1)


def test_what_cannot_wait_is_counted() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        node, wire, readers = await slow_node(adapters)
        requests = [(asked(b"99.900/%d" % number, number), PEER) for number in range(WAITING_MAX + 90)]
        wire.waiting = list(requests)
        while wire.waiting:
            wire._callback()
        await asyncio.sleep(0)
        assert shed(node, "udp_cold") == 90
        readers.may.set()
        while node._udp.tasks:
            await asyncio.gather(*node._udp.tasks)
        assert len(wire.sent) == WAITING_MAX
        make_slow(node)
        readers.may.clear()
        wire.waiting = [(asked(b"99.900/late"), PEER)]
        wire._callback()
        await asyncio.sleep(0)
        adapters.clock.advance_to(adapters.clock.monotonic() + STALE_S + 0.1)
        readers.may.set()
        await asyncio.gather(*node._udp.tasks)
        assert len(wire.sent) == WAITING_MAX
        assert shed(node, "udp_stale") == 1
        await node.stop()

    run_simulated(main, seed=1)


def test_a_node_that_stops_forgets_what_was_read_for_nobody() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        node, wire, readers = await slow_node(adapters)
        wire.waiting = [(asked(NAME), PEER)]
        wire._callback()
        await asyncio.sleep(0)
        (job,) = node._udp.tasks
        node._udp.close()
        readers.may.set()
        await job
        assert wire.sent == []
        await node.stop()

    run_simulated(main, seed=1)
