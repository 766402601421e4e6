"""The one request the harness sends and the one reply it accepts (docs/protocol.md §3.1, §3.2, §3.6, §3.7)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct, pack, unpack_from

from idnode_bench.population import BenchRecord

# version, suggestion, session, request id, sequence, message length | opcode, response code, flags, site serial,
# recursion count, reserved, expiration, body length
_HEAD = Struct(">4B4I 3IHBBII")
_FLAGS_PLAIN = 0x19000000
_SITE_UNKNOWN = 0xFFFF
_EXPIRES = 0x7FFFFFFF
"""Servers do not check a request's expiration (docs/protocol.md §3.2): the same octets every time."""
_REQUEST_ID_AT = 8
_EXPIRATION_AT = 36


@dataclass(frozen=True, slots=True)
class AnswerStyle:
    """What an answer's header says besides the record: a server's habit, learnt from one probe and then required."""

    flags: int = 0x99000000
    site_serial: int = 1


def request_octets(handle: bytes, request_id: int) -> bytes:
    """A plain resolution request for all values, protocol 2.11."""
    body = pack(">I", len(handle)) + handle + bytes(8)
    envelope = (2, 11, 2, 11, 0, request_id, 0, 28 + len(body))
    return _HEAD.pack(*envelope, 1, 0, _FLAGS_PLAIN, _SITE_UNKNOWN, 0, 0, _EXPIRES, len(body)) + body + bytes(4)


def reply_octets(record: BenchRecord, style: AnswerStyle) -> bytes:
    """The answer to it with request id and expiration 0."""
    body = pack(">I", len(record.handle)) + record.handle + record.values
    head = _HEAD.pack(2, 11, 2, 11, 0, 0, 0, 28 + len(body), 1, 1, style.flags, style.site_serial, 0, 0, 0, len(body))
    return head + body + bytes(4)


def without_volatile(reply: bytes) -> bytes:
    """The reply with request id and expiration set to 0, comparable with :func:`reply_octets`."""
    between = reply[_REQUEST_ID_AT + 4 : _EXPIRATION_AT]
    return reply[:_REQUEST_ID_AT] + bytes(4) + between + bytes(4) + reply[_EXPIRATION_AT + 4 :]


def request_id_of(reply: bytes) -> int:
    """The request id of a datagram, or -1 if it is too short to be a message."""
    return int(unpack_from(">I", reply, _REQUEST_ID_AT)[0]) if len(reply) >= _HEAD.size else -1


def style_of(reply: bytes) -> AnswerStyle:
    """How the server writes its header; needs a whole message."""
    flags, site_serial = unpack_from(">IH", reply, 28)
    return AnswerStyle(flags, site_serial)
