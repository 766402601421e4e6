"""A mirror takes a dump: what comes is written, what it has too much is removed, and it goes on where it broke off.

A dump of ours comes in one order, so removing needs no memory: between two names that follow each other in the dump
the mirror may hold nothing. A dump of the reference has no order; there the names are remembered (16 octets each) and
what is left over is removed at the end, if the dump came whole in one life of the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from idnode_protocol.handle import split
from idnode_protocol.octets import Writer
from idnode_protocol.replication import (
    Complete,
    DumpedRecord,
    DumpPart,
    Head,
    HomedPrefix,
    Manifest,
    NameDate,
    Position,
    QueueStates,
    Record,
)
from idnode_registry.errors import FeedRefused
from idnode_registry.format import handle_of
from idnode_registry.keys import order_key
from idnode_registry.prefixes import HOMED_PREFIX
from idnode_registry.replication.applying import Applier, Wanted, homed
from idnode_registry.replication.manifest import FeedManifest
from idnode_registry.replication.ordered import folded_handle, ordered_records
from idnode_registry.replication.positions import DumpProgress, Positions, ReferencePosition
from idnode_registry.replication.verifying import Asked, KeyCheck, checked_manifest

if TYPE_CHECKING:
    from idnode_registry.registry import Registry

WINDOW_RECORDS: Final = 500
MANIFESTS_MAX: Final = 10_000
"""Of 2,000 queues each."""
ORIGIN: Final = "mirror dump"
_Place = tuple[int, bytes, bytes | None]
"""(part, prefix, key); None as key = before the first name of the prefix."""


def value_list(values: tuple[bytes, ...]) -> bytes:
    """The value list out of octets of values, by index: the reference promises no order."""
    by_index = sorted(values, key=lambda value: bytes(value[:4]))
    return Writer().u32(len(values)).raw(b"".join(by_index)).to_octets()


class OrderedDump:
    """Takes the records of a dump of ours, resumed as often as need be. Raises FeedRefused; ``now`` is in seconds."""

    def __init__(
        self, registry: Registry, positions: Positions, nonce: bytes, is_trusted: KeyCheck, now: float
    ) -> None:
        self._registry, self._positions, self._now = registry, positions, now
        self._nonce, self._is_trusted = nonce, is_trusted
        progress = positions.dump or DumpProgress(DumpPart.HANDLES, b"", None, b"")
        # A dump that broke off before its first window was kept has no name to go on from: it begins anew.
        self._manifests: list[FeedManifest] | None = None if progress.name else []
        self._done: _Place = (progress.part, progress.prefix, progress.key)
        self._last = self._done
        self._window: list[tuple[_Place, Wanted, bytes]] = []
        self._applier = Applier(registry)
        self.is_complete = False
        self.records = 0

    def take(self, record: Head | Record) -> None:
        """The next record; writes whole windows."""
        match record:
            case Head():
                pass
            case Manifest(octets):
                self._manifest(octets)
            case DumpedRecord(handle, values):
                name = folded_handle(self._registry.store, handle)
                prefix, suffix = split(name)
                place = (int(DumpPart.HANDLES), prefix, order_key(suffix))
                self._add(place, Wanted(handle, value_list(values), ORIGIN), handle)
            case HomedPrefix(name):
                place = (int(DumpPart.HOMED_PREFIXES), HOMED_PREFIX, order_key(name))
                self._add(place, homed(name, is_homed=True, origin=ORIGIN), name)
            case Complete():
                self._begun()
                self._flush(None)
                self._positions.end_dump()
                self.is_complete = True
            case _:
                raise FeedRefused("malformed", f"{type(record).__name__} has no place in a dump of an idnode")

    def _manifest(self, octets: bytes) -> None:
        found = self._manifests
        if found is None or len(found) >= MANIFESTS_MAX or (found and found[-1].until is None):
            raise FeedRefused("malformed", "a manifest where none belongs")
        after = b"" if not found else found[-1].until or b""
        found.append(checked_manifest(octets, Asked(self._nonce, after, None, 0), self._is_trusted))

    def _begun(self) -> None:
        """Before the first record of a fresh dump: the manifests are there and kept."""
        if self._manifests is None:
            return
        if not self._manifests or self._manifests[-1].until is not None:
            raise FeedRefused("malformed", "the dump does not begin with manifests of all queues")
        self._positions.begin_dump(self._manifests)
        self._manifests = None

    def _add(self, place: _Place, wanted: Wanted, name: bytes) -> None:
        self._begun()
        if _rank(place) <= _rank(self._last):
            raise FeedRefused("malformed", f"{name[:64]!r} is out of order, or comes twice")
        if place[1] == HOMED_PREFIX and place[0] != DumpPart.HOMED_PREFIXES:
            raise FeedRefused("malformed", f"{name[:64]!r} is no handle")
        self._last = place
        self.records += 1
        self._window.append((place, wanted, name))
        if len(self._window) >= WINDOW_RECORDS:
            self._flush(place)

    def _flush(self, until: _Place | None) -> None:
        """Write the window, remove what lies between its names, keep how far it is."""
        sent = {place for place, _, _ in self._window}
        wanted = [one for _, one, _ in self._window]
        for place, handle in self._held(until):
            if place not in sent:
                wanted.append(Wanted(handle, None, ORIGIN))
                if len(wanted) >= 2 * WINDOW_RECORDS:
                    self._applier.apply(wanted, self._now)
                    wanted = []
        self._applier.apply(wanted, self._now)
        if until is not None:
            self._positions.keep_dump(DumpProgress(*until, self._window[-1][2]))
            self._done = until
        self._window = []

    def _held(self, until: _Place | None) -> Iterator[tuple[_Place, bytes]]:
        """What the mirror holds behind what is done and up to ``until``."""
        store = self._registry.store
        prefixes = sorted(prefix for prefix in store.prefixes() if prefix != HOMED_PREFIX)
        groups = [(int(DumpPart.HANDLES), prefix) for prefix in prefixes]
        groups.append((int(DumpPart.HOMED_PREFIXES), HOMED_PREFIX))
        for part, prefix in groups:
            if (part, prefix) < self._done[:2] or (until is not None and (part, prefix) > until[:2]):
                continue
            after = self._done[2] if (part, prefix) == self._done[:2] else None
            for record in ordered_records(store, prefix, after):
                suffix = split(folded_handle(store, handle_of(record)))[1]
                place = (part, prefix, order_key(suffix))
                if until is not None and _rank(place) > _rank(until):
                    break
                yield place, handle_of(record)


def _rank(place: _Place) -> tuple[int, bytes, int, bytes]:
    part, prefix, key = place
    return part, prefix, int(key is not None), key or b""


class ReferenceDump:
    """Takes the records of a dump of the reference: any order, and resumed only within one life of the process."""

    def __init__(self, registry: Registry, positions: Positions, now: float) -> None:
        self._registry, self._positions, self._now = registry, positions, now
        self._applier = Applier(registry)
        self._seen: set[bytes] = set()
        self._window: list[Wanted] = []
        self._position: ReferencePosition | None = None
        self.part = int(DumpPart.HANDLES)
        self.last = b""
        """The last name that was written, where the dump is resumed."""
        self.is_complete = False
        self.records = 0

    def take(self, record: Head | Record) -> None:
        """The next record."""
        match record:
            case Head() | QueueStates() | NameDate():
                pass  # positions in queues of other sites, and the settling of conflicts between several primaries
            case Position(date_ms, txn_id):
                self._position = self._position or ReferencePosition(txn_id, date_ms)
            case DumpedRecord(handle, values):
                self._add(Wanted(handle, value_list(values), ORIGIN), DumpPart.HANDLES, handle)
            case HomedPrefix(name):
                folded = folded_handle(self._registry.store, name)
                self._add(homed(folded, is_homed=True, origin=ORIGIN), DumpPart.HOMED_PREFIXES, name)
            case Complete():
                self._complete()
            case _:
                raise FeedRefused("malformed", f"{type(record).__name__} has no place in a dump of the reference")

    def _add(self, wanted: Wanted, part: int, name: bytes) -> None:
        self._seen.add(_mark(folded_handle(self._registry.store, wanted.handle)))
        self.records += 1
        self._window.append(wanted)
        if len(self._window) >= WINDOW_RECORDS:
            self._applier.apply(self._window, self._now)
            self._window, self.part, self.last = [], int(part), name

    def _complete(self) -> None:
        if self._position is None:
            raise FeedRefused("malformed", "the dump does not say where to go on")
        self._applier.apply(self._window, self._now)
        self._window = []
        store = self._registry.store
        for prefix in store.prefixes():
            surplus = [
                Wanted(handle_of(record), None, ORIGIN)
                for record in ordered_records(store, prefix)
                if _mark(folded_handle(store, handle_of(record))) not in self._seen
            ]
            self._applier.apply(surplus, self._now)
        self._positions.keep_reference(self._position)
        self.is_complete = True


def _mark(name: bytes) -> bytes:
    return blake2b(name, digest_size=16).digest()
