"""The values of a range's members, made ready so that one join assembles a member's value list.

The template is a value list. In the data of its values ``${handle}``, ``${prefix}``, ``${suffix}`` and ``${serial}``
stand for those of the member, as the creator of the range spelled them, and ``$$`` for one dollar. Values of types
``HS_*`` are binary and taken as they are, but for HS_ALIAS. As every serial has the same width, every length in the
list is known beforehand, and all that differs between members are the digits::

    value list of a member = digits.join(slices)
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from idnode_protocol.handle import to_text
from idnode_registry.errors import RangeRefused
from idnode_registry.format import VALUE_FIXED, ValueSlice, iter_value_slices
from idnode_registry.limits import RECORD_BODY_OCTETS_MAX
from idnode_registry.ranges.names import RangeName

_PLACE: Final = re.compile(rb"\$(?:\$|\{(handle|prefix|suffix|serial)\})?")
_TEXT_TYPES: Final = (b"HS_ALIAS",)


class Assembly(NamedTuple):
    """What the members of a range are made of: ``digits.join(...)`` gives the value list and the handle."""

    slices: tuple[bytes, ...]
    handle: tuple[bytes, bytes]

    @property
    def octets(self) -> int:
        """What it takes in memory, roughly."""
        return sum(map(len, self.slices)) + 40 * len(self.slices) + 200


class _Joint:
    """Octets with gaps where the digits go."""

    def __init__(self) -> None:
        self.slices: list[bytes] = []
        self._pending: list[bytes] = []

    def put(self, *parts: bytes) -> None:
        self._pending += parts

    def gap(self) -> None:
        self.slices.append(b"".join(self._pending))
        self._pending.clear()

    def finished(self) -> tuple[bytes, ...]:
        return (*self.slices, b"".join(self._pending))


def compiled(name: RangeName, values: bytes) -> Assembly:
    """The assembly for a range as spelled and its template. Raises RangeRefused and MalformedValues."""
    before, after = name.prefix + b"/" + name.head, name.tail
    view = memoryview(values)
    joint = _Joint()
    joint.put(values[:4])
    total = 4 + len(name.prefix) + 1 + name.octets
    for value in iter_value_slices(view):
        octets = values[value.start : value.end]
        if _is_text(value.type):
            total += _put_value(joint, name, value, octets)
        else:
            joint.put(octets)
            total += len(octets)
        if total > RECORD_BODY_OCTETS_MAX:
            raise RangeRefused(
                f"a member of {to_text(name.name)} would need more than the {RECORD_BODY_OCTETS_MAX} octets that fit "
                "into a message"
            )
    return Assembly(joint.finished(), (before, after))


def _is_text(kind: bytes) -> bool:
    folded = kind.upper()
    return not folded.startswith(b"HS_") or folded in _TEXT_TYPES


def _put_value(joint: _Joint, name: RangeName, value: ValueSlice, octets: bytes) -> int:
    """Put one value; the octets it has in a member."""
    at = VALUE_FIXED.size + len(value.type)
    end = at + 4 + int.from_bytes(octets[at : at + 4], "big")
    parts = _parts(name, value, octets[at + 4 : end])
    size = sum(name.width if part is None else len(part) for part in parts)
    if size > RECORD_BODY_OCTETS_MAX:
        return size
    joint.put(octets[:at], size.to_bytes(4, "big"))
    for part in parts:
        if part is None:
            joint.gap()
        else:
            joint.put(part)
    joint.put(octets[end:])
    return len(octets) - (end - at - 4) + size


def _parts(name: RangeName, value: ValueSlice, data: bytes) -> list[bytes | None]:
    """The data in pieces; None stands for the digits."""
    meanings: dict[bytes, tuple[bytes | None, ...]] = {
        b"handle": (name.prefix + b"/" + name.head, None, name.tail),
        b"suffix": (name.head, None, name.tail),
        b"prefix": (name.prefix,),
        b"serial": (None,),
    }
    parts: list[bytes | None] = []
    at = 0
    for found in _PLACE.finditer(data):
        parts.append(data[at : found.start()])
        at = found.end()
        if found[1] is not None:
            parts += meanings[found[1]]
        elif found[0] == b"$$":
            parts.append(b"$")
        else:
            shown = data[found.start() : found.start() + 20].decode("utf-8", "replace")
            raise RangeRefused(
                f"value {value.index} holds {shown!r}: known are ${{handle}}, ${{prefix}}, ${{suffix}} and "
                "${serial}; a dollar of its own is written $$"
            )
    parts.append(data[at:])
    return parts
