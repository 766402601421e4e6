"""A whole message: envelope, header, body, credential (docs/protocol.md §3).

A :class:`Message` keeps the body octets exactly as they came: digests, signatures and the answer cache are computed
over what was received, never over a re-encoding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from idnode_protocol.credential import Credential
from idnode_protocol.envelope import ENCRYPTED, Envelope
from idnode_protocol.errors import Malformed, Truncated, Unsupported
from idnode_protocol.header import Header
from idnode_protocol.limits import ENVELOPE_OCTETS, HEADER_OCTETS, MESSAGE_OCTETS_MAX
from idnode_protocol.octets import Reader, Writer

MEDIA_TYPE: Final = "application/x-hdl-message"
"""What HTTP calls a message (docs/protocol.md §4.3)."""


@dataclass(frozen=True, slots=True)
class Message:
    """A decoded message. ``credential_octets`` is None when even the credential's length was missing."""

    envelope: Envelope
    header: Header
    body: bytes
    credential_octets: bytes | None = b""

    @property
    def header_and_body(self) -> bytes:
        """What request digests and signatures cover."""
        writer = Writer()
        self.header.encode(writer)
        return writer.raw(self.body).to_octets()

    @property
    def credential(self) -> Credential | None:
        """The credential, None when the message is unsigned; raises :class:`RemoteError` subclasses."""
        return Credential.from_octets(self.credential_octets) if self.credential_octets else None

    def payload(self) -> bytes:
        """Everything after the envelope, in clear."""
        writer = Writer().raw(self.header_and_body)
        if self.credential_octets is not None:
            writer.counted(self.credential_octets)
        return writer.to_octets()

    def to_octets(self) -> bytes:
        """The message as sent over TCP, in clear; the envelope's length is the one it was built with."""
        return self.envelope.to_octets() + self.payload()


def build(envelope: Envelope, header: Header, body: bytes, credential: Credential | None = None) -> Message:
    """A message whose lengths are filled in; raises :class:`Malformed` above 262,144 octets."""
    signed = credential.to_octets() if credential else b""
    length = HEADER_OCTETS + len(body) + 4 + len(signed)
    if length > MESSAGE_OCTETS_MAX:
        raise Malformed(f"a message of {length} octets is above the limit of {MESSAGE_OCTETS_MAX}")
    return Message(replace(envelope, length=length), replace(header, body_length=len(body)), body, signed)


def decode_payload(envelope: Envelope, payload: bytes) -> Message:
    """The message behind an envelope, given in clear and whole; raises :class:`RemoteError` subclasses."""
    reader = Reader(payload)
    header = Header.decode(reader)
    if header.body_length > reader.remaining:
        raise Truncated(f"body of {header.body_length} octets declared, {reader.remaining} left", reader.position)
    body = reader.take(header.body_length)
    if not reader.remaining:
        return Message(envelope, header, body, None)
    credential = reader.counted(MESSAGE_OCTETS_MAX)
    reader.finish()
    return Message(envelope, header, body, credential)


def decode_message(octets: bytes) -> Message:
    """A whole unencrypted message: envelope and everything behind it.

    Raises :class:`Truncated` or :class:`Malformed` when the octets are not exactly one message and
    :class:`Unsupported` when it is compressed or encrypted (decrypt, then use :func:`decode_payload`).
    """
    envelope = Envelope.decode(Reader(octets))
    if envelope.is_compressed:
        raise Unsupported("compressed messages were never part of the running protocol")
    if envelope.is_encrypted:
        raise Unsupported("the message is encrypted; its session key is needed first")
    rest = len(octets) - ENVELOPE_OCTETS
    if rest < envelope.length:
        raise Truncated(f"message of {envelope.length} octets declared, {rest} there", len(octets))
    if rest > envelope.length:
        raise Malformed(f"{rest - envelope.length} octets behind the message", ENVELOPE_OCTETS + envelope.length)
    return decode_payload(envelope, octets[ENVELOPE_OCTETS:])


def encrypted_octets(envelope: Envelope, ciphertext: bytes) -> bytes:
    """An encrypted message as sent: EC set, length = that of the ciphertext."""
    outer = replace(envelope, flags=envelope.flags | ENCRYPTED, length=len(ciphertext))
    return outer.to_octets() + ciphertext
