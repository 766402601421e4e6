"""The ranges of one prefix, so arranged that a member's is found by one look into a dictionary and a bisection.

::

    length of the suffix --> shapes: where the serial stands in it
    shape                --> head and tail of a range --> its series: first and last serials, sorted

A name is looked for in every shape of its length; there are few, because ranges of one kind are written alike.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from idnode_registry.errors import RangeRefused
from idnode_registry.ranges.names import RangeName, shared_member

SHAPES_MAX: Final = 64
"""Of one prefix: each costs a look at every name of its length that is not stored."""


class Series:
    """Ranges with the same head and tail, by first serial; the three columns go together."""

    __slots__ = ("firsts", "lasts", "sources")

    def __init__(self) -> None:
        self.firsts: array[int] = array("Q")
        self.lasts: array[int] = array("Q")
        self.sources: list[bytes] = []


class Shape:
    """``start`` to ``end`` is where the serial stands. ``series`` by head and tail joined, whose lengths are fixed."""

    __slots__ = ("end", "series", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.series: dict[bytes, Series] = {}

    def names(self, prefix: bytes, text: bytes) -> Iterator[RangeName]:
        """The folded names of one series."""
        series, head, tail = self.series[text], text[: self.start], text[self.start :]
        for first, last in zip(series.firsts, series.lasts, strict=True):
            yield RangeName(prefix, head, first, last, self.end - self.start, tail)


class PrefixRanges:
    """All ranges of a folded prefix. Not safe for threads by itself: its owner holds a lock."""

    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self.registered = 0
        """Identifiers registered by all of them together."""
        self.number = 0
        self.serials: dict[int, int] = {}
        """Bucket -> the journal entry up to which the rows were surely taken over; who keeps this sets it."""
        self._by_octets: dict[int, list[Shape]] = {}
        self._sources: dict[bytes, bytes] = {}  # one object for equal ones

    def find(self, suffix: bytes) -> tuple[bytes, bytes, Shape, int] | None:
        """(source, digits, shape, place) of the range a folded suffix is a member of."""
        for shape in self._by_octets.get(len(suffix), ()):
            start, end = shape.start, shape.end
            digits = suffix[start:end]
            if digits.isdigit():
                series = shape.series.get(suffix[:start] + suffix[end:])
                if series is not None:
                    serial = int(digits)
                    place = bisect_right(series.firsts, serial) - 1
                    if place >= 0 and serial <= series.lasts[place]:
                        return series.sources[place], digits, shape, place
        return None

    def name_of(self, suffix: bytes, shape: Shape, place: int) -> RangeName:
        """The folded name of the range that :meth:`find` found for a suffix."""
        head, tail = suffix[: shape.start], suffix[shape.end :]
        series = shape.series[head + tail]
        return RangeName(self.prefix, head, series.firsts[place], series.lasts[place], shape.end - shape.start, tail)

    def put(self, name: RangeName, source: bytes) -> None:
        """Take in a folded range, or note its new source. Two that overlap are both kept, as they are stored."""
        source = self._sources.setdefault(source, source)
        series = self._shape(name).series.setdefault(name.head + name.tail, Series())
        place = bisect_left(series.firsts, name.first)
        if place < len(series.firsts) and series.firsts[place] == name.first:
            self.registered -= series.lasts[place] - name.first + 1
            self.number -= 1
            series.lasts[place], series.sources[place] = name.last, source
        else:
            series.firsts.insert(place, name.first)
            series.lasts.insert(place, name.last)
            series.sources.insert(place, source)
        self.registered += name.count
        self.number += 1

    def remove(self, name: RangeName) -> None:
        """Forget a folded range; one that is not there is no error."""
        shape, text = self._found_shape(name), name.head + name.tail
        series = None if shape is None else shape.series.get(text)
        if shape is None or series is None:
            return
        place = bisect_left(series.firsts, name.first)
        found = place < len(series.firsts) and (series.firsts[place], series.lasts[place])
        if found != (name.first, name.last):
            return
        for column in (series.firsts, series.lasts, series.sources):
            del column[place]
        self.registered -= name.count
        self.number -= 1
        if not series.firsts:
            del shape.series[text]
        if not shape.series:
            self._by_octets[name.octets].remove(shape)

    def overlapping(self, name: RangeName) -> tuple[RangeName, bytes] | None:
        """A range that shares a member with this folded one, and such a member."""
        for shape in self._by_octets.get(name.octets, ()):
            for other in self._near(shape, name):
                shared = shared_member(name, other)
                if shared is not None:
                    return other, shared
        return None

    def room_for(self, name: RangeName) -> None:
        """Raises :class:`RangeRefused` when the range would be of one shape too many."""
        shapes = sum(map(len, self._by_octets.values()))
        if shapes >= SHAPES_MAX and self._found_shape(name) is None:
            raise RangeRefused(
                f"the ranges of one prefix may have {SHAPES_MAX} shapes (length before, within and after the serial); "
                "use one that is there already"
            )

    def _near(self, shape: Shape, name: RangeName) -> Iterator[RangeName]:
        """Ranges of a shape that may overlap: in the same shape only neighbours, in another those whose heads agree as
        far as both heads reach."""
        if _is_shape_of(shape, name):
            series = shape.series.get(name.head + name.tail)
            if series is not None:
                before = {bisect_right(series.firsts, serial) - 1 for serial in (name.first, name.last)}
                for place in before - {-1}:
                    yield RangeName(
                        self.prefix, name.head, series.firsts[place], series.lasts[place], name.width, name.tail
                    )
            return
        start = name.head[: shape.start]
        for text in shape.series:
            if text.startswith(start):
                yield from shape.names(self.prefix, text)

    def _found_shape(self, name: RangeName) -> Shape | None:
        return next((shape for shape in self._by_octets.get(name.octets, ()) if _is_shape_of(shape, name)), None)

    def _shape(self, name: RangeName) -> Shape:
        found = self._found_shape(name)
        if found is None:
            found = Shape(len(name.head), len(name.head) + name.width)
            self._by_octets.setdefault(name.octets, []).append(found)
        return found


def _is_shape_of(shape: Shape, name: RangeName) -> bool:
    return (shape.start, shape.end) == (len(name.head), len(name.head) + name.width)
