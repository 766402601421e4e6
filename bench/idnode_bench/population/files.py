"""A population as files: what the C programs read, and slices for people and other tools."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from struct import pack
from typing import Final

from idnode_bench.population.factory import Record
from idnode_protocol.octets import Reader
from idnode_protocol.value import HandleValue, decode_values

FILE_VERSION: Final = 1
NOT_FOUND_OCTETS: Final = 0xFFFF_FFFF
"""In the place of the length of a value list: the handle is not registered, and the right answer says so."""


def wire_head(count: int) -> bytes:
    """What a file of ``count`` rows begins with."""
    return b"IDBP" + pack(">IQ", FILE_VERSION, count)


def wire_row(record: Record) -> bytes:
    """The row of a registered handle."""
    return b"".join((pack(">I", len(record.handle)), record.handle, pack(">I", len(record.values)), record.values))


def wire_octets(records: Iterable[Record], count: int) -> Iterator[bytes]:
    """What the C programs read: ``"IDBP" | u32 version | u64 count | count x (u32, handle, u32, value list)``."""
    yield wire_head(count)
    yield from map(wire_row, records)


def missing_row(handle: bytes) -> bytes:
    """The row of a handle that is asked for and not registered."""
    return pack(">I", len(handle)) + handle + pack(">I", NOT_FOUND_OCTETS)


def csv_rows(records: Iterable[Record]) -> Iterator[bytes]:
    """UTF-8 lines: handle, index, type, data; a header first."""
    yield _csv_line(("handle", "index", "type", "data"))
    for record in records:
        for value in decode_values(Reader(record.values)):
            yield _csv_line((record.handle.decode(), value.index, value.type, _text(value)))


def json_lines(records: Iterable[Record]) -> Iterator[bytes]:
    """One JSON object per record: handle, values of index, type, data."""
    for record in records:
        values = [
            {"index": value.index, "type": value.type, "data": _text(value)}
            for value in decode_values(Reader(record.values))
        ]
        line = json.dumps({"handle": record.handle.decode(), "values": values}, ensure_ascii=False)
        yield line.encode() + b"\n"


def _text(value: HandleValue) -> str:
    """Text as it is, binary values in hexadecimal."""
    return value.data.hex() if value.has_type("HS_ADMIN") else value.data.decode()


def _csv_line(cells: Iterable[object]) -> bytes:
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerow(cells)
    return made.getvalue().encode()
