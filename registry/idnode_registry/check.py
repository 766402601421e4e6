"""What the registry knows about its records that a store does not: values, their order, homed prefixes, ranges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from idnode_protocol.errors import RemoteError
from idnode_protocol.handle import fold_name, to_text
from idnode_protocol.value import values_from_octets
from idnode_registry.errors import MalformedValues, RangeRefused, ReadingError
from idnode_registry.format import handle_of, value_list
from idnode_registry.prefixes import HOMED_PREFIX, homed_name, is_homable
from idnode_registry.ranges.index import PrefixRanges
from idnode_registry.ranges.names import RANGES_START, range_of_row
from idnode_registry.ranges.templates import compiled
from idnode_registry.store import Problem, Store
from idnode_registry.tombstones import is_tombstone

_SCAN_RECORDS: Final = 1_000


def check_registry(store: Store) -> Iterator[Problem]:
    """Every problem of the store, then every problem of what its records say."""
    yield from store.check()
    for prefix in store.prefixes():
        yield from _check_prefix(store, prefix)


def _check_prefix(store: Store, prefix: bytes) -> Iterator[Problem]:
    cursor = None
    ranges = PrefixRanges(prefix[len(RANGES_START) :]) if prefix.startswith(RANGES_START) else None
    while True:
        try:
            records, cursor = store.scan(prefix, cursor, _SCAN_RECORDS)
        except ReadingError:
            return  # the store's own check has named the record; what lies behind it cannot be reached in order
        for record in records:
            if prefix == HOMED_PREFIX:
                wrong = _homing_fault(record)
            elif ranges is not None:
                wrong = _values_fault(record) or _range_fault(store, ranges, record)
            else:
                wrong = "" if is_tombstone(record) else _values_fault(record)
            if wrong:
                yield Problem("record", to_text(handle_of(record)), wrong)
        if cursor is None:
            return


def _homing_fault(record: bytes) -> str:
    return "" if is_homable(homed_name(record)) else "what is homed is not a prefix handle"


def _range_fault(store: Store, ranges: PrefixRanges, record: bytes) -> str:
    """What is wrong with the row of a range, which is taken into ``ranges`` when nothing is."""
    try:
        spelled = range_of_row(handle_of(record))
        compiled(spelled, bytes(value_list(record)))
    except (RangeRefused, MalformedValues) as wrong:
        return f"its range cannot be used: {wrong}"
    name = spelled.folded(lambda octets: fold_name(octets, whole=store.case_mode == "fold-all"))
    found = ranges.overlapping(name)
    if found is not None:
        return f"its range overlaps {to_text(found[0].name)}: both hold {to_text(found[1])}"
    ranges.put(name, b"")
    return ""


def _values_fault(record: bytes) -> str:
    """What is wrong with a record's values; empty when nothing is."""
    try:
        values = values_from_octets(bytes(value_list(record)))
    except RemoteError as wrong:
        return f"its values cannot be decoded: {wrong}"
    indexes = [value.index for value in values]
    if any(index < 1 for index in indexes):
        return "a value has an index below 1"
    if indexes != sorted(set(indexes)):
        return "its values are not sorted by index, or an index stands twice"
    return ""
