"""Request digests: what a response says about the request it answers (docs/protocol.md §3.7; RFC 3652 §2.2.3).

Digested are header and body of the request as sent: not the envelope, not the credential, before any encryption.
MD5 and SHA-1 stand here only because old versions write them; they identify a request, they protect nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from idnode_protocol.errors import Malformed, NotEncodable, Unsupported
from idnode_protocol.octets import Reader, Writer
from idnode_protocol.versions import V2_1, V2_7, Version, older

OLD_FORM: Final = 0
"""Not a code: the first octet of the 4-octet length that version 2.0 wrote before a bare MD5 digest."""
MD5: Final = 1
SHA1: Final = 2
SHA256: Final = 3

ALGORITHM: Final[dict[int, str]] = {OLD_FORM: "md5", MD5: "md5", SHA1: "sha1", SHA256: "sha256"}
"""Digest type -> the name hashlib knows."""
DIGEST_OCTETS: Final[dict[int, int]] = {OLD_FORM: 16, MD5: 16, SHA1: 20, SHA256: 32}
_SPELLINGS: Final[dict[bytes, int]] = {
    b"MD5": MD5,
    b"SHA1": SHA1,
    b"SHA-1": SHA1,
    b"SHA256": SHA256,
    b"SHA-256": SHA256,
    bytes([MD5]): MD5,
    bytes([SHA1]): SHA1,
    bytes([SHA256]): SHA256,
}


def digest_type(version: Version) -> int:
    """The digest type a response of this version carries."""
    if older(version, V2_1):
        return OLD_FORM
    return SHA1 if older(version, V2_7) else SHA256


@dataclass(frozen=True, slots=True)
class RequestDigest:
    """A digest and its type octet; ``octets`` never include the type."""

    type: int
    octets: bytes

    def encode(self, writer: Writer) -> None:
        """Raises :class:`NotEncodable` for an unknown type or a digest of the wrong size."""
        size = DIGEST_OCTETS.get(self.type)
        if size != len(self.octets):
            raise NotEncodable(f"a digest of type {self.type} cannot have {len(self.octets)} octets")
        if self.type == OLD_FORM:
            writer.counted(self.octets)
        else:
            writer.u8(self.type).raw(self.octets)

    @classmethod
    def decode(cls, reader: Reader) -> RequestDigest:
        """Read a digest in either form; raises :class:`RemoteError` subclasses."""
        start = reader.position
        kind = reader.u8()
        if kind == OLD_FORM:
            length = int.from_bytes(reader.take(3), "big")
            if length != DIGEST_OCTETS[OLD_FORM]:
                raise Malformed(f"an old-form request digest has 16 octets, not {length}", start)
            return cls(kind, reader.take(length))
        if kind not in DIGEST_OCTETS:
            raise Malformed(f"unknown request digest type {kind}", start)
        return cls(kind, reader.take(DIGEST_OCTETS[kind]))

    @classmethod
    def of(cls, version: Version, header_and_body: bytes) -> RequestDigest:
        """The digest a response of ``version`` carries about a request."""
        return cls.typed(digest_type(version), header_and_body)

    @classmethod
    def typed(cls, kind: int, header_and_body: bytes) -> RequestDigest:
        """The digest of a given type, for checking one that was received; raises :class:`NotEncodable`."""
        name = ALGORITHM.get(kind)
        if name is None:
            raise NotEncodable(f"unknown request digest type {kind}")
        return cls(kind, hashlib.new(name, header_and_body, usedforsecurity=False).digest())

    def matches(self, header_and_body: bytes) -> bool:
        """Whether this is the digest of a request; nothing here is secret, so a plain comparison serves."""
        return self.typed(self.type, header_and_body) == self


def request_digest(version: Version, header_and_body: bytes) -> tuple[int, bytes]:
    """``(type, octets)`` of the digest a response of ``version`` carries."""
    digest = RequestDigest.of(version, header_and_body)
    return digest.type, digest.octets


def hash_algorithm(spelling: bytes) -> str:
    """The hashlib name (``md5``, ``sha1``, ``sha256``) behind a spelling in a credential or a public-key answer.

    Names are taken without case, single octets are the digest types (docs/protocol.md §3.8). Raises
    :class:`Unsupported` for anything else.
    """
    kind = _SPELLINGS.get(spelling.upper())
    if kind is None:
        raise Unsupported(f"hash algorithm {spelling[:32]!r} is not one of MD5, SHA-1, SHA-256")
    return ALGORITHM[kind]
