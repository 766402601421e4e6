"""The short way to the answer that is nearly all traffic: a stored record about which nothing is special.

Every step here knows in constant time what the operation (:mod:`idnode_registry.operations.resolve`) would answer, or
leaves the request to it. Whatever is rare is left: prefix handles, names of other servers, private values that were
asked for, templates, members of ranges that need a signature, tombstones, damaged records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from idnode_protocol.handle import GLOBAL_START, NA_PREFIX, NA_START
from idnode_registry.elsewhere import NotAtHand
from idnode_registry.errors import MalformedValues
from idnode_registry.execution import DAMAGE
from idnode_registry.format import HEADER_OCTETS, NOTHING_SELECTED, select
from idnode_registry.layouts import PublicLayouts
from idnode_registry.templates.answering import makes_nothing

if TYPE_CHECKING:
    from idnode_registry.registry import Registry

_PREFIXES_REMEMBERED: Final = 65_536
LONG_WAY: Final = b""
"""In the place of a value list, which is never so short."""


class Shortcut:
    """The short way into one registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._folds_whole = registry.store.case_mode == "fold-all"
        self._layouts = PublicLayouts()
        self._makes_nothing: dict[bytes, bool] = {}  # folded prefix -> no template makes names under it

    def stored_name(self, handle: bytes) -> tuple[bytes, bytes] | None:
        """Prefix and suffix, folded, of a name whose stored record decides the answer; None = go the long way."""
        if self._folds_whole or handle.startswith(GLOBAL_START):
            prefix, slash, suffix = handle.upper().partition(b"/")
        else:
            prefix, slash, suffix = handle.partition(b"/")
            prefix = prefix.upper()
        registry = self._registry
        if not slash or prefix == NA_PREFIX or NA_START + prefix not in registry.homed:
            return None
        place = registry.place
        if place is not None and place.servers != 1 and not place.holds(prefix + b"/" + suffix):
            return None
        return prefix, suffix

    def values(self, name: tuple[bytes, bytes], record: bytes | None) -> bytes | None:
        """The value list under a folded name, of its record or of the range it is a member of; None = there is none,
        :data:`LONG_WAY` = only the long way knows."""
        if record is None:
            try:
                member = self._registry.ranges.member(*name)
            except DAMAGE:
                return LONG_WAY
            return member if member is None or self._registry.member_signer is None else LONG_WAY
        return record[HEADER_OCTETS + (record[7] << 8 | record[8]) :] if record else LONG_WAY

    def for_anybody(self, values: bytes, *, public_only: bool) -> bytes | None:
        """The value list of the answer to a question without lists; None when somebody must prove who he is for it,
        or nothing is left, or the list cannot be read: go the long way."""
        try:
            if not self._layouts.is_public(values):
                if not public_only:
                    return None
                values = select(values, public_only=True)
        except MalformedValues:
            return None
        return None if values == NOTHING_SELECTED else values

    def makes_nothing(self, prefix: bytes) -> bool:
        """Whether names that are not stored under this folded prefix are not found, until a prefix handle changes."""
        known = self._makes_nothing
        found = known.get(prefix)
        if found is None:
            try:
                found = makes_nothing(self._registry, NA_START + prefix)
            except (*DAMAGE, NotAtHand):
                return False
            if len(known) < _PREFIXES_REMEMBERED:
                known[prefix] = found  # into the dictionary taken before reading: forget() may have replaced it
        return found

    def forget(self) -> None:
        """A prefix handle changed, or may have. From any thread."""
        self._makes_nothing = {}
