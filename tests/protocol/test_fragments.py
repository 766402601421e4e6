"""Fragments: any order puts a message together again; floods and lies cost bounded memory."""

from __future__ import annotations

import random
import struct
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode_protocol.envelope import TRUNCATED, Envelope
from idnode_protocol.fragments import (
    FRAGMENT_OVERHEAD_OCTETS,
    SET_OVERHEAD_OCTETS,
    DropReason,
    Reassembler,
    ReassemblyLimits,
    split_message,
)
from idnode_protocol.limits import DATAGRAM_OCTETS_MAX, ENVELOPE_OCTETS, REASSEMBLY_OCTETS_MAX

ME = ("192.0.2.1", 40000)


def message(size: int, request_id: int = 7, fill: int = 0) -> bytes:
    """A message of ``size`` octets after its envelope, no two neighbours alike."""
    payload = bytes((fill + position * 7 + position // 251) % 256 for position in range(size))
    return Envelope(request_id, size).to_octets() + payload


def lies(length: int, sequence: int, payload: bytes, request_id: int = 7) -> bytes:
    return Envelope(request_id, length, sequence=sequence, flags=TRUNCATED).to_octets() + payload


def test_small_messages_are_not_split() -> None:
    whole = message(492)
    assert split_message(whole) == [whole]
    assert Reassembler().add(ME, whole, 0.0) == whole


def test_layout_of_fragments() -> None:
    parts = split_message(message(1000))
    assert [len(part) for part in parts] == [512, 512, 36]
    for number, part in enumerate(parts):
        envelope = Envelope.from_octets(part)
        assert (envelope.sequence, envelope.length, envelope.is_truncated) == (number, 1000, True)
        assert struct.unpack(">I", part[12:16]) == (number,)


@given(st.integers(0, 6000), st.randoms(use_true_random=False))
def test_any_order_with_repeats(size: int, rng: random.Random) -> None:
    whole = message(size)
    parts = split_message(whole)
    assert all(len(part) <= DATAGRAM_OCTETS_MAX for part in parts)
    order = parts + [rng.choice(parts) for _ in range(3)] if len(parts) > 1 else parts
    rng.shuffle(order)
    reassembler = Reassembler()
    finished = [done for part in order if (done := reassembler.add(ME, part, 0.0)) is not None]
    assert whole in finished
    assert set(finished) == {whole}


def test_the_largest_message() -> None:
    whole = message(262_144)
    reassembler = Reassembler()
    results = [reassembler.add(ME, part, 0.0) for part in split_message(whole)]
    assert results[-1] == whole
    assert not any(results[:-1])
    assert (reassembler.octets, reassembler.sets) == (0, 0)


def test_missing_tc_is_no_hindrance() -> None:
    whole = message(1000)
    reassembler = Reassembler()
    done = None
    for part in split_message(whole):
        envelope = replace(Envelope.from_octets(part), flags=0)
        done = reassembler.add(ME, envelope.to_octets() + part[ENVELOPE_OCTETS:], 0.0)
    assert done == whole


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", DropReason.MALFORMED),
        (b"\2\13\2\13", DropReason.MALFORMED),
        (Envelope(7, 100).to_octets()[:-4] + b"\xff\xff\xff\xff", DropReason.MALFORMED),
        (lies(1000, 3, bytes(10)), DropReason.SEQUENCE),
        (lies(1000, 2**32 - 1, bytes(10)), DropReason.SEQUENCE),
        (lies(1000, 0, bytes(491)), DropReason.SIZE),
        (lies(1000, 2, bytes(17)), DropReason.SIZE),
        (lies(1000, 2, b""), DropReason.SIZE),
        (lies(100, 0, bytes(99)), DropReason.SIZE),
        (lies(0, 1, b""), DropReason.SEQUENCE),
    ],
)
def test_lies_are_dropped_and_counted(datagram: bytes, reason: DropReason) -> None:
    reassembler = Reassembler()
    assert reassembler.add(ME, datagram, 0.0) is None
    assert reassembler.drops[reason] == 1
    assert sum(reassembler.drops.values()) == 1
    assert (reassembler.octets, reassembler.sets) == (0, 0)


def test_conflicting_length_does_not_disturb_the_set() -> None:
    whole = message(1000)
    parts = split_message(whole)
    reassembler = Reassembler()
    reassembler.add(ME, parts[0], 0.0)
    assert reassembler.add(ME, lies(1200, 1, bytes(492)), 0.0) is None
    assert reassembler.drops[DropReason.CONFLICT] == 1
    reassembler.add(ME, parts[1], 0.0)
    assert reassembler.add(ME, parts[2], 0.0) == whole


def test_a_repeated_request_with_other_octets_starts_again() -> None:
    first, second = split_message(message(1000)), split_message(message(1000, fill=1))
    reassembler = Reassembler()
    reassembler.add(ME, first[0], 0.0)
    assert [reassembler.add(ME, part, 0.5) for part in second] == [None, None, message(1000, fill=1)]
    assert reassembler.drops[DropReason.RESTARTED] == 1


def test_sources_and_request_ids_do_not_mix() -> None:
    a, b = split_message(message(600, 1)), split_message(message(600, 2, fill=9))
    reassembler = Reassembler()
    other = ("192.0.2.2", 40000)
    assert [reassembler.add(ME, a[0], 0.0), reassembler.add(ME, b[0], 0.0)] == [None, None]
    assert reassembler.add(other, a[1], 0.0) is None
    assert reassembler.add(ME, b[1], 0.0) == message(600, 2, fill=9)
    assert reassembler.add(ME, a[1], 0.0) == message(600, 1)


def test_two_sets_per_source() -> None:
    reassembler = Reassembler()
    for request_id in (1, 2, 3):
        reassembler.add(ME, split_message(message(600, request_id))[0], 0.0)
    assert reassembler.sets == 2
    assert reassembler.drops[DropReason.SOURCE_LIMIT] == 1
    assert reassembler.add(ME, split_message(message(600, 3))[1], 0.0) == message(600, 3)
    assert reassembler.add(ME, split_message(message(600, 1))[1], 0.0) is None


def test_sets_expire_after_two_seconds() -> None:
    parts = split_message(message(600))
    reassembler = Reassembler()
    reassembler.add(ME, parts[0], 10.0)
    reassembler.expire(12.0)
    assert reassembler.sets == 1
    reassembler.expire(12.1)
    assert (reassembler.sets, reassembler.octets) == (0, 0)
    assert reassembler.drops[DropReason.EXPIRED] == 1
    assert reassembler.add(ME, parts[1], 12.2) is None


def test_memory_bound_holds_at_every_step() -> None:
    limits = ReassemblyLimits(octets_max=20_000)
    reassembler = Reassembler(limits)
    for number in range(200):
        reassembler.add(("192.0.2.3", number), lies(262_144, 0, bytes(492), number), 0.0)
        assert reassembler.octets <= limits.octets_max
    per_set = SET_OVERHEAD_OCTETS + FRAGMENT_OVERHEAD_OCTETS + 492
    assert reassembler.sets == limits.octets_max // per_set
    assert reassembler.drops[DropReason.MEMORY_LIMIT] == 200 - reassembler.sets


def test_what_is_counted_is_what_python_pays() -> None:
    """A flood of one-octet last fragments is the cheapest for the sender; the count must not fall behind."""
    tracemalloc.start()
    try:
        reassembler = Reassembler(ReassemblyLimits(octets_max=REASSEMBLY_OCTETS_MAX // 8))
        datagrams = [lies(493, 1, b"x", number) for number in range(3000)]
        before, _ = tracemalloc.get_traced_memory()
        for number, datagram in enumerate(datagrams):
            reassembler.add(("192.0.2.4", number), datagram, 0.0)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reassembler.octets <= REASSEMBLY_OCTETS_MAX // 8
    # Whoever sends also costs us its address; that is the caller's object, some 150 octets here.
    assert after - before <= 1.5 * REASSEMBLY_OCTETS_MAX // 8
