"""The ranges of a store: which range a name is a member of, and what that member's values are.

Rows are records like any other (their values are the template), under the prefix ``*RANGE:<prefix>``; so every engine,
journal, mirror, backup and check has them without knowing them. What is kept in memory: the sorted names of the ranges
of a prefix, read when somebody asks for the first time, and the slices of templates used lately. Both are bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from threading import Lock
from typing import Final, NamedTuple

from idnode_protocol.handle import fold_name, split
from idnode_registry.errors import CorruptStore, FeedRetained, MalformedValues, RangeRefused, ReadingError, StoreClosed
from idnode_registry.format import handle_of, value_list
from idnode_registry.journal import parse
from idnode_registry.ranges.index import PrefixRanges
from idnode_registry.ranges.names import RANGES_START, RangeName, range_of_row, read_row
from idnode_registry.ranges.templates import Assembly, compiled
from idnode_registry.store import Cursor, Store

RANGES_PER_PREFIX_MAX: Final = 200_000
RANGES_KEPT_MAX: Final = 300_000
"""In memory, of all prefixes together, at 70 to 500 octets each (500 when every head is another); the prefix read first
is forgotten first."""
ASSEMBLIES_OCTETS_MAX: Final = 32 * 1024 * 1024
_SCAN_RECORDS: Final = 1_000
_SOURCE_OCTETS: Final = 16


class Member(NamedTuple):
    """A member of a range as it would be stored: handle as the creator of the range spelled it, value list."""

    handle: bytes
    values: bytes


class Ranges:
    """All methods may be called from any thread. Names of prefixes and suffixes are folded octets.

    Whoever writes a row calls :meth:`refresh` after the commit; another process that reads the same store calls
    :meth:`catch_up` when it hears of one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._whole = store.case_mode == "fold-all"
        self._lock = Lock()  # guards everything below; held for microseconds
        self._reading = Lock()  # one prefix is read at a time
        self._prefixes: set[bytes] = set()
        self._kept: dict[bytes, PrefixRanges] = {}
        self._assemblies: dict[bytes, Assembly] = {}
        self._assemblies_octets = 0
        self._damaged: dict[bytes, str] = {}  # prefix -> why its rows cannot be read
        self._late: tuple[bytes, list[bytes]] | None = None  # prefix being read, rows changed meanwhile
        self._epoch = 0
        self.forget()

    def fold(self, name: bytes) -> bytes:
        """The name as the store compares it."""
        return fold_name(name, whole=self._whole)

    # --- what resolution asks ------------------------------------------------------------------------------------

    def member(self, prefix: bytes, suffix: bytes) -> bytes | None:
        """The value list of a range's member, as records have it; None = in no range.

        ``prefix`` and ``suffix`` are folded. To be asked for names without a row of their own only: a record or a
        tombstone (:func:`idnode_registry.tombstones.is_tombstone`) comes first. Never signed: a node with a sealer
        answers by :func:`idnode_registry.operations.resolve.resolve`. Raises the errors of reading.
        """
        if prefix not in self._prefixes:
            return None
        found = self._found(prefix, suffix)
        return None if found is None else found[1].join(found[0].slices)

    def member_record(self, prefix: bytes, suffix: bytes) -> Member | None:
        """The same with the handle; of signing nodes too without a signature."""
        if prefix not in self._prefixes:
            return None
        found = self._found(prefix, suffix)
        if found is None:
            return None
        assembly, digits = found
        return Member(digits.join(assembly.handle), digits.join(assembly.slices))

    def _found(self, prefix: bytes, suffix: bytes) -> tuple[Assembly, bytes] | None:
        held = self._kept.get(prefix) or self._read(prefix)
        with self._lock:
            found = held.find(suffix)
            if found is None:
                return None
            source, digits, shape, place = found
            assembly = self._assemblies.get(source)
            if assembly is not None:
                return assembly, digits
            name = held.name_of(suffix, shape, place)
        made = self._compile(name)
        return None if made is None else (made, digits)

    def _compile(self, name: RangeName) -> Assembly | None:
        """Out of the row of a folded range; None when it went meanwhile."""
        record = self._store.get(RANGES_START + name.prefix, name.suffix)
        if record is None:
            return None
        values = bytes(value_list(record))
        try:
            spelled = range_of_row(handle_of(record))
            made = compiled(spelled, values)
        except (RangeRefused, MalformedValues) as wrong:
            raise CorruptStore(f"the row of a range cannot be used: {wrong}") from wrong
        source = _source(spelled, values)
        with self._lock:
            if source not in self._assemblies:
                self._assemblies[source] = made
                self._assemblies_octets += made.octets
                while self._assemblies_octets > ASSEMBLIES_OCTETS_MAX and len(self._assemblies) > 1:
                    self._assemblies_octets -= self._assemblies.pop(next(iter(self._assemblies))).octets
        return made

    # --- what the operations ask ---------------------------------------------------------------------------------

    @property
    def prefixes(self) -> frozenset[bytes]:
        """The prefixes that have, or once had, ranges."""
        with self._lock:
            return frozenset(self._prefixes)

    def registered(self, prefix: bytes) -> int:
        """Identifiers registered by ranges under a prefix, those overridden or deleted since included."""
        return 0 if prefix not in self._prefixes else (self._kept.get(prefix) or self._read(prefix)).registered

    def admit(self, name: RangeName) -> None:
        """Raises :class:`RangeRefused` when a folded range overlaps another one or there is no room for it."""
        if name.prefix not in self._prefixes:
            return
        held = self._kept.get(name.prefix) or self._read(name.prefix)
        with self._lock:
            found = held.overlapping(name)
            if found is not None:
                other, shared = found
                raise RangeRefused(f"{_text(name.name)} overlaps {_text(other.name)}: both would hold {_text(shared)}")
            held.room_for(name)
            if held.number >= RANGES_PER_PREFIX_MAX:
                raise RangeRefused(
                    f"{_text(name.prefix)} has {held.number} ranges, at most {RANGES_PER_PREFIX_MAX} are allowed; "
                    "use fewer and longer ones"
                )

    # --- keeping up with the store -------------------------------------------------------------------------------

    def refresh(self, row: bytes) -> None:
        """Take over what the store now says about the row ``*RANGE:<prefix>/<suffix>`` (folded). Never raises: what
        cannot be read is an error of who asks for a member."""
        prefix, suffix = split(row[len(RANGES_START) :])
        with self._lock:
            self._prefixes.add(prefix)
            self._damaged.pop(prefix, None)
            if self._late is not None and self._late[0] == prefix:
                self._late[1].append(suffix)
            held = self._kept.get(prefix)
            if held is not None:
                try:
                    self._apply(held, suffix)
                except (ReadingError, RangeRefused):
                    del self._kept[prefix]  # read anew when somebody asks

    def warm(self) -> None:
        """Read the ranges of all prefixes, as far as there is room: 10 us each. Run it in a worker, before requests.

        What is damaged is left out here; who asks for it gets the error.
        """
        for prefix in sorted(self.prefixes):
            if sum(held.number for held in self._kept.values()) >= RANGES_KEPT_MAX:
                return
            with suppress(ReadingError):
                self.registered(prefix)

    def forget(self) -> None:
        """Forget everything and look anew: after a restore."""
        prefixes = self._stored_prefixes()
        with self._lock:
            self._epoch += 1
            self._prefixes = prefixes
            self._kept.clear()
            self._damaged.clear()
            self._assemblies.clear()
            self._assemblies_octets = 0

    def _stored_prefixes(self) -> set[bytes]:
        return {name[len(RANGES_START) :] for name in self._store.prefixes() if name.startswith(RANGES_START)}

    def catch_up(self) -> None:
        """Take over what another process wrote, out of the journals of the rows."""
        with self._lock:
            kept = list(self._kept.items())
            self._prefixes |= self._stored_prefixes()
            self._damaged.clear()
        for prefix, held in kept:
            try:
                suffixes = list(self._changed(prefix, held.serials))
                with self._lock:
                    for suffix in suffixes:
                        self._apply(held, suffix)
            except (ReadingError, FeedRetained, RangeRefused):
                with self._lock:
                    self._kept.pop(prefix, None)  # read anew when somebody asks

    def _changed(self, prefix: bytes, serials: dict[int, int]) -> Iterator[bytes]:
        """The rows of a prefix written after ``serials`` (bucket -> entry), which are brought up to date."""
        name = RANGES_START + prefix
        for bucket in self._store.buckets(name):
            while entries := self._store.feed(name, bucket, serials.get(bucket, 0), _SCAN_RECORDS):
                for entry in map(parse, entries):
                    serials[bucket] = entry.serial
                    yield split(self.fold(entry.handle))[1]

    def _apply(self, held: PrefixRanges, suffix: bytes) -> None:
        record = self._store.get(RANGES_START + held.prefix, suffix)
        if record is None:
            held.remove(range_of_row(RANGES_START + held.prefix + b"/" + suffix))
        else:
            self._put(held, record)

    def _put(self, held: PrefixRanges, record: bytes) -> None:
        try:
            spelled = read_row(handle_of(record))
        except RangeRefused as wrong:
            raise CorruptStore(f"the row of a range cannot be used: {wrong}") from wrong
        held.put(spelled.folded(self.fold), _source(spelled, value_list(record)))

    def _read(self, prefix: bytes) -> PrefixRanges:
        """All ranges of a prefix out of the store, into memory. What is damaged is not read again until it changes."""
        with self._reading:
            if prefix in self._damaged:
                raise CorruptStore(self._damaged[prefix])
            try:
                held = self._kept.get(prefix)
                while held is None:
                    held = self._read_once(prefix)
                return held
            except StoreClosed:
                raise
            except ReadingError as wrong:
                with self._lock:
                    if self._late is not None and not self._late[1]:  # else it may be mended already
                        self._damaged[prefix] = str(wrong)
                raise
            finally:
                with self._lock:
                    self._late = None

    def _read_once(self, prefix: bytes) -> PrefixRanges | None:
        """None = everything was forgotten meanwhile."""
        with self._lock:
            epoch, late = self._epoch, list[bytes]()
            self._late = prefix, late
        made = PrefixRanges(prefix)
        name = RANGES_START + prefix
        made.serials = {bucket: self._store.head(name, bucket).serial for bucket in self._store.buckets(name)}
        for record in self._rows(prefix):
            self._put(made, record)
        with self._lock:
            for suffix in late:
                self._apply(made, suffix)
            if epoch != self._epoch:
                return None
            self._make_room(made.number)
            self._kept[prefix] = made
            return made

    def _rows(self, prefix: bytes) -> Iterable[bytes]:
        cursor: Cursor | None = None
        while True:
            records, cursor = self._store.scan(RANGES_START + prefix, cursor, _SCAN_RECORDS)
            yield from records
            if cursor is None:
                return

    def _make_room(self, number: int) -> None:
        total = number + sum(held.number for held in self._kept.values())
        while total > RANGES_KEPT_MAX and self._kept:
            total -= self._kept.pop(next(iter(self._kept))).number


def _source(spelled: RangeName, values: bytes | memoryview) -> bytes:
    """Equal for two ranges whose members differ in nothing but their digits."""
    shape = b"%b/%b{%d}%b" % (spelled.prefix, spelled.head, spelled.width, spelled.tail)
    found = blake2b(len(shape).to_bytes(4, "big") + shape, digest_size=_SOURCE_OCTETS)
    found.update(values)
    return found.digest()


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
