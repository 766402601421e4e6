"""Reading JSON from strangers: typed members, bounded depth, errors that name the member (docs/protocol.md §7.3)."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Final

from idnode_protocol.errors import InvalidText
from idnode_protocol.limits import JSON_DEPTH_MAX, JSON_OCTETS_MAX

JsonObject = dict[str, object]

LEGACY_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "servers": ("ServerList",),
    "interfaces": ("InterfaceList",),
    "attributes": ("AttributeList",),
    "serverId": ("ServerID",),
    "primarySite": ("IsPrimary",),
    "multiPrimary": ("IsMultiPrimary",),
}
"""Beside the capitalised spelling of every member, which is tried for all of them."""
I32_MAX: Final = 2**31 - 1
U32_MAX: Final = 2**32 - 1


def parse_json(octets: bytes) -> object:
    """The JSON text in ``octets``; raises :class:`InvalidText`: too long, too deep, broken, or a name given twice."""
    if len(octets) > JSON_OCTETS_MAX:
        raise InvalidText(f"JSON of {len(octets)} octets, at most {JSON_OCTETS_MAX} allowed")
    try:
        parsed: object = json.loads(octets.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError as wrong:
        raise InvalidText(f"JSON nested deeper than {JSON_DEPTH_MAX}") from wrong
    except ValueError as wrong:
        raise InvalidText(f"not JSON: {wrong}") from wrong
    check_depth(parsed)
    return parsed


def _once(pairs: list[tuple[str, object]]) -> JsonObject:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object holds the same member twice")
    return members


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def check_depth(parsed: object) -> None:
    """Raise :class:`InvalidText` when objects and arrays nest deeper than 32; without recursion."""
    level: list[object] = [parsed]
    for _ in range(JSON_DEPTH_MAX + 1):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        if not inner:
            return
        level = inner
    raise InvalidText(f"JSON nested deeper than {JSON_DEPTH_MAX}")


def as_text(item: object, path: str) -> str:
    """A string with a UTF-8 form."""
    if not isinstance(item, str):
        raise InvalidText(f"{path} must be a string")
    try:
        item.encode("utf-8")
    except UnicodeEncodeError as wrong:
        raise InvalidText(f"{path} holds a lone surrogate and has no UTF-8 form") from wrong
    return item


def as_integer(item: object, path: str, low: int, high: int) -> int:
    """A whole number within bounds; true and false are no numbers."""
    if isinstance(item, bool) or not isinstance(item, int) or not low <= item <= high:
        raise InvalidText(f"{path} must be a whole number from {low} to {high}")
    return item


def as_boolean(item: object, path: str) -> bool:
    if not isinstance(item, bool):
        raise InvalidText(f"{path} must be true or false")
    return item


def as_array(item: object, path: str) -> list[object]:
    if not isinstance(item, list):
        raise InvalidText(f"{path} must be an array")
    return item


def from_base64(text: str, path: str) -> bytes:
    """The octets of standard base64; missing padding is forgiven."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as wrong:
        raise InvalidText(f"{path} must be standard base64") from wrong


class Members:
    """The members of an object at ``path``. Every reader raises :class:`InvalidText` naming the member."""

    __slots__ = ("_members", "path")

    def __init__(self, item: object, path: str) -> None:
        if not isinstance(item, dict):
            raise InvalidText(f"{path or 'the value'} must be an object")
        self._members: dict[object, object] = item
        self.path = path

    def where(self, name: str) -> str:
        """The path of a member, for error texts."""
        return f"{self.path}.{name}" if self.path else name

    def get(self, name: str) -> object:
        """The member in its present or a legacy spelling; None when absent or null."""
        for spelling in (name, name[:1].upper() + name[1:], *LEGACY_NAMES.get(name, ())):
            found = self._members.get(spelling)
            if found is not None:
                return found
        return None

    def need(self, name: str) -> object:
        found = self.get(name)
        if found is None:
            raise InvalidText(f"{self.where(name)} is missing")
        return found

    def text(self, name: str, default: str | None = None) -> str:
        found = self.get(name) if default is not None else self.need(name)
        return as_text(default if found is None else found, self.where(name))

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        found = self.get(name) if default is not None else self.need(name)
        return as_integer(default if found is None else found, self.where(name), low, high)

    def boolean(self, name: str, default: bool = False) -> bool:
        found = self.get(name)
        return as_boolean(default if found is None else found, self.where(name))

    def array(self, name: str) -> list[object]:
        """The elements; an absent array is empty."""
        found = self.get(name)
        return [] if found is None else as_array(found, self.where(name))
