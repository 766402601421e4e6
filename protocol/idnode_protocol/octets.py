"""The one cursor that reads every octet, and its counterpart that writes them.

Numbers are big-endian. ``Reader`` never reads past its window; a window opened with :meth:`Reader.within` must be
consumed exactly; a length from the peer becomes usable only through :meth:`Reader.counted` or :meth:`Reader.count`,
which compare it with a limit and with what is really there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from idnode_protocol.errors import LimitExceeded, Malformed, NotEncodable, Truncated
from idnode_protocol.limits import ARRAY_OCTETS_MAX, HANDLE_OCTETS_MAX, TYPE_OCTETS_MAX


class Reader:
    """A bounded cursor over octets. Raises :class:`Truncated`, :class:`Malformed` or :class:`LimitExceeded`."""

    __slots__ = ("_data", "_end", "_position")

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        self._data = data
        self._position = start
        self._end = len(data) if end is None else end

    @property
    def position(self) -> int:
        """Offset of the next octet, counted from the start of the data."""
        return self._position

    @property
    def remaining(self) -> int:
        """Octets left in this window."""
        return self._end - self._position

    def take(self, size: int) -> bytes:
        """The next ``size`` octets."""
        start = self._position
        stop = start + size
        if size < 0 or stop > self._end:
            raise Truncated(f"{size} octets wanted, {self.remaining} left", start)
        self._position = stop
        return self._data[start:stop]

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def i32(self) -> int:
        return int.from_bytes(self.take(4), "big", signed=True)

    def i64(self) -> int:
        return int.from_bytes(self.take(8), "big", signed=True)

    def count(self, limit: int, item_octets_min: int) -> int:
        """A number of elements: 0..limit, and no more than the window could hold."""
        start = self._position
        number = self.i32()
        if number < 0:
            raise Malformed(f"negative count {number}", start)
        if number > limit:
            raise LimitExceeded(f"{number} elements declared, at most {limit} allowed")
        if number * item_octets_min > self.remaining:
            raise Truncated(f"{number} elements declared, only {self.remaining} octets left", start)
        return number

    def counted(self, limit: int = ARRAY_OCTETS_MAX) -> bytes:
        """A counted array (``ba``): 4-octet length, then that many octets."""
        start = self._position
        length = self.i32()
        if length < 0:
            raise Malformed(f"negative length {length}", start)
        if length > limit:
            raise LimitExceeded(f"array of {length} octets, at most {limit} allowed")
        return self.take(length)

    def handle(self) -> bytes:
        """A counted handle name of at most 2,048 octets."""
        return self.counted(HANDLE_OCTETS_MAX)

    def text(self, limit: int = TYPE_OCTETS_MAX) -> str:
        """A counted UTF-8 string."""
        start = self._position
        try:
            return self.counted(limit).decode("utf-8")
        except UnicodeDecodeError as wrong:
            raise Malformed("text is not UTF-8", start) from wrong

    def rest(self) -> bytes:
        """All octets left in this window."""
        return self.take(self.remaining)

    @contextmanager
    def within(self, size: int) -> Iterator[Reader]:
        """A window over the next ``size`` octets, which must be consumed exactly."""
        start = self._position
        if size < 0 or size > self.remaining:
            raise Truncated(f"window of {size} octets, {self.remaining} left", start)
        inner = Reader(self._data, start, start + size)
        yield inner
        inner.finish()
        self._position = start + size

    def finish(self) -> None:
        """Raise :class:`Malformed` unless everything was consumed."""
        if self.remaining:
            raise Malformed(f"{self.remaining} octets too many", self._position)


class Writer:
    """Collects octets. Raises :class:`NotEncodable` when a number does not fit."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def raw(self, octets: bytes) -> Writer:
        self._parts.append(octets)
        return self

    def _number(self, value: int, size: int, *, signed: bool) -> Writer:
        try:
            self._parts.append(value.to_bytes(size, "big", signed=signed))
        except OverflowError as wrong:
            raise NotEncodable(f"{value} does not fit into {size} octets") from wrong
        return self

    def u8(self, value: int) -> Writer:
        return self._number(value, 1, signed=False)

    def u16(self, value: int) -> Writer:
        return self._number(value, 2, signed=False)

    def u32(self, value: int) -> Writer:
        return self._number(value, 4, signed=False)

    def i32(self, value: int) -> Writer:
        return self._number(value, 4, signed=True)

    def i64(self, value: int) -> Writer:
        return self._number(value, 8, signed=True)

    def counted(self, octets: bytes) -> Writer:
        """A counted array (``ba``)."""
        self._parts += (len(octets).to_bytes(4, "big"), octets)
        return self

    def text(self, value: str) -> Writer:
        """A counted UTF-8 string."""
        try:
            return self.counted(value.encode("utf-8"))
        except UnicodeEncodeError as wrong:
            raise NotEncodable("text holds a lone surrogate and has no UTF-8 form") from wrong

    def to_octets(self) -> bytes:
        return b"".join(self._parts)
