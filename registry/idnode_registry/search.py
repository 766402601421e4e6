"""Looking names up by what their public values say: the reverse look-up behind ``/hrls/handles``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from idnode_protocol.codes import ValuePermission
from idnode_protocol.handle import NA_START
from idnode_protocol.octets import Reader
from idnode_protocol.value import HandleValue
from idnode_registry.format import handle_of, iter_value_slices, value_list
from idnode_registry.tombstones import is_tombstone

if TYPE_CHECKING:
    from idnode_registry.registry import Registry

CONDITIONS_MAX: Final = 16
SCAN_RECORDS: Final = 200
"""Read at once; the deadline is looked at in between."""


@dataclass(frozen=True, slots=True)
class Found:
    """The names as their creators spelled them. Not complete when the limit or the deadline ended the search."""

    handles: tuple[bytes, ...]
    is_complete: bool


def find_by_values(registry: Registry, conditions: Mapping[str, str], limit: int, is_late: Callable[[], bool]) -> Found:
    """Homed names that have, for each condition type -> pattern, a public value of that type that the pattern matches.

    ``*`` in a pattern stands for any octets; types are compared without case. Reads every record: call it from a
    worker. Raises ValueError for no or more than 16 conditions.
    """
    if not 0 < len(conditions) <= CONDITIONS_MAX:
        raise ValueError(f"1 to {CONDITIONS_MAX} conditions can be searched for, not {len(conditions)}")
    wanted = [(kind.encode("utf-8").upper(), text.encode("utf-8").split(b"*")) for kind, text in conditions.items()]
    found: list[bytes] = []
    for record in _records(registry):
        if record is None:
            if is_late():
                return Found(tuple(found), is_complete=False)
        elif _fits(record, wanted):
            if len(found) == limit:
                return Found(tuple(found), is_complete=False)
            found.append(handle_of(record))
    return Found(tuple(found), is_complete=True)


def _records(registry: Registry) -> Iterator[bytes | None]:
    """Every record under a homed prefix; None after each page."""
    for prefix in registry.prefixes():
        if NA_START + prefix not in registry.homed:
            continue
        cursor = None
        while True:
            page, cursor = registry.store.scan(prefix, cursor, SCAN_RECORDS)
            yield from (record for record in page if not is_tombstone(record))
            yield None
            if cursor is None:
                break


def _fits(record: bytes, wanted: list[tuple[bytes, list[bytes]]]) -> bool:
    values = value_list(record)
    public: list[tuple[bytes, bytes]] = []
    kinds = {kind for kind, _ in wanted}
    for value in iter_value_slices(values):
        kind = value.type.upper()
        if kind in kinds and value.permissions & ValuePermission.PUBLIC_READ:
            public.append((kind, HandleValue.decode(Reader(bytes(values[value.start : value.end]))).data))
    return all(any(have == kind and matches(data, parts) for have, data in public) for kind, parts in wanted)


def matches(data: bytes, parts: list[bytes]) -> bool:
    """Whether ``data`` is the parts of a pattern in order with anything between them. Takes the first place each part
    fits and never goes back, so the time is linear in data and pattern."""
    if len(parts) == 1:
        return data == parts[0]
    first, *middle, last = parts
    if len(data) < len(first) + len(last) or not data.startswith(first) or not data.endswith(last):
        return False
    at, end = len(first), len(data) - len(last)
    for part in middle:
        at = data.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
