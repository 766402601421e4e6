"""Seeds of the replication streams: one of every record in every format, and the states that ask for them."""

from __future__ import annotations

from idnode_protocol.replication import (
    FORMAT_JOURNAL,
    FORMAT_ONE_QUEUE,
    FORMAT_QUEUES,
    STREAM_SIGNED,
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
from idnode_protocol.replication_reader import begin
from idnode_protocol.replication_state import JournalWish, QueueState, ReplicationState
from tests.campaigns.corpus import NAME, VALUES

_VALUES = tuple(value.to_octets() for value in VALUES[:2])
_CHANGES: tuple[Record, ...] = (
    Queue("1:a fictional site"),
    Transaction(7, NAME, 1, 1_700_000_000_000, _VALUES),
    Transaction(8, NAME, 2, 1_700_000_000_001),
    QueueEnd(1_700_000_000_001),
)
_JOURNAL: tuple[Record, ...] = (
    Manifest(b"{}"),
    Queue("99.900"),
    Entry(bytes(80), NAME),
    Entry(bytes(80)),
    Withheld(bytes(32)),
    End(),
)
_DUMP: tuple[Record, ...] = (
    Position(1_700_000_000_000, 7),
    QueueStates(b"{}"),
    NameDate(NAME, 1_700_000_000_000, 1),
    NameDate(b"0.NA/99.900", 1_700_000_000_000, 1, is_prefix=True),
    DumpedRecord(NAME, _VALUES),
    HomedPrefix(b"0.NA/99.900"),
    Manifest(b"{}"),
    Complete(),
)


def streams() -> list[tuple[bool, bytes]]:
    """(is a dump, octets) behind the stream type, unsigned."""
    found = []
    for number, records in (
        (FORMAT_ONE_QUEUE, (*_CHANGES[1:3], End(1_700_000_000_002))),
        (FORMAT_QUEUES, (*_CHANGES, End())),
        (FORMAT_JOURNAL, _JOURNAL),
    ):
        found.append((False, encode_head(Head(number), is_dump=False) + b"".join(map(encode_record, records))))
    found.append((True, encode_head(Head(2), is_dump=True) + b"".join(map(encode_record, _DUMP))))
    return found


def signed_streams() -> list[bytes]:
    """The dump with a signature of 64 octets behind the head and each record but the last."""
    signature = (64).to_bytes(4, "big") + bytes(64)
    parts = [encode_head(Head(2), is_dump=True), *map(encode_record, _DUMP[:-1])]
    return [begin(STREAM_SIGNED)[4:] + b"".join(part + signature for part in parts) + encode_record(Complete())]


def states() -> list[bytes]:
    """What a mirror asks with."""
    queues = {"1:a fictional site": QueueState(7, 1_700_000_000_000), "99.900": QueueState()}
    wish = JournalWish(bytes(16), after="99.900", until="99.901", entries=100)
    return [
        ReplicationState().to_octets(),
        ReplicationState(queues, own_name="1:another").to_octets(),
        ReplicationState(queues, wish=wish).to_octets(),
    ]
