"""Replication from the primary's side, opcodes 1000-1002: for those whom the server's settings list (§10)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from idnode_protocol.codes import ResponseCode
from idnode_protocol.errors import Malformed
from idnode_protocol.replication import Head, Record
from idnode_protocol.replication_state import ReplicationState
from idnode_protocol.requests import DumpRequest, RetrieveLogRequest
from idnode_protocol.responses import EmptyResponse, NextTxnIdResponse, RetrieveLogResponse
from idnode_registry.access import unlisted
from idnode_registry.ask import Ask, Caller, Reply, refusal
from idnode_registry.replication.dump import dump_records, nonce_of
from idnode_registry.replication.journal_feed import journal_records
from idnode_registry.replication.receiver import Receiver
from idnode_registry.replication.transactions import transaction_records

if TYPE_CHECKING:
    from idnode_registry.registry import Registry


@dataclass(frozen=True, slots=True)
class RecordStream:
    """What follows the response message. ``records`` begins anew each time and reads the store: run it in a worker.

    It raises ReadingError or FeedRetained in the middle when what it needs is damaged or was cut meanwhile; the stream
    then ends without its end mark, and the receiver asks again.
    """

    is_dump: bool
    records: Callable[[], Iterator[Head | Record]]
    leaves_ranges_out: bool = False
    """There are ranges here, and the receiver cannot take them: it gets the members that have records of their own."""


def _may_not_replicate(registry: Registry, caller: Caller) -> Reply | None:
    settings = registry.settings
    return unlisted(registry, caller, (*settings.replication_admins, *settings.server_admins), "replicate")


def next_txn_id(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply:
    """The number the next transaction will have, at least: changes not asked about yet have no number."""
    refused = _may_not_replicate(registry, caller)
    if refused is not None:
        return refused
    return Reply(ResponseCode.SUCCESS, NextTxnIdResponse(registry.sequencer.last + 1))


def retrieve_log(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply:
    """Changes since a state: the journal for our own mirrors, transactions for everybody else's."""
    request = ask.request
    assert isinstance(request, RetrieveLogRequest)
    refused = _may_not_replicate(registry, caller)
    if refused is not None:
        return refused
    try:
        receiver = Receiver.of(request)
        state = None if request.state is None else ReplicationState.from_octets(request.state)
    except Malformed as wrong:
        return refusal(ResponseCode.PROTOCOL_ERROR, str(wrong))

    wish = None if state is None or registry.sign is None else state.wish

    def records() -> Iterator[Head | Record]:
        if state is not None and wish is not None:
            return journal_records(registry, state, wish, receiver, now)
        return transaction_records(registry, request, state, receiver, now)

    stream = RecordStream(False, records, wish is None and bool(registry.ranges.prefixes))
    return Reply(ResponseCode.SUCCESS, RetrieveLogResponse(0), stream=stream)


def dump(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply:
    """Everything the receiver answers for, or the rest behind its starting point."""
    request = ask.request
    assert isinstance(request, DumpRequest)
    refused = _may_not_replicate(registry, caller)
    if refused is not None:
        return refused
    try:
        receiver = Receiver.of(request)
    except Malformed as wrong:
        return refusal(ResponseCode.PROTOCOL_ERROR, str(wrong))
    if not 0 <= request.starting_point_type <= 3:
        text = f"starting point of type {request.starting_point_type}; known are 0 to 3"
        return refusal(ResponseCode.PROTOCOL_ERROR, text)
    is_partial = nonce_of(request) is None and bool(registry.ranges.prefixes)
    stream = RecordStream(True, lambda: dump_records(registry, request, receiver, now), is_partial)
    return Reply(ResponseCode.SUCCESS, EmptyResponse(), stream=stream)
