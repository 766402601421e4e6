"""The ranges of one prefix, sorted so that a member's is found by bisection.

Ranges whose serials lie at the same place of names of the same length have one *shape*. Within a shape a range sorts by
head, tail and first serial, all of fixed length, so one list of octets is the whole index::

    key of a range    head | tail | first        SN .A 0001
    key of a member   head | tail | digits       SN .A 0042      the range before it is the only one it can be in
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from idnode_registry.errors import RangeRefused
from idnode_registry.ranges.names import RangeName, shared_member

SHAPES_MAX: Final = 64
"""Of one prefix: each costs a look at every name of its length that is not stored."""


class Shape:
    """``start``, ``end``: where the serial stands in a suffix of ``octets``. The three lists go together."""

    __slots__ = ("end", "keys", "lasts", "octets", "sources", "start", "text")

    def __init__(self, start: int, end: int, octets: int) -> None:
        self.start, self.end, self.octets = start, end, octets
        self.text = octets - (end - start)
        """Octets of head and tail together."""
        self.keys: list[bytes] = []
        self.lasts: list[bytes] = []
        self.sources: list[bytes] = []

    def place_of(self, suffix: bytes) -> int:
        """The place of the range a folded suffix is a member of; -1 = none."""
        digits = suffix[self.start : self.end]
        if not digits.isdigit():
            return -1
        key = suffix[: self.start] + suffix[self.end :] + digits
        place = bisect_right(self.keys, key) - 1
        if place < 0 or digits > self.lasts[place]:
            return -1
        text = self.text
        return place if self.keys[place][:text] == key[:text] else -1

    def name_at(self, prefix: bytes, place: int) -> RangeName:
        """The folded name of a range."""
        key, width = self.keys[place], self.end - self.start
        head, tail = key[: self.start], key[self.start : self.text]
        return RangeName(prefix, head, int(key[self.text :]), int(self.lasts[place]), width, tail)


def shape_of(name: RangeName) -> tuple[int, int, int]:
    """(start, end, octets)."""
    start = len(name.head)
    return start, start + name.width, name.octets


def _key(name: RangeName) -> bytes:
    return name.head + name.tail + name.digits(name.first)


class PrefixRanges:
    """All ranges of a folded prefix. Not safe for threads by itself: its owner holds a lock."""

    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self.registered = 0
        """Identifiers registered by all of them together."""
        self.number = 0
        self.by_octets: dict[int, tuple[Shape, ...]] = {}

    def find(self, suffix: bytes) -> tuple[Shape, int] | None:
        """The range a folded suffix is a member of."""
        for shape in self.by_octets.get(len(suffix), ()):
            place = shape.place_of(suffix)
            if place >= 0:
                return shape, place
        return None

    def put(self, name: RangeName, source: bytes) -> None:
        """Take in a folded range, or note its new source. Two that overlap are both kept, as they are stored."""
        shape = self._shape(name)
        key, last = _key(name), name.digits(name.last)
        place = bisect_left(shape.keys, key)
        if place < len(shape.keys) and shape.keys[place] == key:
            self.registered -= shape.name_at(self.prefix, place).count
            self.number -= 1
            shape.lasts[place], shape.sources[place] = last, source
        else:
            shape.keys.insert(place, key)
            shape.lasts.insert(place, last)
            shape.sources.insert(place, source)
        self.registered += name.count
        self.number += 1

    def remove(self, name: RangeName) -> None:
        """Forget a folded range; one that is not there is no error."""
        shape = self._found_shape(name)
        if shape is None:
            return
        place = bisect_left(shape.keys, _key(name))
        if place == len(shape.keys) or shape.keys[place] != _key(name) or shape.lasts[place] != name.digits(name.last):
            return
        for column in (shape.keys, shape.lasts, shape.sources):
            del column[place]
        self.registered -= name.count
        self.number -= 1
        if not shape.keys:
            self.by_octets[name.octets] = tuple(one for one in self.by_octets[name.octets] if one is not shape)

    def overlapping(self, name: RangeName) -> tuple[RangeName, bytes] | None:
        """A range that shares a member with this folded one, and the first such member found."""
        for shape in self.by_octets.get(name.octets, ()):
            for place in self._near(shape, name):
                other = shape.name_at(self.prefix, place)
                shared = shared_member(name, other)
                if shared is not None:
                    return other, shared
        return None

    def room_for(self, name: RangeName) -> None:
        """Raises :class:`RangeRefused` when the range would be of one shape too many."""
        shapes = sum(map(len, self.by_octets.values()))
        if shapes >= SHAPES_MAX and self._found_shape(name) is None:
            raise RangeRefused(
                f"the ranges of one prefix may have {SHAPES_MAX} shapes (length before, within and after the serial); "
                "use one that is there already"
            )

    @staticmethod
    def _near(shape: Shape, name: RangeName) -> Iterator[int]:
        """Places of a shape at which a range may overlap.

        In the same shape only neighbours; in another those whose heads agree as far as both heads reach.
        """
        if (shape.start, shape.end) == (len(name.head), len(name.head) + name.width):
            text = name.head + name.tail
            first = bisect_right(shape.keys, text + name.digits(name.first)) - 1
            last = bisect_right(shape.keys, text + name.digits(name.last)) - 1
            yield from (place for place in {first, last} if place >= 0)
            return
        start = name.head[: shape.start]
        place = bisect_left(shape.keys, start)
        while place < len(shape.keys) and shape.keys[place].startswith(start):
            yield place
            place += 1

    def _found_shape(self, name: RangeName) -> Shape | None:
        wanted = shape_of(name)
        shapes = self.by_octets.get(name.octets, ())
        return next((shape for shape in shapes if (shape.start, shape.end, shape.octets) == wanted), None)

    def _shape(self, name: RangeName) -> Shape:
        found = self._found_shape(name)
        if found is None:
            found = Shape(*shape_of(name))
            self.by_octets[name.octets] = (*self.by_octets.get(name.octets, ()), found)
        return found
