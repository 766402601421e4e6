"""Request bodies, one frozen class each, and the table opcode -> class (docs/protocol.md §3.6; RFC 3652 §3).

Fields are taken from where they stand, never from bodyLength; octets behind the last known field are kept in ``tail``
so that a request re-encodes to what was received (padding of session set-up, the extra field of other SDKs).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, Self

from idnode_protocol.codes import OpCode, opcode_name
from idnode_protocol.errors import Malformed, Unsupported
from idnode_protocol.limits import HANDLE_OCTETS_MAX, INDEXES_PER_REQUEST_MAX, TYPES_PER_REQUEST_MAX
from idnode_protocol.octets import Reader, Writer
from idnode_protocol.value import HandleValue, decode_values, encode_values
from idnode_protocol.versions import V2_9, Version, older

NO_HANDLE: Final = b"/"
"""Stands where a request means no handle."""


class RequestBody(Protocol):
    """What every request body offers."""

    @property
    def handle(self) -> bytes:
        """The name the request is about; ``/`` where none is meant."""
        ...

    def encode(self, writer: Writer, version: Version) -> None: ...

    @classmethod
    def decode(cls, reader: Reader, version: Version) -> Self: ...


def _encode_indexes(indexes: tuple[int, ...], writer: Writer) -> None:
    writer.u32(len(indexes))
    for index in indexes:
        writer.i32(index)


def _decode_indexes(reader: Reader) -> tuple[int, ...]:
    return tuple(reader.i32() for _ in range(reader.count(INDEXES_PER_REQUEST_MAX, 4)))


@dataclass(frozen=True, slots=True)
class ResolutionRequest:
    """Opcode 1: the values selected by index or by type; both lists empty = all."""

    handle: bytes
    indexes: tuple[int, ...] = ()
    types: tuple[str, ...] = ()
    tail: bytes = b""

    def encode(self, writer: Writer, version: Version) -> None:
        writer.counted(self.handle)
        _encode_indexes(self.indexes, writer)
        writer.u32(len(self.types))
        for kind in self.types:
            writer.text(kind)
        writer.raw(self.tail)

    @classmethod
    def decode(cls, reader: Reader, version: Version) -> ResolutionRequest:
        handle, indexes = reader.handle(), _decode_indexes(reader)
        number = reader.count(TYPES_PER_REQUEST_MAX, 4)
        types = tuple(reader.text() for _ in range(number))
        return cls(handle, indexes, types, reader.rest())


@dataclass(frozen=True, slots=True)
class HandleRequest:
    """Opcodes 2, 101, 105, 300, 301, 302, 401, 1000, 1003: a name and nothing else."""

    handle: bytes = NO_HANDLE
    tail: bytes = b""

    def encode(self, writer: Writer, version: Version) -> None:
        writer.counted(self.handle).raw(self.tail)

    @classmethod
    def decode(cls, reader: Reader, version: Version) -> HandleRequest:
        return cls(reader.handle(), reader.rest())


@dataclass(frozen=True, slots=True)
class ValuesRequest:
    """Opcodes 100, 102, 104: a name and the values to create, add or put in place of those with the same index."""

    handle: bytes
    values: tuple[HandleValue, ...]
    tail: bytes = b""

    def encode(self, writer: Writer, version: Version) -> None:
        writer.counted(self.handle)
        encode_values(self.values, writer)
        writer.raw(self.tail)

    @classmethod
    def decode(cls, reader: Reader, version: Version) -> ValuesRequest:
        return cls(reader.handle(), decode_values(reader), reader.rest())


@dataclass(frozen=True, slots=True)
class RemoveValuesRequest:
    """Opcode 103: a name and the indexes to remove."""

    handle: bytes
    indexes: tuple[int, ...]
    tail: bytes = b""

    def encode(self, writer: Writer, version: Version) -> None:
        writer.counted(self.handle)
        _encode_indexes(self.indexes, writer)
        writer.raw(self.tail)

    @classmethod
    def decode(cls, reader: Reader, version: Version) -> RemoveValuesRequest:
        return cls(reader.handle(), _decode_indexes(reader), reader.rest())


@dataclass(frozen=True, slots=True)
class ChallengeAnswerRequest:
    """Opcode 200: the proof for a challenge, whose number is the envelope's session id."""

    auth_type: str
    user_handle: bytes
    user_index: int
    signed_response: bytes
    tail: bytes = b""
    handle: ClassVar[bytes] = NO_HANDLE

    def encode(self, writer: Writer, version: Version) -> None:
        writer.text(self.auth_type).counted(self.user_handle).i32(self.user_index)
        writer.counted(self.signed_response).raw(self.tail)

    @classmethod
    def decode(cls, reader: Reader, version: Version) -> ChallengeAnswerRequest:
        auth_type, user, index = reader.text(), reader.handle(), reader.i32()
        return cls(auth_type, user, index, reader.counted(), reader.rest())


_DIGEST_OCTETS: Final = {1: 16, 2: 20, 3: 32}


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """Opcode 201: does this proof belong to that secret key? ``digest_code`` 0 = the digest came as a plain array."""

    user_handle: bytes
    user_index: int
    nonce: bytes
    request_digest: bytes
    signed_response: bytes
    digest_code: int = 0
    tail: bytes = b""

    @property
    def handle(self) -> bytes:
        return self.user_handle

    def encode(self, writer: Writer, version: Version) -> None:
        writer.counted(self.user_handle).i32(self.user_index).counted(self.nonce)
        if self.digest_code:
            writer.u8(self.digest_code).raw(self.request_digest)
        else:
            writer.counted(self.request_digest)
        writer.counted(self.signed_response).raw(self.tail)

    @classmethod
    def decode(cls, reader: Reader, version: Version) -> VerifyRequest:
        user, index, nonce = reader.handle(), reader.i32(), reader.counted(1024)
        code = reader.u8()
        if code == 0:
            digest = reader.take(int.from_bytes(reader.take(3), "big"))
        elif code in _DIGEST_OCTETS:
            digest = reader.take(_DIGEST_OCTETS[code])
        else:
            raise Malformed(f"unknown digest code {code}", reader.position - 1)
        return cls(user, index, nonce, digest, reader.counted(), code, reader.rest())


MODE_CLIENT_KEY: Final = 1
MODE_SERVER_KEY: Final = 2
MODE_KEY_FROM_HANDLE: Final = 3
MODE_DIFFIE_HELLMAN: Final = 4


@dataclass(frozen=True, slots=True)
class SessionSetupRequest:
    """Opcode 400. ``timeout`` in seconds; the two zero octets at the end count in bodyLength and are the ``tail``."""

    mode: int
    timeout: int
    identity_handle: bytes
    identity_index: int
    public_key: bytes = b""
    key_handle: bytes = b""
    key_index: int = 0
    tail: bytes = b"\0\0"
    handle: ClassVar[bytes] = NO_HANDLE

    def encode(self, writer: Writer, version: Version) -> None:
        writer.u16(self.mode).i32(self.timeout).counted(self.identity_handle).i32(self.identity_index)
        if self.mode in (MODE_CLIENT_KEY, MODE_DIFFIE_HELLMAN):
            writer.counted(self.public_key)
        elif self.mode == MODE_KEY_FROM_HANDLE:
            writer.counted(self.key_handle).i32(self.key_index)
        writer.raw(self.tail)

    @classmethod
    def decode(cls, reader: Reader, version: Version) -> SessionSetupRequest:
        mode, timeout, identity, index = reader.u16(), reader.i32(), reader.handle(), reader.i32()
        public_key, key_handle, key_index = b"", b"", 0
        if mode in (MODE_CLIENT_KEY, MODE_DIFFIE_HELLMAN):
            public_key = reader.counted(16_384)
        elif mode == MODE_KEY_FROM_HANDLE:
            key_handle, key_index = reader.handle(), reader.i32()
        elif mode != MODE_SERVER_KEY:
            raise Malformed(f"unknown session mode {mode}", reader.position)
        return cls(mode, timeout, identity, index, public_key, key_handle, key_index, reader.rest())


@dataclass(frozen=True, slots=True)
class KeyExchangeRequest:
    """Opcode 402: a session key encrypted for the server (modes that this software does not offer)."""

    encrypted_key: bytes
    tail: bytes = b""
    handle: ClassVar[bytes] = NO_HANDLE

    def encode(self, writer: Writer, version: Version) -> None:
        writer.counted(self.encrypted_key).raw(self.tail)

    @classmethod
    def decode(cls, reader: Reader, version: Version) -> KeyExchangeRequest:
        return cls(reader.counted(16_384), reader.rest())


@dataclass(frozen=True, slots=True)
class RetrieveLogRequest:
    """Opcode 1001: changes since a state. ``state``: JSON text of several queues; else id and date (ms) of one."""

    state: bytes | None
    last_txn_id: int
    last_query_ms: int
    hash_type: int
    servers: int
    server_number: int
    tail: bytes = b""
    handle: ClassVar[bytes] = NO_HANDLE

    def encode(self, writer: Writer, version: Version) -> None:
        if self.state is not None:
            writer.u8(1).counted(self.state)
        else:
            if not older(version, V2_9):
                writer.u8(0)
            writer.i64(self.last_txn_id).i64(self.last_query_ms)
        writer.u8(self.hash_type).i32(self.servers).i32(self.server_number).raw(self.tail)

    @classmethod
    def decode(cls, reader: Reader, version: Version) -> RetrieveLogRequest:
        form = 0 if older(version, V2_9) else reader.u8()
        if form > 1:
            raise Malformed(f"unknown form {form} of a log request", reader.position - 1)
        state, txn_id, date = None, 0, 0
        if form == 1:
            state = reader.counted()
        else:
            txn_id, date = reader.i64(), reader.i64()
        return cls(state, txn_id, date, reader.u8(), reader.i32(), reader.i32(), reader.rest())


@dataclass(frozen=True, slots=True)
class DumpRequest:
    """Opcode 1002: everything, or the rest after ``starting_point``."""

    hash_type: int
    servers: int
    server_number: int
    starting_point: bytes | None = None
    starting_point_type: int = 0
    tail: bytes = b""
    handle: ClassVar[bytes] = NO_HANDLE

    def encode(self, writer: Writer, version: Version) -> None:
        writer.u8(self.hash_type).i32(self.servers).i32(self.server_number)
        if self.starting_point is not None:
            writer.counted(self.starting_point).i32(self.starting_point_type)
        writer.raw(self.tail)

    @classmethod
    def decode(cls, reader: Reader, version: Version) -> DumpRequest:
        hash_type, servers, number = reader.u8(), reader.i32(), reader.i32()
        start, kind = None, 0
        if reader.remaining >= 8:
            start, kind = reader.counted(HANDLE_OCTETS_MAX), reader.i32()
        return cls(hash_type, servers, number, start, kind, reader.rest())


AnyRequest = (
    ResolutionRequest
    | HandleRequest
    | ValuesRequest
    | RemoveValuesRequest
    | ChallengeAnswerRequest
    | VerifyRequest
    | SessionSetupRequest
    | KeyExchangeRequest
    | RetrieveLogRequest
    | DumpRequest
)

_DECODERS: Final[dict[int, Callable[[Reader, Version], AnyRequest]]] = {
    OpCode.RESOLUTION: ResolutionRequest.decode,
    OpCode.GET_SITE_INFO: HandleRequest.decode,
    OpCode.CREATE_HANDLE: ValuesRequest.decode,
    OpCode.DELETE_HANDLE: HandleRequest.decode,
    OpCode.ADD_VALUES: ValuesRequest.decode,
    OpCode.REMOVE_VALUES: RemoveValuesRequest.decode,
    OpCode.MODIFY_VALUES: ValuesRequest.decode,
    OpCode.LIST_HANDLES: HandleRequest.decode,
    OpCode.CHALLENGE_ANSWER: ChallengeAnswerRequest.decode,
    OpCode.VERIFY_ANSWER: VerifyRequest.decode,
    OpCode.HOME_PREFIX: HandleRequest.decode,
    OpCode.UNHOME_PREFIX: HandleRequest.decode,
    OpCode.LIST_HOMED_PREFIXES: HandleRequest.decode,
    OpCode.SESSION_SETUP: SessionSetupRequest.decode,
    OpCode.SESSION_TERMINATE: HandleRequest.decode,
    OpCode.SESSION_KEY_EXCHANGE: KeyExchangeRequest.decode,
    OpCode.GET_NEXT_TXN_ID: HandleRequest.decode,
    OpCode.RETRIEVE_TXN_LOG: RetrieveLogRequest.decode,
    OpCode.DUMP_HANDLES: DumpRequest.decode,
    OpCode.BACKUP_SERVER: HandleRequest.decode,
}


def decode_request(opcode: int, body: bytes, version: Version) -> AnyRequest:
    """The request in a body. ``version`` is the message's own.

    Raises :class:`Unsupported` for an unknown opcode, :class:`Malformed`, :class:`Truncated`, :class:`LimitExceeded`.
    """
    decoder = _DECODERS.get(opcode)
    if decoder is None:
        raise Unsupported(f"{opcode_name(opcode)} is not an operation of this protocol")
    return decoder(Reader(body), version)


def encode_request(request: AnyRequest, version: Version) -> bytes:
    """The body octets of a request; raises :class:`NotEncodable`."""
    writer = Writer()
    request.encode(writer, version)
    return writer.to_octets()
