"""The reference's transaction stream, formats 1 and 2, out of the journal (docs/protocol.md §10.2).

A transaction carries the record as it is now. A change of a record that is gone, and the deletion of one that is there
again, are left out: another transaction tells of them. So are ranges and their members, which the reference has not: a
member is told of when it gets a record of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from idnode_protocol.handle import split
from idnode_protocol.replication import (
    FORMAT_ONE_QUEUE,
    FORMAT_QUEUES,
    STATUS_REDUMP,
    Action,
    End,
    Head,
    Queue,
    QueueEnd,
    Record,
    Transaction,
)
from idnode_protocol.replication_state import QueueState, ReplicationState
from idnode_protocol.requests import RetrieveLogRequest
from idnode_registry.format import handle_of, iter_value_slices, value_list
from idnode_registry.journal import Entry, Operation, parse
from idnode_registry.prefixes import HOMED_PREFIX, is_internal
from idnode_registry.replication.ordered import folded_handle
from idnode_registry.replication.receiver import Receiver
from idnode_registry.replication.sequence import Piece
from idnode_registry.tombstones import is_tombstone

if TYPE_CHECKING:
    from idnode_registry.registry import Registry

_FEED_ENTRIES: Final = 500
ACTIONS: Final[dict[int, Action]] = {Operation.CREATE: Action.CREATE, Operation.DELETE: Action.DELETE}
HOMING: Final[dict[int, Action]] = {Operation.CREATE: Action.HOME, Operation.DELETE: Action.UNHOME}


def queue_name(registry: Registry) -> str:
    """The name of the only queue that formats 1 and 2 show: ``<server number>:<site name>``."""
    number = 0 if registry.place is None else registry.place.position
    return f"{number}:{registry.settings.site_name}"


def transaction_records(
    registry: Registry, request: RetrieveLogRequest, state: ReplicationState | None, receiver: Receiver, now: float
) -> Iterator[Head | Record]:
    """The whole stream: head, transactions, end."""
    name = queue_name(registry)
    asked = QueueState(request.last_txn_id, request.last_query_ms) if state is None else state.queues.get(name)
    version = FORMAT_ONE_QUEUE if state is None else FORMAT_QUEUES
    date_ms = int(now * 1_000)
    registry.sequencer.advance()
    pieces = registry.sequencer.after(0 if asked is None else max(0, asked.last_txn_id))
    if pieces is None:
        yield Head(version, STATUS_REDUMP)
        yield End(request.last_query_ms if state is None else None)
        return
    yield Head(version)
    if state is not None:
        yield Queue(name)
    for piece in pieces:
        yield from _piece(registry, piece, receiver)
    if state is None:
        yield End(date_ms)
    else:
        yield QueueEnd(date_ms)
        yield End()


def _piece(registry: Registry, piece: Piece, receiver: Receiver) -> Iterator[Record]:
    store, number, after = registry.store, piece.first, piece.after
    while after < piece.until:
        for octets in store.feed(piece.prefix, piece.bucket, after, min(_FEED_ENTRIES, piece.until - after)):
            found = transaction(registry, number, parse(octets), receiver)
            if found is not None:
                yield found
            number, after = number + 1, after + 1


def transaction(registry: Registry, number: int, entry: Entry, receiver: Receiver) -> Transaction | None:
    """The transaction of a journal entry; None when it is not for this receiver or tells nothing any more."""
    prefix, suffix = split(folded_handle(registry.store, entry.handle))
    date_ms = entry.time_us // 1_000
    if prefix == HOMED_PREFIX:
        action = HOMING.get(entry.operation)
        return None if action is None else Transaction(number, suffix, action, date_ms)
    if is_internal(prefix) or not receiver.takes(entry.handle):
        return None
    action = ACTIONS.get(entry.operation, Action.UPDATE)
    row = registry.store.get(prefix, suffix)
    record = None if row is None or is_tombstone(row) else row
    if (record is None) != (action is Action.DELETE):
        return None
    is_unknown = entry.digest_before is None  # the receiver does not have it: a member of a range until then
    if record is None:
        return None if is_unknown else Transaction(number, entry.handle, action, date_ms)
    action = Action.CREATE if is_unknown else action
    return Transaction(number, handle_of(record), action, date_ms, value_octets(record))


def value_octets(record: bytes) -> tuple[bytes, ...]:
    """The values of a record, octets of each."""
    values = value_list(record)
    return tuple(bytes(values[value.start : value.end]) for value in iter_value_slices(values))
