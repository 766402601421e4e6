"""Records as JSON lines: what ``idnode load`` reads.

One object per line, ``{"handle": "99.900/part-1", "values": [{"index": 1, "type": "URL", "data": "..."}]}``; a value
has the members of the REST interface (docs/protocol.md §7.3). A value without a timestamp gets the time of the load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from idnode.adapters.disk import Disk
from idnode.demo import home_prefix
from idnode_protocol.errors import InvalidText
from idnode_protocol.handle import from_text, split, to_text
from idnode_protocol.json_form import value_from_json
from idnode_protocol.json_members import Members, parse_json
from idnode_protocol.limits import JSON_OCTETS_MAX
from idnode_protocol.responses import ErrorResponse
from idnode_protocol.value import HandleValue, values_to_octets
from idnode_registry.bulk.rows import Row
from idnode_registry.errors import NotRepresentable
from idnode_registry.format import pack
from idnode_registry.keys import order_key
from idnode_registry.operations.common import bad_name, bad_values
from idnode_registry.registry import Registry

SLICE_OCTETS: Final = 1024 * 1024


class LineRefused(ValueError):
    """A line is no record that can be stored; the message begins with file and line."""


def read_lines(disk: Disk, path: Path, passed: Callable[[int], None]) -> Iterator[tuple[int, bytes]]:
    """(line from 1, its octets) of the lines that are not blank. ``passed`` is told how many octets are read."""
    rest, number, offset = b"", 0, 0
    while octets := disk.read_part(path, offset, SLICE_OCTETS):
        offset += len(octets)
        *lines, rest = (rest + octets).split(b"\n")
        for line in lines:
            number += 1
            if line.strip():
                yield number, line
        if len(rest) > JSON_OCTETS_MAX:
            raise LineRefused(f"{path}, line {number + 1}: longer than {JSON_OCTETS_MAX} octets")
        passed(offset)
    if rest.strip():
        yield number + 1, rest


class RowReader:
    """Makes rows for one store; what a create request would be refused for is refused here."""

    def __init__(self, registry: Registry, path: Path, now: float, *, homes: bool) -> None:
        """``homes``: prefixes that this store does not answer for yet are homed, not refused."""
        self._registry = registry
        self._homes = homes
        self._path = path
        self._now = int(now)

    def rows(self, lines: Iterator[tuple[int, bytes]]) -> Iterator[Row]:
        """Raises LineRefused."""
        for number, line in lines:
            try:
                yield self._row(number, line)
            except (InvalidText, NotRepresentable) as wrong:
                raise LineRefused(f"{self._path}, line {number}: {wrong}") from wrong

    def _row(self, number: int, line: bytes) -> Row:
        members = Members(parse_json(line), "")
        handle = from_text(members.text("handle"))
        values = [self._value(item, f"values[{position}]") for position, item in enumerate(members.array("values"))]
        if b"/" not in handle:
            raise InvalidText(f"handle: {members.text('handle')!r} has no slash between prefix and suffix")
        reply = bad_name(handle) or bad_values(values)
        if reply is not None:
            assert isinstance(reply.response, ErrorResponse)
            raise InvalidText(reply.response.text)
        self._require_homed(handle)
        values.sort(key=lambda value: value.index)
        prefix, suffix = split(self._registry.fold(handle))
        return Row(prefix, order_key(suffix), number, suffix, pack(handle, 0, values_to_octets(values)))

    def _require_homed(self, handle: bytes) -> None:
        if self._registry.is_homed(handle):
            return
        prefix, _ = split(handle)
        if not self._homes:
            raise InvalidText(f"{to_text(prefix)} is not homed in this store: give --home, or home it first")
        home_prefix(self._registry, prefix, self._now)

    def _value(self, item: object, path: str) -> HandleValue:
        value = value_from_json(item, path=path)
        return value if value.timestamp else replace(value, timestamp=self._now)
