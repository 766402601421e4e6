"""The digest of a value, as signatures list it (docs/protocol.md §8.2).

It covers the encoded value from octet 8 on: TTL type, TTL, permissions, type, data, references. The index stands beside
the digest; the timestamp is bound by nothing. SHA-1 and MD5, which the reference's reader would take, are not.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from idnode_protocol.value import HandleValue
from idnode_registry.trust.claims import DigestList

DIGEST_ALGORITHMS: Final[dict[str, Callable[[bytes], Any]]] = {
    "SHA-256": hashlib.sha256,
    "SHA-384": hashlib.sha384,
    "SHA-512": hashlib.sha512,
}
WRITTEN: Final = "SHA-256"
_HEAD: Final = struct.Struct(">BIBI")
_U32: Final = struct.Struct(">I")
_NO_REFERENCES: Final = bytes(4)


def covered_octets(value: HandleValue) -> bytes:
    """What is digested, ``value.signed_octets``; written in one go for the usual value, since records hold 2,048."""
    kind, data = value.type, value.data
    if value.references or not kind.isascii():
        return value.signed_octets
    try:
        head = _HEAD.pack(value.ttl_type, value.ttl, value.permissions, len(kind))
    except struct.error:
        return value.signed_octets  # it knows which field does not fit
    return b"".join((head, kind.encode("ascii"), _U32.pack(len(data)), data, _NO_REFERENCES))


def digest_text(value: HandleValue, algorithm: str = WRITTEN) -> str:
    """Base64 of the value's digest; KeyError for an algorithm that is not taken."""
    return base64.b64encode(DIGEST_ALGORITHMS[algorithm](covered_octets(value)).digest()).decode("ascii")


def digests_of(values: Sequence[HandleValue]) -> DigestList:
    """What a signature over these values lists, by index."""
    ordered = sorted(values, key=lambda value: value.index)
    return DigestList(WRITTEN, tuple((value.index, digest_text(value)) for value in ordered))


class DigestBook:
    """The digests of one record's values, each computed once at most however many signatures list it."""

    def __init__(self, values: Sequence[HandleValue]) -> None:
        self.by_index: Final = {value.index: value for value in values}
        self._known: dict[tuple[str, int], str] = {}

    def text(self, algorithm: str, index: int) -> str:
        """Base64 of the digest of a value that is there."""
        key = algorithm, index
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = digest_text(self.by_index[index], algorithm)
        return found

    def __len__(self) -> int:
        """How many were computed."""
        return len(self._known)
