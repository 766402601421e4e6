"""Values whose data is UTF-8 text: URL, EMAIL, HS_SERV, HS_ALIAS, signatures (docs/protocol.md §2.2)."""

from __future__ import annotations

from typing import Final

from idnode_protocol.errors import Malformed, NotEncodable

_TEXT_CONTROLS: Final = frozenset(range(0x09, 0x14))
_NOT_TEXT: Final = bytes(octet for octet in range(0x20) if octet not in _TEXT_CONTROLS) + b"\x7f"


def decode_text(octets: bytes) -> str:
    """The text; raises :class:`Malformed` when the octets are not UTF-8."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as wrong:
        raise Malformed("the data is not UTF-8 text", wrong.start) from wrong


def encode_text(text: str) -> bytes:
    """The value data; raises :class:`NotEncodable` for a lone surrogate."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as wrong:
        raise NotEncodable("the text holds a lone surrogate and has no UTF-8 form") from wrong


def looks_like_text(octets: bytes) -> bool:
    """Whether JSON shows the data as a string: UTF-8 without control octets.

    The reference lets 0x09 to 0x13 pass, not 0x09 to 0x0d as one would expect; so do we, since the choice is visible
    to every REST client (docs/protocol.md §7.3).
    """
    if octets.translate(None, _NOT_TEXT) != octets:
        return False
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
