"""What the registry knows about its records that a store does not: values, their order, homed prefixes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from idnode_protocol.errors import RemoteError
from idnode_protocol.handle import to_text
from idnode_protocol.value import values_from_octets
from idnode_registry.errors import ReadingError
from idnode_registry.format import handle_of, value_list
from idnode_registry.prefixes import HOMED_PREFIX, homed_name, is_homable
from idnode_registry.store import Problem, Store

_SCAN_RECORDS: Final = 1_000


def check_registry(store: Store) -> Iterator[Problem]:
    """Every problem of the store, then every problem of what its records say."""
    yield from store.check()
    for prefix in store.prefixes():
        yield from _check_prefix(store, prefix)


def _check_prefix(store: Store, prefix: bytes) -> Iterator[Problem]:
    cursor = None
    while True:
        try:
            records, cursor = store.scan(prefix, cursor, _SCAN_RECORDS)
        except ReadingError:
            return  # the store's own check has named the record; what lies behind it cannot be reached in order
        for record in records:
            wrong = _homing_fault(record) if prefix == HOMED_PREFIX else _values_fault(record)
            if wrong:
                yield Problem("record", to_text(handle_of(record)), wrong)
        if cursor is None:
            return


def _homing_fault(record: bytes) -> str:
    return "" if is_homable(homed_name(record)) else "what is homed is not a prefix handle"


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
