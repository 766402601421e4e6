"""Turning a reply into the octets of its response message (docs/protocol.md §3.3, §3.7, §3.8, §5.5, §5.7).

The rules of which bits, which digest and which version a response carries stand here and nowhere else. Signing costs a
worker's time and is done by the engine afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from idnode_protocol.codes import RESPONSE_COPIED_FLAGS, OpFlag, ResponseCode
from idnode_protocol.digest import RequestDigest
from idnode_protocol.envelope import ENCRYPTED, SUGGESTED_MAJOR_MASK, Envelope
from idnode_protocol.header import EXPIRATION_S, Header
from idnode_protocol.limits import ENVELOPE_OCTETS, HEADER_OCTETS, MESSAGE_OCTETS_MAX
from idnode_protocol.message import Message, build
from idnode_protocol.responses import ChallengeResponse, EmptyResponse, ErrorResponse, code_on_wire, encode_response
from idnode_protocol.versions import CURRENT, V2_1, Version, answered_version, older
from idnode_registry.ask import Reply

EMPTY_CREDENTIAL: Final = b"\0\0\0\0"
STALE_EXPIRATION_S: Final = 30
OVERHEAD_OCTETS: Final = HEADER_OCTETS + len(EMPTY_CREDENTIAL)


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What every response says about the server's site."""

    serial: int
    is_primary: bool

    @property
    def flags(self) -> int:
        return int(OpFlag.AT | OpFlag.REC) if self.is_primary else int(OpFlag.REC)


def response_flags(request_flags: int, reply: Reply, site: SiteFacts) -> int:
    """opFlags of a response; a challenge always carries the digest of what it challenges, a copy never AT."""
    flags = (request_flags & RESPONSE_COPIED_FLAGS) | site.flags | reply.flags
    if reply.freshness is not None and not reply.freshness.is_authoritative:
        flags &= ~OpFlag.AT
    return flags | OpFlag.RD if reply.code == ResponseCode.AUTHENTICATION_NEEDED else flags


def response_body(request: Message, reply: Reply, flags: int, envelope: Envelope) -> bytes:
    """The body octets, the digest of the request in front when RD is set."""
    response = reply.response or (EmptyResponse() if reply.is_success else ErrorResponse())
    digest = None
    if flags & OpFlag.RD:
        digest = RequestDigest.of(envelope.version, request.header_and_body)
        if isinstance(response, ChallengeResponse) and older(envelope.version, V2_1):
            return encode_response(ChallengeResponse(response.nonce, digest.octets))
    if reply.octets is not None:
        return (encode_response(EmptyResponse(), digest) if digest else b"") + reply.octets
    return encode_response(response, digest)


def respond(
    answered: Message, original: Message, reply: Reply, site: SiteFacts, now: float, *, session_id: int = 0
) -> Message:
    """The response to ``original``; its request id is that of ``answered`` (another message for opcode 200).

    A body too large for any message becomes response code 2 with a text: nothing can carry it.
    """
    envelope = Envelope(
        answered.envelope.request_id, 0, answered.envelope.answered_version, CURRENT, session_id=session_id
    )
    flags = response_flags(original.header.flags, reply, site)
    body = response_body(original, reply, flags, envelope)
    code = reply.code
    if OVERHEAD_OCTETS + len(body) > MESSAGE_OCTETS_MAX - 1024:
        code = ResponseCode.ERROR
        too_large = Reply(code, ErrorResponse(b"the answer does not fit into a message; ask for fewer values"))
        body = response_body(original, too_large, flags, envelope)
    header = Header(
        original.header.opcode,
        code_on_wire(code, envelope.version),
        flags,
        site.serial,
        original.header.recursion_count,
        0,
        int(now) + expiration_s(reply),
    )
    return build(envelope, header, body)


def expiration_s(reply: Reply) -> int:
    """Seconds until a response expires: 12 h; 30 s when its time is really over and its server is gone."""
    is_stale = reply.freshness is not None and reply.freshness.is_stale
    return STALE_EXPIRATION_S if is_stale else EXPIRATION_S


def error_to_envelope(octets: bytes, code: int, text: str, site: SiteFacts, now: float) -> bytes | None:
    """An error for a message whose inside could not be read: opcode 0, the request id echoed when there is one.

    None when not even an envelope was there, or when what can be seen is itself a response: answering an answer is how
    two servers are made to talk for ever (CVE-2024-2169).
    """
    if len(octets) < ENVELOPE_OCTETS:
        return None
    header = octets[ENVELOPE_OCTETS : ENVELOPE_OCTETS + 8]
    encrypted = octets[2] & ENCRYPTED
    if not encrypted and (len(header) < 8 or header[4:] != b"\0\0\0\0"):
        return None
    opcode = 0 if encrypted else int.from_bytes(header[:4], "big", signed=True)
    body = encode_response(ErrorResponse(text.encode("utf-8")))
    asked = Version(octets[0], octets[1])
    version = answered_version(asked, Version(octets[2] & SUGGESTED_MAJOR_MASK, octets[3]))
    envelope = Envelope(int.from_bytes(octets[8:12], "big"), 0, version, CURRENT)
    return build(
        envelope, Header(opcode, code, site.flags, site.serial, 0, 0, int(now) + EXPIRATION_S), body
    ).to_octets()
