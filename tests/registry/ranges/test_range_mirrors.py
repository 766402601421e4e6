"""Ranges in mirrors: ours get them like every other row, the reference's get members with their own records."""

from __future__ import annotations

import random

import pytest

from idnode_protocol.codes import OpCode, OpFlag
from idnode_protocol.replication import Action, DumpedRecord, Transaction
from idnode_protocol.requests import DumpRequest, HandleRequest, ResolutionRequest, ValuesRequest
from idnode_protocol.value import HandleValue
from idnode_registry.ask import SYSTEM, Ask
from idnode_registry.engines.memory import MemoryStore, deterministic_source
from idnode_registry.errors import FeedRefused
from idnode_registry.ranges.asks import RangeCode, about
from idnode_registry.ranges.names import parse_range
from idnode_registry.registry import Registry
from idnode_registry.replication.applying import Applier, Wanted
from idnode_registry.replication.receiver import Receiver
from tests.registry.replicas import NOW, Mirror, do, mirror_of, primary

PREFIX = b"99.900"
RANGES = (b"99.900/SN{00-29}", b"99.900/Sn{30-59}.a", b"99.900/{000-040}", b"99.900/SN{10-49}")
NAMES = tuple(b"99.900/%b" % name for name in (b"SN05", b"SN29", b"sn31.A", b"SN44", b"007", b"040", b"other"))
LINK = HandleValue(1, "URL", b"https://example.org/${suffix}")


def step(source: Registry, dice: random.Random) -> None:
    """A random change of ranges or of names in them."""
    kind, name = dice.randrange(8), dice.choice(NAMES)
    if kind < 2:
        ask = about(RangeCode.REGISTER, parse_range(dice.choice(RANGES)), (LINK,), overwrite=dice.random() < 0.5)
        assert source.execute(ask, SYSTEM, NOW).result(30).code in (1, 101)
    elif kind == 2:
        ask = about(RangeCode.DELETE, parse_range(dice.choice(RANGES)))
        assert source.execute(ask, SYSTEM, NOW).result(30).code in (1, 100)
    elif kind < 5:
        assert do(source, OpCode.DELETE_HANDLE, HandleRequest(name)) in (1, 100)
    elif kind == 5:
        request = ValuesRequest(name, (HandleValue(2, "DESC", dice.randbytes(3)),))
        assert do(source, OpCode.ADD_VALUES, request, flags=OpFlag.OWE) in (1, 100)
    else:
        request = ValuesRequest(name, (HandleValue(1, "URL", dice.randbytes(3)),))
        assert do(source, OpCode.CREATE_HANDLE, request, flags=OpFlag.OWE) == 1


def answers(registry: Registry) -> dict[bytes, bytes | int]:
    """What some names resolve to."""
    found: dict[bytes, bytes | int] = {}
    for name in (*NAMES, b"99.900/SN00", b"99.900/sn59.a", b"99.900/SN12", b"99.900/SN49", b"99.900/041"):
        reply = registry.execute(Ask(OpCode.RESOLUTION, ResolutionRequest(name), 0), SYSTEM, NOW).result(30)
        found[name] = reply.octets or reply.code
    return found


def same(mirror: Mirror) -> None:
    """The mirror holds what its primary does, and answers alike."""
    assert mirror.digest() == mirror.wanted_digest()
    assert answers(mirror.registry) == answers(mirror.source)
    assert mirror.registry.ranges.registered(PREFIX) == mirror.source.ranges.registered(PREFIX)
    assert list(mirror.registry.check()) == []


@pytest.mark.parametrize("buckets", [1, 8])
@pytest.mark.parametrize("after_images", [False, True])
def test_mirrors_of_ours_follow_ranges(buckets: int, after_images: bool, seed: int) -> None:
    dice = random.Random(seed)
    source = primary(MemoryStore("fold-all", buckets), after_images=after_images)
    store = MemoryStore("fold-all", buckets, hostile=buckets > 1, rng=deterministic_source(seed))
    mirror = mirror_of(source, store)
    for _ in range(12):
        for _ in range(dice.randrange(12)):
            step(source, dice)
        mirror.follow()
        same(mirror)


def test_mirrors_of_ours_take_ranges_in_a_dump_that_breaks_off(seed: int) -> None:
    dice = random.Random(seed)
    source = primary(MemoryStore("fold-all"))
    mirror = mirror_of(source, MemoryStore("fold-all"))
    for _ in range(10):
        for _ in range(15):
            step(source, dice)
        while not mirror.dump(dice.choice((1, 3, None))):
            step(source, dice)
        mirror.follow()
        same(mirror)


@pytest.mark.parametrize("position", [0, 1])
def test_each_server_of_a_site_takes_all_ranges(position: int, seed: int) -> None:
    dice = random.Random(seed)
    source = primary(MemoryStore("fold-all"))
    mirror = mirror_of(source, MemoryStore("fold-all"), Receiver(2, 2, position))
    for _ in range(60):
        step(source, dice)
    mirror.follow()
    assert mirror.digest() == mirror.wanted_digest()
    assert mirror.registry.ranges.registered(PREFIX) == source.ranges.registered(PREFIX)


def own_records(registry: Registry) -> dict[bytes, int]:
    """Name -> length of the records that are stored, tombstones left out."""
    reply = registry.execute(Ask(OpCode.LIST_HANDLES, HandleRequest(b"0.NA/99.900")), SYSTEM, NOW).result(30)
    assert reply.pages is not None
    names = [name for page in reply.pages for name in page]
    return {name: len(registry.record(name) or b"") for name in names}


def test_mirrors_of_the_reference_get_overrides_only(seed: int) -> None:
    dice = random.Random(seed)
    source = primary(MemoryStore("fold-all"))
    follower, dumped = (mirror_of(source, MemoryStore("fold-all")) for _ in range(2))
    for _ in range(12):
        for _ in range(8):
            step(source, dice)
        follower.pull_reference()
        dumped.dump_reference()
        for mirror in (follower, dumped):
            assert own_records(mirror.registry) == own_records(source)
            assert mirror.registry.ranges.prefixes == frozenset()
            assert mirror.registry.store.head(PREFIX, 0).records == len(own_records(source))


def test_what_the_reference_is_told_of_members() -> None:
    """A member that is changed is created; one that is deleted without having been told is not mentioned."""
    source = primary(MemoryStore("fold-all"))
    mirror = mirror_of(source, MemoryStore("fold-all"))
    assert source.execute(about(RangeCode.REGISTER, parse_range(RANGES[0]), (LINK,)), SYSTEM, NOW).result().is_success
    change = ValuesRequest(b"99.900/SN01", (HandleValue(2, "DESC", b"x"),))
    assert do(source, OpCode.ADD_VALUES, change) == 1
    assert do(source, OpCode.DELETE_HANDLE, HandleRequest(b"99.900/SN02")) == 1
    told = [record for record in mirror.stream(mirror.log_request(None)) if isinstance(record, Transaction)]
    members = [(txn.handle, txn.action) for txn in told if txn.action not in (Action.HOME, Action.UNHOME)]
    assert members == [(b"99.900/SN01", Action.CREATE)]
    assert do(source, OpCode.DELETE_HANDLE, HandleRequest(b"99.900/SN01")) == 1
    told = [record for record in mirror.stream(mirror.log_request(None)) if isinstance(record, Transaction)]
    assert [(txn.handle, txn.action) for txn in told if txn.action == Action.DELETE] == [
        (b"99.900/SN01", Action.DELETE)
    ]
    dumped = [record for record in mirror.stream(DumpRequest(2, 1, 0)) if isinstance(record, DumpedRecord)]
    assert dumped == []


def test_a_stream_says_that_ranges_are_left_out() -> None:
    source = primary(MemoryStore("fold-all"))
    mirror = mirror_of(source, MemoryStore("fold-all"))
    for ask, expected in ((mirror.log_request(None), False), (DumpRequest(2, 1, 0), False)):
        opcode = OpCode.DUMP_HANDLES if isinstance(ask, DumpRequest) else OpCode.RETRIEVE_TXN_LOG
        reply = source.execute(Ask(opcode, ask), SYSTEM, NOW).result()
        assert reply.stream is not None
        assert reply.stream.leaves_ranges_out is expected
    assert source.execute(about(RangeCode.REGISTER, parse_range(RANGES[0]), (LINK,)), SYSTEM, NOW).result().is_success
    for ask in (mirror.log_request(None), DumpRequest(2, 1, 0)):
        opcode = OpCode.DUMP_HANDLES if isinstance(ask, DumpRequest) else OpCode.RETRIEVE_TXN_LOG
        reply = source.execute(Ask(opcode, ask), SYSTEM, NOW).result()
        assert reply.stream is not None
        assert reply.stream.leaves_ranges_out


@pytest.mark.parametrize("row", [b"*RANGE:99.900/SN", b"*RANGE:99.900/SN{1-9}"])
def test_a_mirror_takes_no_range_that_it_could_not_use(row: bytes) -> None:
    registry = primary(MemoryStore("fold-all"))
    values = b"\0\0\0\1\0\0\0\1\0\0\0\0\0\0\1\x51\x80\x0e\0\0\0\3URL\0\0\0\2$x\0\0\0\0"
    with pytest.raises(FeedRefused, match="cannot be used"):
        Applier(registry).apply([Wanted(row, values, "mirror")], NOW)
    assert registry.ranges.prefixes == frozenset()
