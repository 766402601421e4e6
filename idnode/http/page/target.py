"""Where a record sends a browser: its 10320/loc values first, then its URL (docs/protocol.md §7.5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from idnode.http.page.locations import LocationsRefused, Visitor, choose, parse_locations
from idnode_protocol.value import HandleValue

LOCATION_TYPE: Final = "10320/loc"
URL_TYPE: Final = "URL"
URL_OCTETS_MAX: Final = 8_192
_SAFE_URL: Final = re.compile(r"(?i)(?:https?|ftp)://[^\s\x00-\x20\"<>\\^`{|}\x7f]+")
"""A browser is sent nowhere else: no ``javascript:``, no line breaks, nothing without a host."""


def safe_url(text: str) -> str | None:
    """The URL as it may stand in a Location header, percent-encoded where it is not ASCII; None = do not go there."""
    if len(text) > URL_OCTETS_MAX or not _SAFE_URL.fullmatch(text):
        return None
    return "".join(char if char.isascii() else "".join(f"%{octet:02X}" for octet in char.encode()) for char in text)


def target_of(values: Sequence[HandleValue], visitor: Visitor) -> str | None:
    """Where to, None when the record names no place a browser may be sent to. Lower indexes come first."""
    ordered = sorted(values, key=lambda value: value.index)
    for value in (each for each in ordered if each.has_type(LOCATION_TYPE)):
        try:
            chosen = choose(parse_locations(value.data), visitor)
        except LocationsRefused:
            continue
        url = safe_url(chosen.href) if chosen is not None else None
        if url is not None:
            return url
    urls = (safe_url(each.data.decode("utf-8", "replace").strip()) for each in ordered if each.has_type(URL_TYPE))
    return next((url for url in urls if url is not None), None)


def alias_of(values: Sequence[HandleValue]) -> bytes | None:
    """The name an HS_ALIAS value stands for, of the lowest index; None without one."""
    aliases = [each for each in values if each.has_type("HS_ALIAS")]
    return min(aliases, key=lambda value: value.index).data if aliases else None
