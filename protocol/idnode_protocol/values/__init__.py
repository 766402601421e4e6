"""The data of well-known value types, one file each, and the table that finds them (docs/protocol.md §2.2).

A type that is not in the table keeps its raw octets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from idnode_protocol.value import Reference, fold_type
from idnode_protocol.values.address import address_from_text, address_to_text
from idnode_protocol.values.admin import AdminRecord
from idnode_protocol.values.keys import (
    DhPublicKey,
    DsaPrivateKey,
    DsaPublicKey,
    PrivateKey,
    PublicKey,
    RsaPrivateCrtKey,
    RsaPrivateKey,
    RsaPublicKey,
    decode_private_key,
    decode_public_key,
)
from idnode_protocol.values.site import HashOption, Interface, InterfaceProtocol, InterfaceType, Server, SiteInfo
from idnode_protocol.values.text import decode_text, encode_text, looks_like_text
from idnode_protocol.values.vlist import decode_vlist, encode_vlist

Decoded = AdminRecord | SiteInfo | PublicKey | tuple[Reference, ...] | str | bytes
"""What the data of a value may become; bytes for types nobody knows."""


class Codec(NamedTuple):
    """``format`` is the name of the JSON form (docs/protocol.md §7.3)."""

    format: str
    decode: Callable[[bytes], Decoded]


ADMIN: Final = Codec("admin", AdminRecord.from_octets)
VLIST: Final = Codec("vlist", decode_vlist)
SITE: Final = Codec("site", SiteInfo.from_octets)
KEY: Final = Codec("key", decode_public_key)
TEXT: Final = Codec("string", decode_text)
RAW: Final = Codec("base64", bytes)

CODECS: Final[dict[str, Codec]] = {
    "HS_ADMIN": ADMIN,
    "HS_VLIST": VLIST,
    "HS_SITE": SITE,
    "HS_NA_DELEGATE": SITE,
    "HS_PUBKEY": KEY,
    "HS_SECKEY": RAW,
    "HS_SERV": TEXT,
    "HS_ALIAS": TEXT,
    "HS_NAMESPACE": TEXT,
    "HS_SIGNATURE": TEXT,
    "HS_CERT": TEXT,
    "10320/LOC": TEXT,
    "URL": TEXT,
    "EMAIL": TEXT,
    "DESC": TEXT,
    "URN": TEXT,
    "INET_HOST": TEXT,
}
"""Folded type -> codec."""
FAMILIES: Final[dict[str, Codec]] = {"HS_SITE.": SITE, "HS_SERV.": TEXT}
"""Folded start of a type -> codec of every sub-type, such as HS_SITE.6 and HS_SITE.PREFIX."""


def codec_for(kind: str) -> Codec:
    """The codec of a value type, compared without case; :data:`RAW` for a type that is not in the table."""
    folded = fold_type(kind)
    found = CODECS.get(folded)
    if found is not None:
        return found
    return next((codec for start, codec in FAMILIES.items() if folded.startswith(start)), RAW)


def decode_data(kind: str, data: bytes) -> Decoded:
    """The data of a value of type ``kind``; raises :class:`RemoteError` subclasses when it breaks its layout."""
    return codec_for(kind).decode(data)


def encode_data(decoded: Decoded) -> bytes:
    """The octets behind what :func:`decode_data` gave; raises :class:`NotEncodable`."""
    if isinstance(decoded, bytes):
        return decoded
    if isinstance(decoded, str):
        return encode_text(decoded)
    if isinstance(decoded, tuple):
        return encode_vlist(decoded)
    return decoded.to_octets()


__all__ = [
    "CODECS",
    "FAMILIES",
    "AdminRecord",
    "Codec",
    "Decoded",
    "DhPublicKey",
    "DsaPrivateKey",
    "DsaPublicKey",
    "HashOption",
    "Interface",
    "InterfaceProtocol",
    "InterfaceType",
    "PrivateKey",
    "PublicKey",
    "RsaPrivateCrtKey",
    "RsaPrivateKey",
    "RsaPublicKey",
    "Server",
    "SiteInfo",
    "address_from_text",
    "address_to_text",
    "codec_for",
    "decode_data",
    "decode_private_key",
    "decode_public_key",
    "decode_text",
    "decode_vlist",
    "encode_data",
    "encode_text",
    "encode_vlist",
    "looks_like_text",
]
