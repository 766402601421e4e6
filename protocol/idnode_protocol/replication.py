"""The records of replication streams and their octets (docs/protocol.md §10).

A stream stands behind the response message of opcode 1001 or 1002 on the same connection::

    i4 stream type | [TLS from here on] | [ba hash name] | head | record | record | ... | end

    1001  head = i4 format, i4 status      transaction, queue, queue end, end; format 3: manifest, entry, withheld
    1002  head = i4 2                      position, queue states, dates, record, homed prefix, manifest, complete

With stream type 0 the head and every record but the last of a dump is followed by ``ba signature`` over the octets
since the one before. Format 3 and the manifest record are idnode's own, sent to nobody who did not ask for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from idnode_protocol.errors import Malformed
from idnode_protocol.limits import HANDLE_OCTETS_MAX, VALUES_PER_HANDLE_MAX
from idnode_protocol.octets import Reader, Writer

STREAM_TLS: Final = 0x544C5300
STREAM_SIGNED: Final = 0
STREAM_UNSIGNED: Final = -1

FORMAT_ONE_QUEUE: Final = 1
FORMAT_QUEUES: Final = 2
FORMAT_JOURNAL: Final = 3
"""Ours: the journal's own entries, each queue a bucket, under a signed manifest."""
DUMP_FORMAT: Final = 2

STATUS_REDUMP: Final = 1
STATUS_SENDING: Final = 2

QUEUE_NAME_OCTETS_MAX: Final = HANDLE_OCTETS_MAX + 32
STATES_OCTETS_MAX: Final = 1_048_576
ENTRY_OCTETS_MAX: Final = 1_048_576
MANIFEST_OCTETS_MAX: Final = 8 * 1024 * 1024
"""2,000 queues with a name and some twenty hashes each are 2 MiB."""
VALUE_OCTETS_MAX: Final = 262_144
RECORD_OCTETS_MAX: Final = MANIFEST_OCTETS_MAX + 1024
"""No record of any stream is longer; a reader that holds more octets without a whole record gives up."""


class Action(IntEnum):
    """What a transaction did."""

    CREATE = 1
    DELETE = 2
    UPDATE = 3
    HOME = 4
    UNHOME = 5
    DELETE_ALL = 6


ACTIONS: Final = frozenset(map(int, Action))
CARRIES_VALUES: Final = frozenset({Action.CREATE, Action.UPDATE})


class DumpPart(IntEnum):
    """Where a dump is resumed: after a name in one of its lists."""

    HANDLE_DATES = 0
    PREFIX_DATES = 1
    HANDLES = 2
    HOMED_PREFIXES = 3


@dataclass(frozen=True, slots=True)
class Head:
    """What a stream begins with; a dump has no status, it is always sending."""

    format: int
    status: int = STATUS_SENDING


@dataclass(frozen=True, slots=True)
class Transaction:
    """One change; ``values`` are the record as it is now, octets of each value as stored."""

    txn_id: int
    handle: bytes
    action: int
    date_ms: int
    values: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Queue:
    """The transactions that follow are of the queue ``<server number>:<site name>``."""

    name: str


@dataclass(frozen=True, slots=True)
class QueueEnd:
    """Last timestamp (ms) of the queue named before."""

    last_timestamp_ms: int


@dataclass(frozen=True, slots=True)
class End:
    """The end of a transaction stream; format 1 says what to send as last query date."""

    date_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """Ours: what the primary vouches for, signed; its inside belongs to the registry."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """Ours: a journal entry as it stands in the journal, and the state it led to unless a later one replaced it."""

    octets: bytes
    state: bytes | None = None
    """``ba handle`` and the value list; its SHA-256 is the entry's digest after."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Ours: an entry about a name that another server of the receiver's site answers for; only its leaf hash."""

    leaf: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """Where to go on with transactions once the dump is done."""

    date_ms: int
    txn_id: int


@dataclass(frozen=True, slots=True)
class QueueStates:
    """Positions in the queues of other sites, in the reference's text form."""

    text: bytes


@dataclass(frozen=True, slots=True)
class NameDate:
    """When a handle (or with ``is_prefix`` a prefix) was last created or deleted, and by whom where several may."""

    name: bytes
    date_ms: int
    priority: int
    is_prefix: bool = False


@dataclass(frozen=True, slots=True)
class DumpedRecord:
    """One handle with all its values, octets of each as stored."""

    handle: bytes
    values: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class HomedPrefix:
    """A prefix handle the primary answers for."""

    name: bytes


@dataclass(frozen=True, slots=True)
class Complete:
    """The dump is whole; without it it must be resumed."""


Record = (
    Transaction
    | Queue
    | QueueEnd
    | End
    | Manifest
    | Entry
    | Withheld
    | Position
    | QueueStates
    | NameDate
    | DumpedRecord
    | HomedPrefix
    | Complete
)


def encode_head(head: Head, *, is_dump: bool) -> bytes:
    writer = Writer().i32(head.format)
    return (writer if is_dump else writer.i32(head.status)).to_octets()


def decode_head(reader: Reader, *, is_dump: bool) -> Head:
    """The head; raises :class:`Malformed` for a format or status nobody knows."""
    number = reader.i32()
    if number not in ((DUMP_FORMAT,) if is_dump else (FORMAT_ONE_QUEUE, FORMAT_QUEUES, FORMAT_JOURNAL)):
        raise Malformed(f"a replication stream of unknown format {number}", 0)
    if is_dump:
        return Head(number)
    status = reader.i32()
    if status not in (STATUS_REDUMP, STATUS_SENDING):
        raise Malformed(f"a replication stream with unknown status {status}", 4)
    return Head(number, status)


def _values_to(writer: Writer, values: tuple[bytes, ...]) -> None:
    writer.u32(len(values))
    for value in values:
        writer.counted(value)


def _values_from(reader: Reader) -> tuple[bytes, ...]:
    return tuple(reader.counted(VALUE_OCTETS_MAX) for _ in range(reader.count(VALUES_PER_HANDLE_MAX, 4)))


# --- transaction streams -----------------------------------------------------------------------------------------


def _transaction(reader: Reader, head: Head) -> Transaction:
    txn_id, handle, action, date = reader.i64(), reader.handle(), reader.u8(), reader.i64()
    if action not in ACTIONS:
        raise Malformed(f"unknown action {action} in a transaction", reader.position)
    return Transaction(txn_id, handle, action, date, _values_from(reader) if action in CARRIES_VALUES else ())


def _queue(reader: Reader, head: Head) -> Queue:
    return Queue(reader.text(QUEUE_NAME_OCTETS_MAX))


def _queue_end(reader: Reader, head: Head) -> QueueEnd:
    return QueueEnd(reader.i64())


def _end(reader: Reader, head: Head) -> End:
    return End(reader.i64() if head.format == FORMAT_ONE_QUEUE else None)


def _manifest(reader: Reader, head: Head) -> Manifest:
    return Manifest(reader.counted(MANIFEST_OCTETS_MAX))


def _entry(reader: Reader, head: Head) -> Entry:
    octets, has_state = reader.counted(ENTRY_OCTETS_MAX), reader.u8()
    if has_state > 1:
        raise Malformed(f"{has_state} says neither 0 nor 1 about the state of a journal entry", reader.position - 1)
    return Entry(octets, reader.counted(ENTRY_OCTETS_MAX) if has_state else None)


def _withheld(reader: Reader, head: Head) -> Withheld:
    return Withheld(reader.take(32))


_Decoder = Callable[[Reader, Head], Record]
_TRANSACTION_RECORDS: Final[dict[int, _Decoder]] = {0: _end, 1: _transaction, 2: _queue, 3: _queue_end}
_JOURNAL_RECORDS: Final[dict[int, _Decoder]] = {
    0: _end,
    2: _queue,
    3: _queue_end,
    16: _manifest,
    17: _entry,
    18: _withheld,
}

# --- dump streams ------------------------------------------------------------------------------------------------


def _position(reader: Reader, head: Head) -> Position:
    return Position(reader.i64(), reader.i64())


def _states(reader: Reader, head: Head) -> QueueStates:
    return QueueStates(reader.counted(STATES_OCTETS_MAX))


def _handle_date(reader: Reader, head: Head) -> NameDate:
    return NameDate(reader.handle(), reader.i64(), reader.i32())


def _prefix_date(reader: Reader, head: Head) -> NameDate:
    return NameDate(reader.handle(), reader.i64(), reader.i32(), is_prefix=True)


def _record(reader: Reader, head: Head) -> DumpedRecord:
    return DumpedRecord(reader.handle(), _values_from(reader))


def _homed(reader: Reader, head: Head) -> HomedPrefix:
    return HomedPrefix(reader.handle())


def _complete(reader: Reader, head: Head) -> Complete:
    return Complete()


_DUMP_RECORDS: Final[dict[int, _Decoder]] = {
    0: _position,
    1: _record,
    2: _homed,
    3: _handle_date,
    4: _prefix_date,
    5: _states,
    16: _manifest,
    0xFF: _complete,
}


def decode_record(reader: Reader, head: Head, *, is_dump: bool) -> Record:
    """The next record. Raises :class:`Malformed`, :class:`Truncated`, :class:`LimitExceeded`."""
    table = _DUMP_RECORDS
    if not is_dump:
        table = _JOURNAL_RECORDS if head.format == FORMAT_JOURNAL else _TRANSACTION_RECORDS
    number = reader.u8()
    decoder = table.get(number)
    if decoder is None:
        raise Malformed(f"unknown record type {number} in a replication stream", reader.position - 1)
    return decoder(reader, head)


def encode_record(record: Record) -> bytes:
    """The octets of a record; raises :class:`NotEncodable`."""
    writer = Writer()
    match record:
        case Transaction(txn_id, handle, action, date, values):
            writer.u8(1).i64(txn_id).counted(handle).u8(action).i64(date)
            if action in CARRIES_VALUES:
                _values_to(writer, values)
        case Queue(name):
            writer.u8(2).text(name)
        case QueueEnd(last):
            writer.u8(3).i64(last)
        case End(date):
            writer.u8(0)
            if date is not None:
                writer.i64(date)
        case Manifest(octets):
            writer.u8(16).counted(octets)
        case Entry(octets, state):
            writer.u8(17).counted(octets).u8(int(state is not None))
            if state is not None:
                writer.counted(state)
        case Withheld(leaf):
            writer.u8(18).raw(leaf)
        case _:
            _encode_dump_record(record, writer)
    return writer.to_octets()


def _encode_dump_record(record: Record, writer: Writer) -> None:
    match record:
        case Position(date, txn_id):
            writer.u8(0).i64(date).i64(txn_id)
        case DumpedRecord(handle, values):
            writer.u8(1).counted(handle)
            _values_to(writer, values)
        case HomedPrefix(name):
            writer.u8(2).counted(name)
        case NameDate(name, date, priority, is_prefix):
            writer.u8(4 if is_prefix else 3).counted(name).i64(date).i32(priority)
        case QueueStates(text):
            writer.u8(5).counted(text)
        case Complete():
            writer.u8(0xFF)
        case _:
            raise AssertionError(f"no octets are known for {record!r}")
