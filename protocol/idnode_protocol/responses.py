"""Response bodies, one frozen class each, and how a body is told apart (docs/protocol.md §3.7; RFC 3652 §3).

If RD is set in the response's flags every body is preceded by the digest of the request. Which class follows is decided
by the response code first and the opcode second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from idnode_protocol.codes import OpCode, OpFlag, ResponseCode, opcode_name
from idnode_protocol.digest import RequestDigest
from idnode_protocol.errors import Malformed, Unsupported
from idnode_protocol.header import Header
from idnode_protocol.limits import ARRAY_OCTETS_MAX, HANDLES_PER_LIST_MAX
from idnode_protocol.octets import Reader, Writer
from idnode_protocol.value import HandleValue, decode_values, encode_values
from idnode_protocol.versions import V2_1, V2_5, Version, older


@dataclass(frozen=True, slots=True)
class EmptyResponse:
    """Success of delete, add, remove, modify, home, unhome, terminate, key exchange, backup and dump."""

    tail: bytes = b""

    def encode(self, writer: Writer) -> None:
        writer.raw(self.tail)

    @classmethod
    def decode(cls, reader: Reader) -> EmptyResponse:
        return cls(reader.rest())


@dataclass(frozen=True, slots=True)
class ResolutionResponse:
    """Success of opcode 1: the name as it was asked, and the values."""

    handle: bytes
    values: tuple[HandleValue, ...]

    def encode(self, writer: Writer) -> None:
        writer.counted(self.handle)
        encode_values(self.values, writer)

    @classmethod
    def decode(cls, reader: Reader) -> ResolutionResponse:
        found = cls(reader.handle(), decode_values(reader))
        reader.finish()
        return found


def resolution_body(handle: bytes, value_list: bytes) -> bytes:
    """The body of a successful resolution from value-list octets as stored; nothing is decoded."""
    return b"".join((len(handle).to_bytes(4, "big"), handle, value_list))


@dataclass(frozen=True, slots=True)
class CreateResponse:
    """Success of opcode 100: the final name (minted suffixes); None = an older server that says nothing."""

    handle: bytes | None

    def encode(self, writer: Writer) -> None:
        if self.handle is not None:
            writer.counted(self.handle)

    @classmethod
    def decode(cls, reader: Reader) -> CreateResponse:
        if not reader.remaining:
            return cls(None)
        created = cls(reader.handle())
        reader.finish()
        return created


@dataclass(frozen=True, slots=True)
class ListResponse:
    """Success of opcodes 105 and 302: names; CN in the flags says that another message follows."""

    handles: tuple[bytes, ...]

    def encode(self, writer: Writer) -> None:
        writer.u32(len(self.handles))
        for handle in self.handles:
            writer.counted(handle)

    @classmethod
    def decode(cls, reader: Reader) -> ListResponse:
        number = reader.count(HANDLES_PER_LIST_MAX, 4)
        listed = cls(tuple(reader.handle() for _ in range(number)))
        reader.finish()
        return listed


@dataclass(frozen=True, slots=True)
class SiteInfoResponse:
    """Success of opcode 2: an HS_SITE record to the end of the body."""

    site: bytes

    def encode(self, writer: Writer) -> None:
        writer.raw(self.site)

    @classmethod
    def decode(cls, reader: Reader) -> SiteInfoResponse:
        return cls(reader.rest())


@dataclass(frozen=True, slots=True)
class VerifyResponse:
    """Success of opcode 201: 1 = the proof is right, 0 = it is not."""

    is_valid: bool

    def encode(self, writer: Writer) -> None:
        writer.u8(int(self.is_valid))

    @classmethod
    def decode(cls, reader: Reader) -> VerifyResponse:
        octet = reader.u8()
        if octet > 1:
            raise Malformed(f"verification result {octet} is neither 0 nor 1", reader.position - 1)
        reader.finish()
        return cls(bool(octet))


@dataclass(frozen=True, slots=True)
class SessionSetupResponse:
    """Success of opcode 400: mode, key material, two octets of padding."""

    mode: int
    data: bytes
    tail: bytes = b"\0\0"

    def encode(self, writer: Writer) -> None:
        writer.u16(self.mode).counted(self.data).raw(self.tail)

    @classmethod
    def decode(cls, reader: Reader) -> SessionSetupResponse:
        return cls(reader.u16(), reader.counted(16_384), reader.rest())


@dataclass(frozen=True, slots=True)
class NextTxnIdResponse:
    """Success of opcode 1000, which the stock server never sends."""

    txn_id: int

    def encode(self, writer: Writer) -> None:
        writer.i64(self.txn_id)

    @classmethod
    def decode(cls, reader: Reader) -> NextTxnIdResponse:
        found = cls(reader.i64())
        reader.finish()
        return found


@dataclass(frozen=True, slots=True)
class RetrieveLogResponse:
    """Success of opcode 1001; a stream follows the message. Bit 0 of ``flags`` = keep alive."""

    flags: int
    tail: bytes = b""

    def encode(self, writer: Writer) -> None:
        writer.u8(self.flags).raw(self.tail)

    @classmethod
    def decode(cls, reader: Reader) -> RetrieveLogResponse:
        return cls(reader.u8(), reader.rest())


@dataclass(frozen=True, slots=True)
class ChallengeResponse:
    """Response code 402: 16 random octets; the digest of the challenged request stands before them.

    Version 2.0 wrote the digest behind the nonce, as a plain array: ``old_digest``.
    """

    nonce: bytes
    old_digest: bytes | None = None

    def encode(self, writer: Writer) -> None:
        writer.counted(self.nonce)
        if self.old_digest is not None:
            writer.counted(self.old_digest)

    @classmethod
    def decode(cls, reader: Reader) -> ChallengeResponse:
        nonce = reader.counted(1024)
        old = reader.counted(64) if reader.remaining else None
        reader.finish()
        return cls(nonce, old)


@dataclass(frozen=True, slots=True)
class ReferralResponse:
    """Response codes 302 and 303: a name to ask about (may be empty) and, optionally, the values that say where."""

    handle: bytes
    values: tuple[HandleValue, ...] | None = None

    def encode(self, writer: Writer) -> None:
        writer.counted(self.handle)
        if self.values is not None:
            encode_values(self.values, writer)

    @classmethod
    def decode(cls, reader: Reader) -> ReferralResponse:
        handle = reader.handle()
        values = decode_values(reader) if reader.remaining else None
        reader.finish()
        return cls(handle, values)


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """Every other response code: a text for people, perhaps empty (None: no field at all); what follows it is kept."""

    message: bytes | None = b""
    tail: bytes = b""

    @property
    def text(self) -> str:
        return (self.message or b"").decode("utf-8", "replace")

    def encode(self, writer: Writer) -> None:
        if self.message is not None:
            writer.counted(self.message).raw(self.tail)

    @classmethod
    def decode(cls, reader: Reader) -> ErrorResponse:
        if not reader.remaining:
            return cls(None)
        return cls(reader.counted(ARRAY_OCTETS_MAX), reader.rest())


AnyResponse = (
    EmptyResponse
    | ResolutionResponse
    | CreateResponse
    | ListResponse
    | SiteInfoResponse
    | VerifyResponse
    | SessionSetupResponse
    | NextTxnIdResponse
    | RetrieveLogResponse
    | ChallengeResponse
    | ReferralResponse
    | ErrorResponse
)

_SUCCESS: Final[dict[int, Callable[[Reader], AnyResponse]]] = {
    OpCode.RESOLUTION: ResolutionResponse.decode,
    OpCode.GET_SITE_INFO: SiteInfoResponse.decode,
    OpCode.CREATE_HANDLE: CreateResponse.decode,
    OpCode.DELETE_HANDLE: EmptyResponse.decode,
    OpCode.ADD_VALUES: EmptyResponse.decode,
    OpCode.REMOVE_VALUES: EmptyResponse.decode,
    OpCode.MODIFY_VALUES: EmptyResponse.decode,
    OpCode.LIST_HANDLES: ListResponse.decode,
    OpCode.VERIFY_ANSWER: VerifyResponse.decode,
    OpCode.HOME_PREFIX: EmptyResponse.decode,
    OpCode.UNHOME_PREFIX: EmptyResponse.decode,
    OpCode.LIST_HOMED_PREFIXES: ListResponse.decode,
    OpCode.SESSION_SETUP: SessionSetupResponse.decode,
    OpCode.SESSION_TERMINATE: EmptyResponse.decode,
    OpCode.SESSION_KEY_EXCHANGE: EmptyResponse.decode,
    OpCode.GET_NEXT_TXN_ID: NextTxnIdResponse.decode,
    OpCode.RETRIEVE_TXN_LOG: RetrieveLogResponse.decode,
    OpCode.DUMP_HANDLES: EmptyResponse.decode,
    OpCode.BACKUP_SERVER: EmptyResponse.decode,
}
_BY_CODE: Final[dict[int, Callable[[Reader], AnyResponse]]] = {
    ResponseCode.AUTHENTICATION_NEEDED: ChallengeResponse.decode,
    ResponseCode.SERVICE_REFERRAL: ReferralResponse.decode,
    ResponseCode.PREFIX_REFERRAL: ReferralResponse.decode,
}


def decode_response(header: Header, body: bytes, version: Version) -> tuple[RequestDigest | None, AnyResponse]:
    """(digest of the request or None, response). ``version`` is the message's own.

    Raises :class:`Malformed`, :class:`Truncated`, :class:`LimitExceeded`; :class:`Unsupported` for a success of an
    opcode that has none.
    """
    if header.is_request:
        raise Malformed("a request stands where a response is expected")
    reader = Reader(body)
    old_challenge = header.response_code == ResponseCode.AUTHENTICATION_NEEDED and older(version, V2_1)
    digest = RequestDigest.decode(reader) if header.has(OpFlag.RD) and not old_challenge else None
    decoder = _BY_CODE.get(header.response_code)
    if decoder is None and header.response_code == ResponseCode.SUCCESS:
        decoder = _SUCCESS.get(header.opcode)
        if decoder is None:
            raise Unsupported(f"{opcode_name(header.opcode)} has no successful response")
    return digest, (decoder or ErrorResponse.decode)(reader)


def encode_response(response: AnyResponse, digest: RequestDigest | None = None) -> bytes:
    """The body octets of a response; raises :class:`NotEncodable`."""
    writer = Writer()
    if digest is not None:
        digest.encode(writer)
    response.encode(writer)
    return writer.to_octets()


def code_on_wire(code: int, version: Version) -> int:
    """Peers whose message version is below 2.5 know neither 7 nor 202 (docs/protocol.md §3.5)."""
    if older(version, V2_5):
        return {7: 303, 202: 201}.get(code, code)
    return code
