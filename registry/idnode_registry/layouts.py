"""Whether all values of a list have public read, told from where such lists were found to have their permissions.

Records come in a few layouts: lists of the same length with the same lengths inside. A list that was walked once tells
a *layout*: the offsets of its count, permissions, lengths and reference counts, and what stands there. Another list of
that length with the same octets in these places is cut into the same values with the same permissions, whatever its
types and data are. So one call and one comparison do instead of a walk; this is the hot path of resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import Any, Final

from idnode_registry.errors import MalformedValues
from idnode_registry.format import PUBLIC_READ, VALUE_FIXED

LENGTHS_MAX: Final = 1_024
LAYOUTS_PER_LENGTH: Final = 4
LEARN_EVERY: Final = 16
"""Of lists whose length is known but not their layout: so those met often are learnt."""
VALUES_MAX: Final = 64
"""A longer list is walked each time."""

_U4: Final = Struct(">I")
_TYPE: Final = Struct(">13xBI")
"""permissions and octets of the type."""

_Layout = tuple[Callable[[bytes], tuple[Any, ...]], tuple[Any, ...]]
"""What takes the octets out of a list of the right length, and what they are."""


def is_public(values: bytes) -> bool:
    """Whether every value has public read. Raises MalformedValues as :func:`.format.iter_value_slices` does."""
    size = len(values)
    found = True
    try:
        (count,) = _U4.unpack_from(values)
        at = 4
        for _ in range(count):
            permissions, octets = _TYPE.unpack_from(values, at)
            at += VALUE_FIXED.size + octets
            (octets,) = _U4.unpack_from(values, at)
            at += 8 + octets
            (references,) = _U4.unpack_from(values, at - 4)
            for _ in range(references):
                (octets,) = _U4.unpack_from(values, at)
                at += 8 + octets
            if not permissions & PUBLIC_READ:
                found = False
    except StructError:
        raise MalformedValues(f"a value list of {size} octets breaks off") from None
    if at != size:
        raise MalformedValues(f"the last value of a list of {size} octets ends at {at}")
    return found


def _layout(values: bytes) -> _Layout | None:
    """Of a list that :func:`is_public` took; None when it has references or many values."""
    (count,) = _U4.unpack_from(values)
    if count > VALUES_MAX:
        return None
    codes, at = [">I"], 4
    for _ in range(count):
        _, kind = _TYPE.unpack_from(values, at)
        (data,) = _U4.unpack_from(values, at + VALUE_FIXED.size + kind)
        at += VALUE_FIXED.size + kind + 8 + data
        if values[at - 4 : at] != b"\0\0\0\0":
            return None
        codes.append(f"13xBI{kind}xI{data}xI")
    unpack = Struct("".join(codes)).unpack
    return unpack, unpack(values)


class PublicLayouts:
    """The layouts met lately, bounded."""

    def __init__(self) -> None:
        self._known: dict[int, list[_Layout]] = {}  # octets of the list -> layouts
        self._walked = 0

    def is_public(self, values: bytes) -> bool:
        """The same as :func:`is_public`, mostly without a walk."""
        known = self._known.get(len(values))
        if known is not None:
            for unpack, expected in known:
                if unpack(values) == expected:
                    return True
        if not is_public(values):
            return False
        self._walked += 1
        if known is None or self._walked % LEARN_EVERY == 0:
            self._learn(values)
        return True

    def _learn(self, values: bytes) -> None:
        layout = _layout(values)
        if layout is None:
            return
        if len(self._known) >= LENGTHS_MAX:
            self._known.clear()
        same = self._known.setdefault(len(values), [])
        same.insert(0, layout)
        del same[LAYOUTS_PER_LENGTH:]
