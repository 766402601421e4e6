"""What stands in the place of a deleted member of a range: a row that says "nothing is here" (docs/ranges.md).

A member of a range is there without a row of its own, so deleting it has to leave one. It lies where the member's own
record would: whoever creates, changes or deletes that name compares and sets the same row, and no two writes can both
win. A tombstone is a record with one value that no request can make, because its index is 0. It is not counted, not
listed and never sent to a client.
"""

from __future__ import annotations

from typing import Final

from idnode_protocol.value import HandleValue, values_to_octets
from idnode_registry import format as record_format

DELETED_TYPE: Final = "*DELETED"
TOMBSTONE_VALUES: Final = values_to_octets([HandleValue(0, DELETED_TYPE, b"", permissions=0, timestamp=0)])
_OCTETS: Final = record_format.HEADER_OCTETS + len(TOMBSTONE_VALUES)


def tombstone(handle: bytes) -> bytes:
    """The record that stands for a deleted member; raises NotRepresentable."""
    return record_format.pack(handle, 0, TOMBSTONE_VALUES)


def is_tombstone(record: bytes) -> bool:
    """Whether a stored record says that nothing is there."""
    return record.endswith(TOMBSTONE_VALUES) and len(record) == _OCTETS + (record[7] << 8 | record[8])


def weight(record: bytes | None) -> int:
    """What a row counts for among the records of its bucket: 1, or 0 for a tombstone and for none."""
    return 0 if record is None or is_tombstone(record) else 1
