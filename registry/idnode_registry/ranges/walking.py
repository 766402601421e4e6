"""Walking ranges, and every name under a prefix, page by page: a cursor is all that is remembered in between.

::

    stored names in no range --> range: its members, whether a record of their own overrides them or not --> next range

A page reads a bounded number of rows. A name that is there all along is told exactly once, whatever becomes of its
record meanwhile, as long as the range it is in stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgpack

from idnode_protocol.handle import split
from idnode_registry.errors import AskingError
from idnode_registry.format import handle_of
from idnode_registry.ranges.asks import RangePage, RangeShown
from idnode_registry.ranges.names import RANGES_START, range_of_row
from idnode_registry.store import Cursor
from idnode_registry.tombstones import is_tombstone

if TYPE_CHECKING:
    from idnode_registry.registry import Registry
    from idnode_registry.store import Store

_NO_CURSOR: Final = "this is no cursor that a page of this walk gave; begin without one"


class CursorRefused(AskingError):
    """The cursor is not one that a page before gave; begin without one."""


class _Place(NamedTuple):
    """``place``: where the scan of rows goes on. ``row`` and ``serial``: the range we are in, and the next serial."""

    in_ranges: bool = False
    place: Cursor | None = None
    row: bytes = b""
    serial: int = 0

    def to_octets(self) -> bytes:
        place = None if self.place is None else self.place.to_octets()
        octets: bytes = msgpack.packb([self.in_ranges, place, self.row, self.serial], use_bin_type=True)
        return octets

    @classmethod
    def from_octets(cls, octets: bytes) -> _Place:
        """Raises :class:`CursorRefused`."""
        try:
            fields: Any = msgpack.unpackb(octets, raw=False)
            in_ranges, place, row, serial = fields
            if (type(in_ranges), type(row), type(serial)) != (bool, bytes, int) or serial < 0:
                raise TypeError(_NO_CURSOR)
            return cls(in_ranges, None if place is None else Cursor.from_octets(place), row, serial)
        except (ValueError, TypeError, msgpack.UnpackException) as wrong:
            raise CursorRefused(_NO_CURSOR) from wrong


def listed(store: Store, prefix: bytes, cursor: bytes, limit: int) -> RangePage:
    """Up to ``limit`` ranges of a folded prefix. Raises CursorRefused."""
    try:
        start = Cursor.from_octets(cursor) if cursor else None
    except ValueError as wrong:
        raise CursorRefused(_NO_CURSOR) from wrong
    rows, following = store.scan(RANGES_START + prefix, start, limit)
    shown = tuple(RangeShown(range_of_row(handle_of(row))) for row in rows)
    return RangePage(shown, cursor=None if following is None else following.to_octets())


def expanded(registry: Registry, prefix: bytes, cursor: bytes, limit: int) -> RangePage:
    """Up to ``limit`` names under a folded prefix, as their creators spelled them. A page may be shorter, or empty,
    before the end. Raises CursorRefused."""
    at = _Place.from_octets(cursor) if cursor else _Place()
    if not at.in_ranges:
        return _stored(registry, prefix, at, limit)
    if not at.row:
        rows, following = registry.store.scan(RANGES_START + prefix, at.place, 1)
        if not rows:
            return _page((), following)
        name = range_of_row(handle_of(rows[0]))
        at = _Place(True, following, name.folded(registry.fold).suffix, name.first)
    return _members(registry, prefix, at, limit)


def _page(names: tuple[bytes, ...], following: Cursor | None) -> RangePage:
    """Names, and on to the next range."""
    return RangePage(names=names, cursor=None if following is None else _Place(True, following).to_octets())


def _stored(registry: Registry, prefix: bytes, at: _Place, limit: int) -> RangePage:
    rows, following = registry.store.scan(prefix, at.place, limit)
    handles = [handle_of(row) for row in rows if not is_tombstone(row)]
    names = tuple(
        handle for handle in handles if registry.ranges.member(prefix, split(registry.fold(handle))[1]) is None
    )
    return RangePage(names=names, cursor=_Place(following is None, following).to_octets())


def _members(registry: Registry, prefix: bytes, at: _Place, limit: int) -> RangePage:
    """The next members of the range we are in; none when it was deleted meanwhile."""
    row = registry.store.get(RANGES_START + prefix, at.row)
    if row is None:
        return _page((), at.place)
    name = range_of_row(handle_of(row))
    last = min(name.last, at.serial + limit - 1)
    names = []
    for serial in range(at.serial, last + 1):
        member = name.member(serial)
        own = registry.store.get(prefix, split(registry.fold(member))[1])
        if own is None or not is_tombstone(own):
            names.append(member if own is None else handle_of(own))
    if last == name.last:
        return _page(tuple(names), at.place)
    return RangePage(names=tuple(names), cursor=at._replace(serial=last + 1).to_octets())
