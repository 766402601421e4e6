"""A mirror takes the transactions of a reference server, format 1: records as they are now, numbers of one queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from idnode_protocol.replication import (
    FORMAT_ONE_QUEUE,
    STATUS_REDUMP,
    Action,
    End,
    Head,
    Record,
    Transaction,
)
from idnode_registry.errors import DumpNeeded, FeedRefused
from idnode_registry.format import handle_of
from idnode_registry.prefixes import HOMED_PREFIX
from idnode_registry.replication.applying import Applier, Wanted, homed
from idnode_registry.replication.dump_taking import value_list
from idnode_registry.replication.ordered import folded_handle, ordered_records
from idnode_registry.replication.positions import Positions, ReferencePosition

if TYPE_CHECKING:
    from idnode_registry.registry import Registry

WINDOW_TRANSACTIONS: Final = 500


class ReferenceTransactions:
    """Takes the records of one stream. The position follows what is written, window by window.

    Numbers must grow, as long as the stream lasts and from stream to stream; the date is only handed back, never
    compared with a clock.
    """

    def __init__(self, registry: Registry, positions: Positions, now: float) -> None:
        self._registry, self._positions, self._now = registry, positions, now
        self._position = positions.reference or ReferencePosition()
        self._last = self._position.txn_id
        self._applier = Applier(registry)
        self._window: dict[bytes, Wanted] = {}
        self.is_complete = False
        self.transactions = 0

    def take(self, record: Head | Record) -> None:
        """The next record. Raises FeedRefused and DumpNeeded."""
        match record:
            case Head(version, status):
                if version != FORMAT_ONE_QUEUE:
                    raise FeedRefused("malformed", f"format {version} came, format 1 was asked for")
                if status == STATUS_REDUMP:
                    raise DumpNeeded("the primary no longer keeps the transactions that follow ours")
            case Transaction():
                self._transaction(record)
            case End(date_ms):
                self._flush(self._position.date_ms if date_ms is None else date_ms)
                self.is_complete = True
            case _:
                raise FeedRefused("malformed", f"{type(record).__name__} has no place in format 1")

    def _transaction(self, txn: Transaction) -> None:
        if txn.txn_id <= self._last:
            raise FeedRefused("rollback", f"transaction {txn.txn_id} comes after {self._last}")
        self._last = txn.txn_id
        self.transactions += 1
        store, origin = self._registry.store, f"mirror reference#{txn.txn_id}"
        if txn.action == Action.DELETE_ALL:
            self._flush(self._position.date_ms)
            for prefix in store.prefixes():
                surplus = [Wanted(handle_of(record), None, origin) for record in ordered_records(store, prefix)]
                self._applier.apply([one for one in surplus if prefix != HOMED_PREFIX], self._now)
            return
        if txn.action in (Action.HOME, Action.UNHOME):
            name = folded_handle(store, txn.handle)
            wanted = homed(name, is_homed=txn.action == Action.HOME, origin=origin)
        else:
            values = None if txn.action == Action.DELETE else value_list(txn.values)
            wanted = Wanted(txn.handle, values, origin)
        self._window[folded_handle(store, wanted.handle)] = wanted
        if len(self._window) >= WINDOW_TRANSACTIONS:
            self._flush(self._position.date_ms)

    def _flush(self, date_ms: int) -> None:
        self._applier.apply(list(self._window.values()), self._now)
        self._window = {}
        position = ReferencePosition(self._last, date_ms)
        if position != self._position:
            self._positions.keep_reference(position)
            self._position = position
