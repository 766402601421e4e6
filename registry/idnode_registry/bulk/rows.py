"""The rows of a bulk load, and how they lie in a work file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final, NamedTuple

from idnode_registry.errors import CorruptWork
from idnode_registry.keys import order_key

_HEADER: Final = Struct(">QIII")
"""Line, octets of prefix, suffix and record."""
ROW_OVERHEAD_OCTETS: Final = 400
"""About what Python takes for a row beside its octets."""


class Row(NamedTuple):
    """One record to store. Rows sort by prefix, storage key and line."""

    prefix: bytes
    """Folded, as is the suffix."""
    key: bytes
    """:func:`idnode_registry.keys.order_key` of the suffix."""
    line: int
    """Where it stands in the input, from 1."""
    suffix: bytes
    record: bytes
    """As :func:`idnode_registry.format.pack` made it, serial 0."""

    @property
    def name(self) -> tuple[bytes, bytes]:
        """What tells records apart."""
        return self.prefix, self.key

    @property
    def octets(self) -> int:
        """About what it takes in memory."""
        return len(self.prefix) + 2 * len(self.suffix) + len(self.record) + ROW_OVERHEAD_OCTETS


def to_octets(rows: Iterable[Row]) -> bytes:
    """The rows one behind the other."""
    parts: list[bytes] = []
    for prefix, _key, line, suffix, record in rows:
        parts += (_HEADER.pack(line, len(prefix), len(suffix), len(record)), prefix, suffix, record)
    return b"".join(parts)


def from_chunks(chunks: Iterable[bytes], place: str) -> Iterator[tuple[Row, int]]:
    """(row, its octets in the file) from pieces of a file cut anywhere; raises CorruptWork naming ``place``."""
    held, size = b"", _HEADER.size
    for chunk in chunks:
        held = held + chunk if held else chunk
        at, length = 0, len(held)
        while at + size <= length:
            line, prefix_octets, suffix_octets, record_octets = _HEADER.unpack_from(held, at)
            suffix_at = at + size + prefix_octets
            record_at = suffix_at + suffix_octets
            end = record_at + record_octets
            if end > length:
                break
            suffix = held[suffix_at:record_at]
            yield Row(held[at + size : suffix_at], order_key(suffix), line, suffix, held[record_at:end]), end - at
            at = end
        held = held[at:]
    if held:
        raise CorruptWork(f"{place} ends inside a row: remove the work folder and load again")
