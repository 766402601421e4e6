"""A mirror writes what it was told, idempotently: states, not differences.

A record that is already as it should be is not written again, so the same stream may be taken twice, from any earlier
position. The journal of the mirror is its own; each entry names in its actor where the change came from:
``mirror 0:99.900#17``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from idnode_protocol.errors import RemoteError
from idnode_protocol.handle import is_prefix_handle, split
from idnode_protocol.value import values_from_octets
from idnode_registry import format as record_format
from idnode_registry.errors import FeedRefused, MalformedValues, MirroringError, RangeRefused
from idnode_registry.journal import Operation, appender
from idnode_registry.plans import Change, has_namespace, range_changed
from idnode_registry.prefixes import HOMED_PREFIX, NO_VALUES, is_homable
from idnode_registry.ranges.names import RANGES_START, range_of_row
from idnode_registry.ranges.templates import compiled
from idnode_registry.replication.manifest import queue_name
from idnode_registry.replication.ordered import folded_handle
from idnode_registry.replication.verifying import ProvenQueue
from idnode_registry.store import Batch, Outcome, Store
from idnode_registry.tombstones import TOMBSTONE_VALUES

if TYPE_CHECKING:
    from concurrent.futures import Future

    from idnode_registry.registry import Registry
    from idnode_registry.store import Result

WAVE_RECORDS: Final = 500
"""Submitted before the first is waited for; they share a commit."""
ATTEMPTS_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be stored under a handle: a value list, or nothing. ``origin`` goes into the journal's actor."""

    handle: bytes
    values: bytes | None
    origin: str


def homed(name: bytes, *, is_homed: bool, origin: str) -> Wanted:
    """A prefix to be homed or not. Raises FeedRefused for what is no prefix handle."""
    if not is_homable(name):
        raise FeedRefused("malformed", f"{name[:64]!r} cannot be homed")
    return Wanted(HOMED_PREFIX + b"/" + name, NO_VALUES if is_homed else None, origin)


def wanted_of(queue: ProvenQueue, store: Store) -> Iterator[Wanted]:
    """The last state of each handle that a proven queue speaks of; those that a later entry will tell are left out."""
    name = queue_name(queue.head.prefix, queue.head.bucket)
    last = {folded_handle(store, proven.entry.handle): proven for proven in queue.entries}
    for proven in last.values():
        entry = proven.entry
        origin = f"mirror {name}#{entry.serial}"
        if entry.digest_after is None:
            yield Wanted(entry.handle, None, origin)
        elif proven.state is not None:
            yield wanted_state(proven.state, origin)


def wanted_state(state: bytes, origin: str) -> Wanted:
    """Out of ``ba handle`` and value list. Raises FeedRefused."""
    length = int.from_bytes(state[:4], "big")
    if len(state) < 8 or length > len(state) - 8:
        raise FeedRefused("malformed", "a record's state ends inside its handle")
    return Wanted(state[4 : 4 + length], state[4 + length :], origin)


class Applier:
    """Writes into the mirror's store and tells those who keep answers. Blocks until durable: call from a worker."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.written = 0
        """Records written or deleted; what was right already does not count."""

    def apply(self, wanted: Sequence[Wanted], now: float) -> None:
        """Raises FeedRefused for what cannot be a record, MirroringError when the store does not take it."""
        for start in range(0, len(wanted), WAVE_RECORDS):
            wave = list(wanted[start : start + WAVE_RECORDS])
            for _ in range(ATTEMPTS_MAX):
                wave = self._wave(wave, now)
                if not wave:
                    break
            else:
                raise MirroringError(f"{len(wave)} records could not be written in {ATTEMPTS_MAX} attempts")

    def _wave(self, wave: Sequence[Wanted], now: float) -> list[Wanted]:
        """Write all at once; those of which nobody knows whether they were kept."""
        sent: list[tuple[Wanted, Change, Future[Result]]] = []
        for one in wave:
            planned = self._planned(one, now)
            if planned is not None:
                batch, change = planned
                sent.append((one, change, self._registry.store.submit(batch)))
        again = []
        for one, change, written in sent:
            outcome = written.result().outcome
            if outcome is not Outcome.APPLIED:
                again.append(one)
            self.written += outcome is Outcome.APPLIED
            self._registry.noted(change)
        return again

    def _planned(self, one: Wanted, now: float) -> tuple[Batch, Change] | None:
        """The batch that makes it so; None when it is so."""
        store = self._registry.store
        name = folded_handle(store, one.handle)
        prefix, suffix = split(name)
        stored = store.get(prefix, suffix)
        record = None if one.values is None else record_format.pack(one.handle, 0, one.values)
        if stored is None and record is None:
            return None
        if stored is not None and record is not None and record_format.digest(stored) == record_format.digest(record):
            return None
        _check_values(one)
        operation = Operation.REPLACE
        if record is None:
            operation = Operation.DELETE
        elif stored is None:
            operation = Operation.CREATE
        entry = appender(
            now=now,
            operation=operation,
            handle=one.handle if stored is None else record_format.handle_of(stored),
            actor=one.origin.encode("utf-8", "surrogateescape"),
            after_image=self._registry.settings.after_images,
        )
        return Batch(prefix, suffix, None, record, entry), self._change(prefix, name, suffix, stored, one.values)

    @staticmethod
    def _change(prefix: bytes, name: bytes, suffix: bytes, stored: bytes | None, values: bytes | None) -> Change:
        if prefix == HOMED_PREFIX:
            return Change(suffix, is_prefix_handle=True, is_homing=True)
        if prefix.startswith(RANGES_START):
            return range_changed(name)
        if not is_prefix_handle(name):
            return Change(name)
        before = NO_VALUES if stored is None else bytes(record_format.value_list(stored))
        lists = [values_from_octets(octets) for octets in (before, values) if octets is not None]
        return Change(name, is_prefix_handle=True, has_namespace=has_namespace(*lists))


def _check_values(one: Wanted) -> None:
    """A mirror holds nothing its own check would complain of."""
    if one.values is None or one.values == TOMBSTONE_VALUES:
        return
    if one.handle.startswith(RANGES_START):
        _check_range(one.handle, one.values)
    try:
        indexes = [value.index for value in values_from_octets(one.values)]
        list(record_format.iter_value_slices(one.values))
    except (RemoteError, MalformedValues) as wrong:
        raise FeedRefused("malformed", f"the values of {one.handle[:64]!r} cannot be read: {wrong}") from wrong
    if indexes != sorted(set(indexes)) or any(index < 1 for index in indexes):
        raise FeedRefused(
            "malformed", f"the values of {one.handle[:64]!r} are not sorted by index, or one stands twice"
        )


def _check_range(row: bytes, values: bytes) -> None:
    try:
        compiled(range_of_row(row), values)
    except (RangeRefused, MalformedValues) as wrong:
        raise FeedRefused("malformed", f"the range {row[:64]!r} cannot be used: {wrong}") from wrong
