"""The 16-octet address of a server: IPv6 as it is, IPv4 behind twelve zero octets (docs/protocol.md §2.5)."""

from __future__ import annotations

import ipaddress
from typing import Final

from idnode_protocol.errors import InvalidText, Malformed

ADDRESS_OCTETS: Final = 16
NO_ADDRESS: Final = bytes(ADDRESS_OCTETS)
"""The server is found by the site's ``domain`` attribute."""
_IPV4_LEAD: Final = bytes(12)
_IPV6_LOOPBACK: Final = bytes(15) + b"\x01"


def is_ipv4(octets: bytes) -> bool:
    """Whether the twelve leading zeros mean IPv4; ``::1`` is the one IPv6 address that would look the same."""
    return octets.startswith(_IPV4_LEAD) and octets not in (NO_ADDRESS, _IPV6_LOOPBACK)


def address_to_text(octets: bytes) -> str:
    """``127.0.0.1`` or ``2001:db8::1``; an all-zero address gives ``0.0.0.0``. Raises :class:`Malformed`."""
    if len(octets) != ADDRESS_OCTETS:
        raise Malformed(f"a server address has 16 octets, not {len(octets)}")
    if octets == NO_ADDRESS or is_ipv4(octets):
        return str(ipaddress.IPv4Address(octets[12:]))
    return str(ipaddress.IPv6Address(octets))


def address_from_text(text: str) -> bytes:
    """The 16 octets of an address in text; raises :class:`InvalidText`."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError as wrong:
        raise InvalidText(f"{text[:64]!r} is not an IPv4 or IPv6 address") from wrong
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            raise InvalidText(f"{text[:64]!r} names a zone, which a site record cannot carry")
        return address.packed
    return _IPV4_LEAD + address.packed
