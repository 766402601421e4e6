"""What each stage of a resolution costs in our node, without the kernel and with nobody else in the process.

Medians over blocks of calls, in microseconds for one request. *hit* is a finished answer out of the answer cache by
the UDP listener, *miss* one that it has to make first, all included but the system calls; *decode*, *look up* and
*encode* are the general path cut into its steps. *send* is the share of one datagram in a batched system call on
loopback.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Final, TypeVar

from idnode.adapters import Adapters
from idnode.adapters.net import BATCH, Datagram
from idnode.adapters.peers import peer_raw
from idnode.responding import SiteFacts, respond
from idnode_bench.lanes import run_async
from idnode_bench.machine import elapsed_ns
from idnode_bench.population.factory import Population
from idnode_bench.population.filling import Holding, fill
from idnode_bench.population.numbers import SplitMix
from idnode_bench.targets.memory import MemorySocket, memory_node
from idnode_bench.targets.native import Source, request_octets
from idnode_protocol.codes import OpCode
from idnode_protocol.message import decode_message
from idnode_protocol.requests import decode_request
from idnode_registry.ask import ANONYMOUS, Ask, Reply

Each = TypeVar("Each")
RECORDS: Final = 2_048
BLOCKS: Final = 32


def stages_of(adapters: Adapters, source: Source, seed: int) -> dict[str, float]:
    """The costs by stage, over a sample of records of ``source``'s kind."""
    kind = source.kind if isinstance(source, Population) else "small"
    population = Population(RECORDS, seed, kind, prefix_count=50)
    folder = adapters.disk.temporary_folder("idnode-bench-stages-")
    try:
        fill(adapters, folder, Holding(population), durable=False)

        async def measured() -> dict[str, float]:
            node, socket = memory_node(adapters, folder)
            async with node:
                return await _Stages(adapters, node.registry.answer, socket, _requests(population, seed)).all()

        return run_async(measured)
    finally:
        adapters.disk.remove_tree(folder)


def _requests(population: Population, seed: int) -> list[bytes]:
    rng = SplitMix(seed)
    numbers = [rng.below(population.count) for _ in range(BLOCKS * BATCH)]
    return [request_octets(population.handle(number), place + 1) for place, number in enumerate(numbers)]


class _Stages:
    def __init__(
        self,
        adapters: Adapters,
        answer: Callable[..., object],
        socket: MemorySocket,
        requests: Sequence[bytes],
    ) -> None:
        self._adapters, self._answer, self._socket, self._requests = adapters, answer, socket, requests
        self._now = adapters.clock.now()

    async def all(self) -> dict[str, float]:
        messages = [decode_message(octets) for octets in self._requests]
        asks = [
            Ask(
                OpCode.RESOLUTION,
                decode_request(OpCode.RESOLUTION, message.body, message.envelope.version),
                message.header.flags,
                message.envelope.answered_version,
            )
            for message in messages
        ]
        replies = [self._answer(ask, ANONYMOUS, self._now) for ask in asks]
        pairs = [(message, reply) for message, reply in zip(messages, replies, strict=True) if isinstance(reply, Reply)]
        facts = SiteFacts(1, is_primary=True)
        octets = [respond(message, message, reply, facts, self._now).to_octets() for message, reply in pairs]
        return {
            "decode": _cost(self._requests, _decode),
            "look up": _cost(asks, lambda ask: self._answer(ask, ANONYMOUS, self._now)),
            "encode": _cost(pairs, lambda pair: respond(pair[0], *pair, facts, self._now).to_octets()),
            "miss": await self._by_listener(),
            "hit": await self._by_listener(),
            "send": self._send(octets),
        }

    async def _by_listener(self) -> float:
        """A pass over the requests through the UDP listener; the first one fills the cache."""
        peer, times, answered = peer_raw("127.0.0.1", 40_000), list[float](), [0]

        def count(batch: Sequence[Datagram]) -> None:
            answered[0] += sum(octets[12:16] == bytes(4) for octets, _ in batch)  # first fragments only

        self._socket.receiver = count
        for start in range(0, len(self._requests), BATCH):
            batch = self._requests[start : start + BATCH]
            answered[0] = 0
            began = elapsed_ns()
            self._socket.arrived.extend((one, peer) for one in batch)
            while answered[0] < len(batch):
                if self._socket.arrived and self._socket.reader is not None:
                    self._socket.reader()
                else:
                    await self._adapters.clock.sleep(0)  # what is not answered at once is in a task or a thread
            times.append((elapsed_ns() - began) / len(batch) / 1e3)
        return median(times)

    def _send(self, replies: Sequence[bytes]) -> float:
        """To a bound socket that is drained between the batches."""
        net = self._adapters.net
        here, there = net.udp_bind("127.0.0.1", 0), net.udp_bind("127.0.0.1", 0)
        try:
            peer, times = peer_raw("127.0.0.1", there.address.port), []
            for start in range(0, len(replies), BATCH):
                batch = [(reply[:512], peer) for reply in replies[start : start + BATCH]]
                began = elapsed_ns()
                here.send_batch(batch)
                times.append((elapsed_ns() - began) / len(batch) / 1e3)
                while there.receive_batch():
                    continue
            return median(times)
        finally:
            here.close()
            there.close()


def _decode(octets: bytes) -> None:
    message = decode_message(octets)
    decode_request(OpCode.RESOLUTION, message.body, message.envelope.version)


def _cost(each: Sequence[Each], call: Callable[[Each], object]) -> float:
    """The median over blocks of the time of one call, in microseconds."""
    times = []
    for start in range(0, len(each), BATCH):
        block = each[start : start + BATCH]
        began = elapsed_ns()
        for one in block:
            call(one)
        times.append((elapsed_ns() - began) / len(block) / 1e3)
    return median(times)
