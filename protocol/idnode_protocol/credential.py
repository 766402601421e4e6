"""The credential behind a body, and the octets a signature or MAC covers (docs/protocol.md §3.8; RFC 3652 §2.2.4).

Structure only: keys and their arithmetic belong to the registry floor. Signatures and MACs are offered from protocol
2.7 on; what 2.6 and older covered was the product of an offset bug or a keyed MD5/SHA-1.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from idnode_protocol.envelope import Envelope
from idnode_protocol.errors import Unsupported
from idnode_protocol.limits import HANDLE_OCTETS_MAX
from idnode_protocol.octets import Reader, Writer
from idnode_protocol.versions import V2_7, V2_8, older

HS_SIGNED: Final = "HS_SIGNED"
HS_MAC: Final = "HS_MAC"
HS_DSAPUBKEY: Final = "HS_DSAPUBKEY"
"""Old alias of HS_SIGNED, accepted when verifying."""
MAC_ALGORITHM: Final = "HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credential:
    """``i1 version, i1 reserved, i2 options, ba signer, i4 counter, str type, i4 length, str hash, ba signature``."""

    type: str
    hash_algorithm: bytes
    signature: bytes
    counter: int = 0
    signer: bytes = b""
    version: int = 0
    reserved: int = 0
    options: int = 0

    def to_octets(self) -> bytes:
        section = Writer().counted(self.hash_algorithm).counted(self.signature).to_octets()
        writer = Writer().u8(self.version).u8(self.reserved).u16(self.options).counted(self.signer)
        return writer.u32(self.counter).text(self.type).counted(section).to_octets()

    @classmethod
    def from_octets(cls, octets: bytes) -> Credential:
        """The credential that occupies ``octets`` exactly; raises :class:`RemoteError` subclasses."""
        reader = Reader(octets)
        version, reserved, options = reader.u8(), reader.u8(), reader.u16()
        signer, counter, kind = reader.counted(HANDLE_OCTETS_MAX), reader.u32(), reader.text()
        length = reader.u32()
        with reader.within(length) as section:
            algorithm, signature = section.counted(64), section.counted()
        reader.finish()
        return cls(kind, algorithm, signature, counter, signer, version, reserved, options)


def covered_octets(envelope: Envelope, counter: int, header_and_body: bytes) -> bytes:
    """What a signature or MAC covers; raises :class:`Unsupported` for messages older than 2.7.

    From 2.8 on: major, minor, suggested major, suggested minor, session id, request id, counter, then header and body;
    2.7 leaves the suggestion out. The suggested major is the bare number, without the EC and TC bits.
    """
    version = envelope.version
    if older(version, V2_7):
        raise Unsupported(f"signatures and MACs of protocol {version} are not offered; use 2.7 or newer")
    writer = Writer().u8(version.major).u8(version.minor)
    if not older(version, V2_8):
        writer.u8(envelope.suggested.major).u8(envelope.suggested.minor)
    writer.u32(envelope.session_id).u32(envelope.request_id).u32(counter)
    return writer.raw(header_and_body).to_octets()


def mac(key: bytes, envelope: Envelope, counter: int, header_and_body: bytes) -> bytes:
    """HMAC-SHA256 of a message inside a session."""
    return hmac.digest(key, covered_octets(envelope, counter, header_and_body), hashlib.sha256)


def mac_credential(key: bytes, envelope: Envelope, counter: int, header_and_body: bytes) -> Credential:
    """The credential of a message inside a session."""
    return Credential(HS_MAC, MAC_ALGORITHM.encode(), mac(key, envelope, counter, header_and_body), counter)


def mac_is_right(credential: Credential, key: bytes, envelope: Envelope, header_and_body: bytes) -> bool:
    """Whether a credential is the MAC of this message under ``key``; compares in constant time."""
    if credential.type.upper() != HS_MAC or credential.hash_algorithm.upper() != MAC_ALGORITHM.encode():
        return False
    return hmac.compare_digest(credential.signature, mac(key, envelope, credential.counter, header_and_body))
