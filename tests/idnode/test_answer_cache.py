"""The answer cache must not be visible: same octets with it off, cold and hot, whatever came before."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.adapters.net import Address
from idnode.adapters.peers import peer_raw
from idnode.answer_cache import ENTRY_OVERHEAD_OCTETS, AnswerCache, entry_of, may_be_cached, question_key
from idnode.config import ListenConfig, NetworkConfig, NodeConfig
from idnode.demo import Administrator, seed_administrator, seed_prefix
from idnode.node import Node
from idnode_protocol.codes import OpCode, OpFlag
from idnode_protocol.envelope import COMPRESSED, ENCRYPTED, TRUNCATED, Envelope
from idnode_protocol.header import Header
from idnode_protocol.message import build
from idnode_protocol.requests import (
    AnyRequest,
    HandleRequest,
    RemoveValuesRequest,
    ResolutionRequest,
    ValuesRequest,
    encode_request,
)
from idnode_protocol.value import HandleValue
from idnode_protocol.versions import CURRENT, Version
from idnode_registry.ask import SYSTEM, Ask
from idnode_registry.crypto import Signer
from idnode_registry.registry import Change

SIGNER = Signer.generate(1024)
PEER = peer_raw("127.0.0.1", 40_000)
NAME = b"99.900/part"
SMALL = (HandleValue(1, "URL", b"https://example.org/1"),)
LARGE = (HandleValue(1, "URL", b"https://example.org/1"), HandleValue(2, "DESC", b"x" * 1_500))


class Wire:
    """A datagram socket whose other end is a list."""

    address = Address("127.0.0.1", 2641, "ipv4")
    received_at = 0.0

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, bytes]] = []
        self.sent: list[bytes] = []
        self._callback: Callable[[], object] = lambda: None

    def add_reader(self, callback: Callable[[], object]) -> None:
        self._callback = callback

    def receive_batch(self) -> list[tuple[bytes, bytes]]:
        batch, self.waiting = self.waiting, []
        return batch

    def send_batch(self, batch: list[tuple[bytes, bytes]]) -> int:
        self.sent += [octets for octets, _ in batch]
        return len(batch)

    def close(self) -> None:
        """Nothing is open."""

    async def exchange(self, node: Node, request: bytes, peer: bytes = PEER) -> list[bytes]:
        """Every datagram that answers ``request``."""
        self.sent = []
        self.waiting.append((request, peer))
        self._callback()
        await asyncio.gather(*node._udp.tasks)
        return self.sent


async def started(adapters: SimulatedAdapters, cache_octets: int, values: tuple[HandleValue, ...]) -> tuple[Node, Wire]:
    """A node with one record, and a wire into its UDP server."""
    config = NodeConfig(
        listen=ListenConfig(addresses=("127.0.0.1",), http_port=None),
        network=NetworkConfig(answer_cache_octets=cache_octets),
    )
    node = Node(config, adapters, SIGNER)
    await node.start()
    now = adapters.clock.now()
    administrator = Administrator(b"99.900/ADMIN", b"secret", SIGNER.public_key_octets)
    seed_prefix(node.registry, b"99.900", administrator, node.sites, now)
    seed_administrator(node.registry, administrator, now)
    node.registry.execute(Ask(OpCode.CREATE_HANDLE, ValuesRequest(NAME, values)), SYSTEM, now).result()
    wire = Wire()
    node._udp.attach(wire)  # type: ignore[arg-type]
    return node, wire


def message(
    envelope: Envelope | None = None, header: Header | None = None, body: bytes | None = None, tail: bytes = b""
) -> bytes:
    body = encode_request(ResolutionRequest(NAME), CURRENT) if body is None else body
    built = build(envelope or Envelope(7, 0), header or Header(1, expiration=99), body)
    return built.to_octets() + tail


def variants() -> Iterator[tuple[str, bytes]]:
    """Requests that differ from the plain one in one field only."""
    plain, octets = Envelope(7, 0), message()
    for name, change in {
        "version": {"version": Version(2, 3)},
        "old version": {"version": Version(2, 0)},
        "suggested minor": {"suggested": Version(2, 4)},
        "suggested major": {"suggested": Version(0, 0)},
        "session id": {"session_id": 5},
        "request id": {"request_id": 8},
        "sequence": {"sequence": 1},
        "compressed": {"flags": COMPRESSED},
        "encrypted": {"flags": ENCRYPTED},
        "truncated": {"flags": TRUNCATED},
    }.items():
        yield name, message(envelope=replace(plain, **change))  # type: ignore[arg-type]
    for bit in range(32):
        yield f"flag {1 << bit:08x}", message(header=Header(1, flags=(1 << 28 | 1 << 27 | 1 << 24) ^ 1 << bit))
    for name, header in {
        "opcode": Header(2),
        "unknown opcode": Header(9),
        "response code": Header(1, response_code=1),
        "site serial": Header(1, site_serial=3),
        "recursion count": Header(1, recursion_count=4),
        "reserved": Header(1, reserved=1),
        "expiration": Header(1, expiration=1_000),
    }.items():
        yield name, message(header=header)
    yield "length too small", octets[:19] + bytes([octets[19] - 1]) + octets[20:]
    yield "length too large", octets[:19] + bytes([octets[19] + 1]) + octets[20:]
    yield "body length", octets[:43] + bytes([octets[43] - 1]) + octets[44:]
    yield "spelling", message(body=encode_request(ResolutionRequest(NAME.upper()), CURRENT))
    yield "indexes", message(body=encode_request(ResolutionRequest(NAME, (1,)), CURRENT))
    yield "types", message(body=encode_request(ResolutionRequest(NAME, (), ("DESC",)), CURRENT))
    yield "field behind the body", message(body=encode_request(ResolutionRequest(NAME, tail=b"\0\0\0\0"), CURRENT))
    yield "credential", octets[:16] + (len(octets) - 19).to_bytes(4, "big") + octets[20:-4] + b"\0\0\0\1\7"
    yield "octets behind", octets + b"\0"


VARIANTS = dict(variants())


def keep(cache: AnswerCache, request: bytes, name: bytes, epoch: int | None = None) -> bool:
    """Put some answer to a request in, as the server does; whether it was kept."""
    key, entry = question_key(request), entry_of(message())
    return cache.takes(key, entry) and cache.put(key, name, entry, cache.epoch if epoch is None else epoch)


def answers(order: list[bytes], *, cache_octets: int, times: int, values: tuple[HandleValue, ...]) -> list[list[bytes]]:
    """What each request gets the last time it is sent, all of them sent ``times`` times in this order."""

    async def main(adapters: SimulatedAdapters) -> list[list[bytes]]:
        node, wire = await started(adapters, cache_octets, values)
        try:
            for _ in range(times - 1):
                for request in order:
                    await wire.exchange(node, request)
            return [await wire.exchange(node, request) for request in order]
        finally:
            await node.stop()

    return run_simulated(main, seed=1)


@pytest.mark.parametrize("values", [SMALL, LARGE], ids=["one datagram", "fragments"])
@pytest.mark.parametrize("name", VARIANTS)
def test_two_requests_that_differ_in_one_field(name: str, values: tuple[HandleValue, ...]) -> None:
    """Cache off, cold and hot, in both orders: each request always gets its own answer, octet for octet."""
    plain, other = message(), VARIANTS[name]
    off_plain, off_other = answers([plain, other], cache_octets=0, times=1, values=values)
    assert off_plain
    for cache_octets, times in ((1 << 20, 1), (1 << 20, 3), (0, 3)):
        assert answers([plain, other], cache_octets=cache_octets, times=times, values=values) == [off_plain, off_other]
        assert answers([other, plain], cache_octets=cache_octets, times=times, values=values) == [off_other, off_plain]


def test_the_comparison_can_fail() -> None:
    """A cache whose key forgets one field is seen by the comparison above."""
    spelled = VARIANTS["spelling"]
    plain = answers([message()], cache_octets=0, times=1, values=SMALL)
    other = answers([spelled], cache_octets=0, times=1, values=SMALL)
    assert plain != other


def test_a_hit_is_a_hit() -> None:
    async def main(adapters: SimulatedAdapters) -> str:
        node, wire = await started(adapters, 1 << 20, LARGE)
        for _ in range(3):
            await wire.exchange(node, message())
        text = node.metrics.exposition().decode()
        await node.stop()
        return text

    text = run_simulated(main, seed=1)
    assert "hdl_cache_hits_total 2.0" in text
    assert "hdl_cache_misses_total 1.0" in text
    assert 'hdl_requests_total{code="1",op="1",transport="udp"} 3.0' in text


@pytest.mark.parametrize("opcode", [OpCode.MODIFY_VALUES, OpCode.DELETE_HANDLE])
def test_a_write_is_seen_at_once(opcode: OpCode) -> None:
    async def main(adapters: SimulatedAdapters) -> tuple[list[bytes], list[bytes]]:
        node, wire = await started(adapters, 1 << 20, SMALL)
        before = await wire.exchange(node, message())
        changed = HandleValue(1, "URL", b"https://example.org/2")
        request = HandleRequest(NAME) if opcode == OpCode.DELETE_HANDLE else ValuesRequest(NAME, (changed,))
        reply = await node.ask(Ask(opcode, request))
        assert reply.is_success
        after = await wire.exchange(node, message())
        await node.stop()
        return before, after

    before, after = run_simulated(main, seed=1)
    assert b"example.org/1" in before[0]
    assert b"example.org/1" not in after[0]


def test_a_negative_answer_ends_with_the_creation() -> None:
    async def main(adapters: SimulatedAdapters) -> list[int]:
        node, wire = await started(adapters, 1 << 20, SMALL)
        asked = message(body=encode_request(ResolutionRequest(b"99.900/new"), CURRENT))
        codes = [int.from_bytes((await wire.exchange(node, asked))[0][24:28], "big") for _ in range(2)]
        await node.ask(Ask(OpCode.CREATE_HANDLE, ValuesRequest(b"99.900/NEW", SMALL)))
        codes.append(int.from_bytes((await wire.exchange(node, asked))[0][24:28], "big"))
        await node.stop()
        return codes

    assert run_simulated(main, seed=1) == [100, 100, 1]


PARENT, DERIVED = b"0.NA/99.900", b"0.NA/99.900.1.2"
DELEGATION = HandleValue(7, "HS_SERV.PREFIX", b"0.SERV/99")
CHANGES: dict[str, tuple[int, AnyRequest, list[int]]] = {
    "delegated": (OpCode.ADD_VALUES, ValuesRequest(PARENT, (DELEGATION,)), [100, 303]),
    "no longer delegated": (OpCode.REMOVE_VALUES, RemoveValuesRequest(PARENT, (7,)), [303, 100]),
    "delegated to somebody else": (
        OpCode.MODIFY_VALUES,
        ValuesRequest(PARENT, (HandleValue(7, "HS_SERV.PREFIX", b"0.SERV/98"),)),
        [303, 303],
    ),
    "ancestor gone": (OpCode.DELETE_HANDLE, HandleRequest(PARENT), [303, 100]),
    "registered here": (OpCode.CREATE_HANDLE, ValuesRequest(DERIVED.lower(), SMALL), [303, 1]),
    "unhomed": (OpCode.UNHOME_PREFIX, HandleRequest(b"0.NA/0.NA/99"), [303, 301]),
    "homed": (OpCode.HOME_PREFIX, HandleRequest(b"0.NA/0.NA/99"), [301, 303]),
}
"""What is done -> the code that the derived prefix gets before it and after it."""


@pytest.mark.parametrize("change", CHANGES)
def test_referrals_and_refusals_are_kept_until_something_they_rest_on_changes(change: str) -> None:
    async def main(adapters: SimulatedAdapters) -> tuple[list[list[bytes]], int]:
        node, wire = await started(adapters, 1 << 20, SMALL)
        opcode, request, _ = CHANGES[change]
        flags = int(Header(1).flags | OpFlag.DNR)
        if change != "delegated":
            await node.ask(Ask(OpCode.ADD_VALUES, ValuesRequest(PARENT, (DELEGATION,))))
        if change == "homed":
            await node.ask(Ask(OpCode.UNHOME_PREFIX, request))
        asked = message(body=encode_request(ResolutionRequest(DERIVED), CURRENT))
        before = [await wire.exchange(node, asked) for _ in range(2)]
        kept = len(node.cache.entries)
        assert (await node.ask(Ask(opcode, request, flags))).is_success
        after = [await wire.exchange(node, asked) for _ in range(2)]
        await node.stop()
        assert before[0] == before[1]
        assert after[0] == after[1]
        return [before[0], after[0]], kept

    answered, kept = run_simulated(main, seed=1)
    assert kept == 1
    assert [int.from_bytes(datagrams[0][24:28], "big") for datagrams in answered] == CHANGES[change][2]
    assert answered[0] != answered[1]


def test_a_client_that_cannot_follow_a_referral_gets_the_general_path() -> None:
    """Opcode 1 from before 2.10: whether somebody resolves on its behalf is decided behind the cache, each time."""

    async def main(adapters: SimulatedAdapters) -> tuple[list[int], int]:
        node, wire = await started(adapters, 1 << 20, SMALL)
        await node.ask(Ask(OpCode.ADD_VALUES, ValuesRequest(PARENT, (DELEGATION,))))
        envelope = Envelope(7, 0, version=Version(2, 9), suggested=Version(2, 9))
        asked = message(envelope, body=encode_request(ResolutionRequest(DERIVED), CURRENT))
        codes = [int.from_bytes((await wire.exchange(node, asked))[0][24:28], "big") for _ in range(2)]
        await node.stop()
        return codes, len(node.cache.entries)

    assert run_simulated(main, seed=1) == ([303, 303], 0)


def test_an_answer_looked_up_before_a_write_is_not_kept() -> None:
    cache = AnswerCache(1 << 20)
    request, epoch = message(), cache.epoch
    cache.drop(Change(b"99.900/PART"))
    assert not keep(cache, request, b"99.900/PART", epoch)
    assert keep(cache, request, b"99.900/PART")


def test_the_garbage_collector_does_not_look_at_kept_answers() -> None:
    """It would stop the event loop for half a microsecond each, as it does for instances of any class."""
    cache = AnswerCache(1 << 20)
    for number in range(3):
        keep(cache, message(Envelope(7, 0), body=bytes([number])), b"name")
    gc.collect()
    assert len(cache.entries) == 3
    assert not any(map(gc.is_tracked, (*cache.entries.values(), *cache._names.values(), *cache._name_of.values())))
    assert gc.is_tracked(Address("127.0.0.1", 1, "ipv4"))


def test_the_cache_is_bounded_and_gives_up_the_oldest() -> None:
    cache = AnswerCache(20 * (ENTRY_OVERHEAD_OCTETS + 400))
    for number in range(200):
        request = message(body=encode_request(ResolutionRequest(b"99.900/%d" % number), CURRENT))
        keep(cache, request, b"99.900/%d" % number)
        assert cache.octets <= 20 * (ENTRY_OVERHEAD_OCTETS + 400)
    assert 0 < len(cache.entries) < 200
    for number in range(200):
        cache.drop(Change(b"99.900/%d" % number))
    assert (len(cache.entries), cache.octets) == (0, 0)


def full_cache() -> tuple[AnswerCache, list[bytes]]:
    """A cache without room for another answer, and the names in it."""
    cache = AnswerCache(20 * (ENTRY_OVERHEAD_OCTETS + 400))
    names: list[bytes] = []
    while keep(cache, asked(name := b"99.900/H%d" % len(names)), name):
        names.append(name)
    return cache, names


def asked(name: bytes) -> bytes:
    return message(body=encode_request(ResolutionRequest(name), CURRENT))


def test_a_full_cache_lets_in_what_is_asked_for_again() -> None:
    cache, names = full_cache()
    kept = dict(cache.entries)
    crowd = [b"99.900/C%d" % number for number in range(1_000)]
    assert not any(keep(cache, asked(name), name) for name in crowd)
    assert cache.entries == kept
    assert keep(cache, asked(crowd[-1]), crowd[-1])
    assert question_key(asked(crowd[-1])) in cache.entries
    assert len(cache.entries) == len(names)


def test_what_was_met_once_is_not_remembered_for_ever() -> None:
    cache, _ = full_cache()
    keep(cache, asked(b"99.900/once"), b"99.900/once")
    for number in range(2_000):
        cache.takes(b"%d" % number, entry_of(message()))
    assert not keep(cache, asked(b"99.900/once"), b"99.900/once")


def test_hot_names_get_into_a_cache_full_of_others_quickly() -> None:
    """Of a crowd of names that come once each, nine of ten requests are for two names: these are hits soon."""
    cache, _ = full_cache()
    hits = 0
    for number in range(1_000):
        name = b"99.900/HOT%d" % (number % 2) if number % 10 else b"99.900/%d" % number
        key = question_key(asked(name))
        hits += key in cache.entries
        keep(cache, asked(name), name)
    assert hits >= 890


def test_a_prefix_handle_takes_its_derived_prefixes_along() -> None:
    cache = AnswerCache(1 << 20)
    names = [b"0.NA/99.900", b"0.NA/99.900.1", b"0.NA/99.901", b"99.900/X", b"99.900.1/X"]
    for name in names:
        keep(cache, message(body=encode_request(ResolutionRequest(name), CURRENT)), name)
    assert cache.drop(Change(b"0.NA/99.900", is_prefix_handle=True)) == 2
    assert cache.drop(Change(b"0.NA/99.900", is_prefix_handle=True, has_namespace=True)) == 2
    assert len(cache.entries) == 1


def test_what_may_be_cached() -> None:
    allowed = {"request id", "site serial", "recursion count", "reserved", "expiration", "suggested minor", "version"}
    assert may_be_cached(message())
    for name in allowed:
        assert may_be_cached(VARIANTS[name]), name
    for name in ("session id", "sequence", "encrypted", "truncated", "opcode", "response code", "credential"):
        assert not may_be_cached(VARIANTS[name]), name
    for flag in (OpFlag.CT, OpFlag.ENC, OpFlag.RD, OpFlag.KC, OpFlag.CN, OpFlag.OWE, OpFlag.MNS):
        assert not may_be_cached(VARIANTS[f"flag {flag:08x}"]), flag
