"""Homed prefixes: the names this server answers for (docs/protocol.md §1.3).

Each is a record without values under a prefix of our own, ``*HOMED/0.NA/99.900``. Homing is thereby a write like any
other: compared, journaled, read back, backed up, checked. No request can reach these records, because no prefix that
begins with ``*`` can be homed.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Final

from idnode_protocol.handle import NA_START, ROOT_HANDLE, is_well_formed, parent_prefix_handle, prefix_handle
from idnode_protocol.limits import HANDLE_OCTETS_MAX
from idnode_registry import format as record_format
from idnode_registry.store import Store

HOMED_PREFIX: Final = b"*HOMED"
INTERNAL_START: Final = b"*"
"""What a node keeps for itself stands under such prefixes: the homed prefixes, and the ranges (:mod:`.ranges`)."""
NO_VALUES: Final = b"\0\0\0\0"
DERIVED_START: Final = ROOT_HANDLE + b"/"
"""``0.NA/0.NA/<prefix>`` stands for the prefix handles derived from ``<prefix>``, whether homed or listed."""
_SCAN_RECORDS: Final = 1_000


def is_internal(name: bytes) -> bool:
    """Whether a prefix, or a name under it, is a node's own and no handle."""
    return name.startswith(INTERNAL_START)


def is_homable(name: bytes) -> bool:
    """Whether ``name`` is ``0.NA/<prefix>`` or ``0.NA/0.NA/<prefix>``, UTF-8, of at most 2,048 octets."""
    rest = name[len(DERIVED_START) :] if name.startswith(DERIVED_START) else name[len(NA_START) :]
    is_named = name.startswith(NA_START) and bool(rest) and b"/" not in rest and not is_internal(rest)
    return is_named and len(name) <= HANDLE_OCTETS_MAX and is_well_formed(name)


def homed_name(record: bytes) -> bytes:
    """The prefix handle that a homing record stands for."""
    return record_format.handle_of(record)[len(HOMED_PREFIX) + 1 :]


def homed_record(name: bytes) -> bytes:
    """The record that homes ``name``."""
    return record_format.pack(HOMED_PREFIX + b"/" + name, 0, NO_VALUES)


class HomedPrefixes:
    """The homed prefixes of a store, kept in memory because every request asks for them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = Lock()  # guards the replacement of _names
        self._names = frozenset(map(homed_name, self._records()))

    def _records(self) -> Iterator[bytes]:
        cursor = None
        while True:
            page, cursor = self._store.scan(HOMED_PREFIX, cursor, _SCAN_RECORDS)
            yield from page
            if cursor is None:
                return

    @property
    def names(self) -> tuple[bytes, ...]:
        """The homed prefix handles, ``0.NA/99.900``, sorted."""
        return tuple(sorted(self._names))

    def __contains__(self, name: bytes) -> bool:
        return name in self._names

    def covers(self, name: bytes) -> bool:
        """Whether this server answers for a folded name: its prefix is homed, or it is derived from one homed so."""
        if prefix_handle(name) in self._names:
            return True
        parent = parent_prefix_handle(name)
        while parent is not None:
            if NA_START + parent in self._names:
                return True
            parent = parent_prefix_handle(parent)
        return False

    def refresh(self, name: bytes) -> None:
        """Take over what the store now says about one prefix; whoever reads last knows most."""
        with self._lock:
            is_homed = self._store.get(HOMED_PREFIX, name) is not None
            self._names = self._names | {name} if is_homed else self._names - {name}
