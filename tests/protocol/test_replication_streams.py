"""Replication streams: every record in both directions, whole, octet by octet, cut short, damaged (§10)."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode_protocol.errors import LimitExceeded, Malformed, RemoteError
from idnode_protocol.octets import Writer
from idnode_protocol.replication import (
    FORMAT_JOURNAL,
    FORMAT_ONE_QUEUE,
    FORMAT_QUEUES,
    RECORD_OCTETS_MAX,
    STATUS_REDUMP,
    STREAM_SIGNED,
    STREAM_TLS,
    STREAM_UNSIGNED,
    Action,
    Complete,
    DumpedRecord,
    End,
    Entry,
    Head,
    HomedPrefix,
    Manifest,
    NameDate,
    Position,
    Queue,
    QueueEnd,
    QueueStates,
    Record,
    Transaction,
    Withheld,
    encode_head,
    encode_record,
)
from idnode_protocol.replication_reader import StreamReader, begin, stream_type
from idnode_protocol.replication_state import JournalWish, QueueState, ReplicationState

ONE_QUEUE: tuple[Record, ...] = (
    Transaction(1, b"99.900/A", Action.CREATE, 1_700_000_000_000, (b"v1", b"")),
    Transaction(2, b"99.900/A", Action.DELETE, 1_700_000_000_001),
    Transaction(3, b"0.NA/99.901", Action.HOME, 1_700_000_000_002),
    End(1_700_000_000_003),
)
QUEUES: tuple[Record, ...] = (
    Queue("0:plant"),
    Transaction(7, b"99.900/B", Action.UPDATE, -5, (b"x" * 300,)),
    QueueEnd(9),
    End(),
)
JOURNAL: tuple[Record, ...] = (
    Manifest(b"m"),
    Queue("0:99.900"),
    Entry(b"entry", b"state"),
    Entry(b"entry"),
    Withheld(b"h" * 32),
    QueueEnd(5),
    End(),
)
DUMP: tuple[Record, ...] = (
    Manifest(b"m"),
    QueueStates(b"{\n}"),
    Position(5, 6),
    NameDate(b"99.900/A", 5, -1),
    NameDate(b"0.NA/99.900", 5, 2, is_prefix=True),
    DumpedRecord(b"99.900/A", (b"v", b"w")),
    HomedPrefix(b"0.NA/99.900"),
    Complete(),
)
STREAMS: tuple[tuple[Head, bool, tuple[Record, ...]], ...] = (
    (Head(FORMAT_ONE_QUEUE), False, ONE_QUEUE),
    (Head(FORMAT_ONE_QUEUE, STATUS_REDUMP), False, (End(17),)),
    (Head(FORMAT_QUEUES), False, QUEUES),
    (Head(FORMAT_JOURNAL), False, JOURNAL),
    (Head(2), True, DUMP),
)


def sign(octets: bytes) -> bytes:
    """Stands for a signature: what counts here is which octets it covers."""
    return hashlib.sha256(b"key" + octets).digest()


def check(hash_name: bytes, octets: bytes, signature: bytes) -> bool:
    return hash_name == b"SHA-256" and signature == sign(octets)


def written(head: Head, is_dump: bool, records: Sequence[Record], *, signed: bool) -> bytes:
    """The stream behind its type."""
    writer = Writer()
    for number, octets in enumerate([encode_head(head, is_dump=is_dump), *map(encode_record, records)]):
        writer.raw(octets)
        if signed and not (number and isinstance(records[number - 1], Complete)):
            writer.counted(sign(octets))
    return writer.to_octets()


def read(octets: bytes, is_dump: bool, *, signed: bool, step: int = 1 << 30) -> tuple[list[Head | Record], bool]:
    reader = StreamReader(is_dump=is_dump, verify=check if signed else None)
    behind_type = (begin(STREAM_SIGNED)[4:] if signed else b"") + octets
    found = [
        one for start in range(0, len(behind_type), step) for one in reader.feed(behind_type[start : start + step])
    ]
    return found, reader.is_complete


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("step", [1, 7, 1 << 30])
@pytest.mark.parametrize(("head", "is_dump", "records"), STREAMS)
def test_streams_read_back(head: Head, is_dump: bool, records: tuple[Record, ...], step: int, signed: bool) -> None:
    octets = written(head, is_dump, records, signed=signed)
    assert read(octets, is_dump, signed=signed, step=step) == ([head, *records], True)


@pytest.mark.parametrize(("head", "is_dump", "records"), STREAMS)
def test_a_stream_cut_anywhere_is_never_complete(head: Head, is_dump: bool, records: tuple[Record, ...]) -> None:
    octets = written(head, is_dump, records, signed=False)
    for end in range(len(octets)):
        found, is_complete = read(octets[:end], is_dump, signed=False)
        assert not is_complete
        assert found == [head, *records][: len(found)]


@pytest.mark.parametrize(("head", "is_dump", "records"), STREAMS)
def test_no_octet_of_a_signed_stream_can_be_changed(
    head: Head, is_dump: bool, records: tuple[Record, ...], seed: int
) -> None:
    """Whatever bit flips, no record that was not sent comes out (the end mark of a dump carries no signature)."""
    octets, random = written(head, is_dump, records, signed=True), Random(seed)
    for _ in range(300):
        at, bit = random.randrange(len(octets)), 1 << random.randrange(8)
        changed = octets[:at] + bytes([octets[at] ^ bit]) + octets[at + 1 :]
        reader = StreamReader(is_dump=is_dump, verify=check)
        found: list[Head | Record] = []
        try:
            for one in reader.feed(begin(STREAM_SIGNED)[4:] + changed):
                found.append(one)
        except RemoteError:
            pass
        assert found == [head, *records][: len(found)]


def test_octets_known_from_the_reference() -> None:
    """Format 1 as the reference writes it: a create and the end, octet by octet."""
    create = Transaction(5, b"99.900/A", Action.CREATE, 256, (b"v",))
    assert encode_head(Head(1), is_dump=False).hex() == "0000000100000002"
    assert encode_record(create).hex() == (
        "0100000000000000050000000839392e3930302f41010000000000000100000000010000000176"
    )
    assert encode_record(End(256)).hex() == "000000000000000100"
    assert encode_record(Complete()).hex() == "ff"
    assert begin(STREAM_TLS).hex() == "544c5300"
    assert begin(STREAM_UNSIGNED).hex() == "ffffffff"
    assert begin(STREAM_SIGNED, b"SHA1").hex() == "000000000000000453484131"


@pytest.mark.parametrize("kind", [STREAM_TLS, STREAM_SIGNED, STREAM_UNSIGNED])
def test_stream_types(kind: int) -> None:
    assert stream_type(begin(kind)) == kind


@pytest.mark.parametrize("octets", [b"", b"\0\0\0", b"\0\0\0\1", b"HTTP"])
def test_unknown_stream_types(octets: bytes) -> None:
    with pytest.raises(Malformed):
        stream_type(octets)


def test_endless_records_end() -> None:
    """A record that never becomes whole is given up once it is longer than any may be."""
    reader = StreamReader(is_dump=True)
    list(reader.feed(encode_head(Head(2), is_dump=True) + b"\x01" + (8).to_bytes(4, "big") + b"99.900/A"))
    list(reader.feed((2_048).to_bytes(4, "big")))
    chunk = (262_144).to_bytes(4, "big") + bytes(262_144)
    for _ in range(RECORD_OCTETS_MAX // len(chunk)):
        list(reader.feed(chunk))
    with pytest.raises(LimitExceeded):
        list(reader.feed(chunk))


def test_what_follows_the_end_is_refused() -> None:
    reader = StreamReader(is_dump=False)
    with pytest.raises(Malformed):
        list(reader.feed(encode_head(Head(2), is_dump=False) + encode_record(End()) + b"\0"))


@given(st.binary(max_size=200), st.booleans())
def test_garbage_gives_records_or_a_remote_error(octets: bytes, is_dump: bool) -> None:
    with contextlib.suppress(RemoteError):
        read(octets, is_dump, signed=False)


STATE = ReplicationState(
    {"0:99.900": QueueState(17, 5), "1:a:b": QueueState(-1, 0)}, "mirror", JournalWish(bytes(range(16)), "99", None, 9)
)


def test_states_read_back() -> None:
    assert ReplicationState.from_octets(STATE.to_octets()) == STATE


def test_a_state_of_the_reference() -> None:
    octets = b'{"replicationServerStates":{"1:S":{"lastTxnId":4,"lastTimestamp":5}},"ownName":"M"}'
    assert ReplicationState.from_octets(octets) == ReplicationState({"1:S": QueueState(4, 5)}, "M")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"replicationServerStates":[]}',
        '{"replicationServerStates":{"a":7}}',
        '{"replicationServerStates":{"a":{"lastTxnId":1.5}}}',
        '{"replicationServerStates":{"a":{"lastTxnId":true}}}',
        '{"replicationServerStates":{"a":{"lastTxnId":9223372036854775808}}}',
        '{"ownName":5}',
        '{"idnode":{"nonce":"00"}}',
        '{"idnode":{"nonce":"' + "g" * 32 + '"}}',
        '{"idnode":{"nonce":"' + "0" * 32 + '","entries":0}}',
        "[" * 100_000,
    ],
)
def test_states_that_are_none(text: str) -> None:
    with pytest.raises(Malformed):
        ReplicationState.from_octets(text.encode())
