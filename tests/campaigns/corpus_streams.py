"""Seeds of the replication streams: one of every record in every format, and the states that ask for them."""

from __future__ import annotations

from idnode_protocol import replication as wire
from idnode_protocol.replication_reader import begin
from idnode_protocol.replication_state import JournalWish, QueueState, ReplicationState
from tests.campaigns.corpus import NAME, VALUES

_VALUES = tuple(value.to_octets() for value in VALUES[:2])
_CHANGES: tuple[wire.Record, ...] = (
    wire.Queue("1:a fictional site"),
    wire.Transaction(7, NAME, 1, 1_700_000_000_000, _VALUES),
    wire.Transaction(8, NAME, 2, 1_700_000_000_001),
    wire.QueueEnd(1_700_000_000_001),
)
_JOURNAL: tuple[wire.Record, ...] = (
    wire.Manifest(b"{}"),
    wire.Queue("99.900"),
    wire.Entry(bytes(80), NAME),
    wire.Entry(bytes(80)),
    wire.Withheld(bytes(32)),
    wire.End(),
)
_DUMP: tuple[wire.Record, ...] = (
    wire.Position(1_700_000_000_000, 7),
    wire.QueueStates(b"{}"),
    wire.NameDate(NAME, 1_700_000_000_000, 1),
    wire.NameDate(b"0.NA/99.900", 1_700_000_000_000, 1, is_prefix=True),
    wire.DumpedRecord(NAME, _VALUES),
    wire.HomedPrefix(b"0.NA/99.900"),
    wire.Manifest(b"{}"),
    wire.Complete(),
)


def streams() -> list[tuple[bool, bytes]]:
    """(is a dump, octets) behind the stream type, unsigned."""
    found = []
    for number, records in (
        (wire.FORMAT_ONE_QUEUE, (*_CHANGES[1:3], wire.End(1_700_000_000_002))),
        (wire.FORMAT_QUEUES, (*_CHANGES, wire.End())),
        (wire.FORMAT_JOURNAL, _JOURNAL),
    ):
        found.append(
            (False, wire.encode_head(wire.Head(number), is_dump=False) + b"".join(map(wire.encode_record, records)))
        )
    found.append((True, wire.encode_head(wire.Head(2), is_dump=True) + b"".join(map(wire.encode_record, _DUMP))))
    return found


def signed_streams() -> list[bytes]:
    """The dump with a signature of 64 octets behind the head and each record but the last."""
    signature = (64).to_bytes(4, "big") + bytes(64)
    parts = [wire.encode_head(wire.Head(2), is_dump=True), *map(wire.encode_record, _DUMP[:-1])]
    return [
        begin(wire.STREAM_SIGNED)[4:]
        + b"".join(part + signature for part in parts)
        + wire.encode_record(wire.Complete())
    ]


def states() -> list[bytes]:
    """What a mirror asks with."""
    queues = {"1:a fictional site": QueueState(7, 1_700_000_000_000), "99.900": QueueState()}
    wish = JournalWish(bytes(16), after="99.900", until="99.901", entries=100)
    return [
        ReplicationState().to_octets(),
        ReplicationState(queues, own_name="1:another").to_octets(),
        ReplicationState(queues, wish=wish).to_octets(),
    ]
