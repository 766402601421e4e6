"""The asking side: one request to the primary, its challenge, and the octets of the stream behind the answer.

Whom to believe is settled here and nowhere else: the answer is signed (CT) by a trusted key, and what follows comes
over TLS whose certificate holds a trusted key, or in blocks signed by one (docs/protocol.md §10.1).
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

import aiohttp

from idnode.adapters import Adapters
from idnode.adapters.errors import AdapterError
from idnode.client.administrator import CHALLENGES_MAX, Administrator
from idnode.client.errors import NoAnswer, Untrusted, refused
from idnode.client.resolver import DEFAULT_PORT, Answer, Resolver, text_of
from idnode.replication.tls_pipe import TlsFailed, TlsPipe, client_context, key_of_certificate
from idnode_protocol.codes import REQUEST_FLAGS, OpFlag, ResponseCode
from idnode_protocol.digest import hash_algorithm
from idnode_protocol.errors import ProtocolError
from idnode_protocol.limits import ENVELOPE_OCTETS, MESSAGE_OCTETS_MAX
from idnode_protocol.message import MEDIA_TYPE, Message, decode_message
from idnode_protocol.replication import STREAM_SIGNED, STREAM_TLS, STREAM_UNSIGNED
from idnode_protocol.replication_reader import stream_type
from idnode_protocol.requests import DumpRequest, RetrieveLogRequest
from idnode_registry.crypto import load_public_key, verify_message, verify_signature
from idnode_registry.errors import FeedRefused

CONNECT_S: Final = 10.0
SILENCE_S: Final = 60.0
"""Between two pieces of a stream; the primary reads its store meanwhile."""
READ_AHEAD_OCTETS_MAX: Final = 1024 * 1024
HASHES: Final = frozenset({"sha1", "sha256"})
"""Of signed blocks; the reference writes SHA1."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The primary's public keys, as in site records; one that is not among them is worth nothing."""

    octets: tuple[bytes, ...]

    def signed(self, octets: bytes, signature: bytes, algorithm: str = "sha256") -> bool:
        """Whether one of the keys signed the octets."""
        return any(verify_signature(load_public_key(key), algorithm, signature, octets) for key in self.octets)

    def block_signed(self, hash_name: bytes, octets: bytes, signature: bytes) -> bool:
        """Whether a block of a stream is signed, by a hash the reference uses."""
        try:
            algorithm = hash_algorithm(hash_name)
        except ProtocolError:
            return False
        return algorithm in HASHES and self.signed(octets, signature, algorithm)

    def certified(self, message: Message) -> bool:
        """Whether one of the keys signed the message."""
        return any(verify_message(message, key) for key in self.octets)

    def holds(self, key: bytes) -> bool:
        """Whether a certificate's key is one of them."""
        return any(hmac.compare_digest(key, known) for known in self.octets)


class _Connection(asyncio.Protocol):
    """What arrives, at most 1 MiB ahead of its reader."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._arrived = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has another base class

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > READ_AHEAD_OCTETS_MAX and self._transport is not None:
            self._transport.pause_reading()
        self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._arrived.set()

    async def some(self) -> bytes:
        """What is there, at least one octet; empty when the connection ended."""
        while not self._buffer and not self._is_lost:
            self._arrived.clear()
            await self._arrived.wait()
        octets = bytes(self._buffer)
        self._buffer.clear()
        if self._transport is not None and not self._is_lost:
            self._transport.resume_reading()
        return octets


def _nowhere(octets: bytes) -> None:
    raise AssertionError("nothing is sent on an HTTP connection after the request")


class Line:
    """Octets from the primary, one reader: what was read too far is put back. Every wait ends."""

    def __init__(self, adapters: Adapters, name: str, some: Callable[[], Awaitable[bytes]]) -> None:
        self._clock, self._name, self._some = adapters.clock, name, some
        self._kept = b""
        self.write: Callable[[bytes], object] = _nowhere
        """Sends octets on the same connection."""
        self.certificate_key = b""
        """The key of the certificate of an HTTPS connection."""

    async def some(self) -> bytes:
        """At least one octet, empty at the end. Raises NoAnswer after 60 s of silence."""
        kept, self._kept = self._kept, b""
        if kept:
            return kept
        try:
            async with self._clock.timeout(SILENCE_S):
                return await self._some()
        except TimeoutError as late:
            raise NoAnswer(f"{self._name}: silent for {SILENCE_S:g} s") from late

    async def exactly(self, size: int) -> bytes:
        """So many octets; raises NoAnswer when the connection ends before."""
        found = b""
        while len(found) < size:
            more = await self.some()
            if not more:
                raise NoAnswer(f"{self._name}: the connection was closed after {len(found)} of {size} octets")
            found += more
        self._kept = found[size:]
        return found[:size]

    async def message(self) -> Message:
        """A whole message. Raises NoAnswer and ProtocolError."""
        envelope = await self.exactly(ENVELOPE_OCTETS)
        length = int.from_bytes(envelope[16:20], "big")
        if length > MESSAGE_OCTETS_MAX:
            raise NoAnswer(f"{self._name}: a message of {length} octets is announced")
        return decode_message(envelope + await self.exactly(length))


@dataclass(slots=True)
class OpenStream:
    """A stream: its type, and the octets behind it in pieces."""

    kind: int
    pieces: AsyncIterator[bytes]

    @property
    def has_signatures(self) -> bool:
        return self.kind == STREAM_SIGNED


class Puller:
    """Asks one primary. ``needs_tls``: a stream that is only signed block by block is not enough."""

    def __init__(self, resolver: Resolver, administrator: Administrator, keys: Keys, *, needs_tls: bool) -> None:
        self._resolver, self._administrator = resolver, administrator
        self._keys, self._needs_tls = keys, needs_tls
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Give back connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def stream(self, opcode: int, request: RetrieveLogRequest | DumpRequest) -> AsyncIterator[OpenStream]:
        """The stream of a request, closed at the end of the block.

        Raises NoAnswer, Refused (by the primary), Untrusted, and FeedRefused when a key is not the primary's.
        """
        message = self._resolver.request(opcode, request, REQUEST_FLAGS | OpFlag.CT)
        for _ in range(CHALLENGES_MAX + 1):
            async with self._line(message) as line:
                answer = await self._answer(message, line)
                if answer.code == ResponseCode.SUCCESS:
                    yield await self._begin(line)
                    return
            if answer.code != ResponseCode.AUTHENTICATION_NEEDED:
                raise refused(answer.code, text_of(answer), self._resolver.server)
            message = await self._administrator.prove(message, answer)
        raise NoAnswer(f"{self._resolver.server}: challenged more than {CHALLENGES_MAX} times")

    def _line(self, message: Message) -> AbstractAsyncContextManager[Line]:
        return self._https(message) if "://" in self._resolver.server else self._tcp(message)

    @asynccontextmanager
    async def _tcp(self, message: Message) -> AsyncIterator[Line]:
        adapters, server = self._resolver.adapters, self._resolver.server
        parts = urlsplit(f"//{server}")
        try:
            async with adapters.clock.timeout(CONNECT_S):
                transport, connection = await adapters.net.dial_stream(
                    _Connection, parts.hostname or "127.0.0.1", parts.port or DEFAULT_PORT
                )
        except (AdapterError, TimeoutError) as wrong:
            raise NoAnswer(f"{server}: {str(wrong) or 'no connection in time'}") from wrong
        try:
            transport.write(message.to_octets())
            line = Line(adapters, server, connection.some)
            line.write = transport.write
            yield line
        finally:
            transport.close()

    @asynccontextmanager
    async def _https(self, message: Message) -> AsyncIterator[Line]:
        server = self._resolver.server
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S))
        headers = {"Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE}
        try:
            async with self._session.post(server, data=message.to_octets(), headers=headers, ssl=False) as response:
                if response.content_type != MEDIA_TYPE:
                    raise NoAnswer(f"{server}: there is no handle server behind this address")
                line = Line(self._resolver.adapters, server, response.content.readany)
                tls = None if response.connection is None else response.connection.transport
                found = None if tls is None else tls.get_extra_info("ssl_object")
                line.certificate_key = key_of_certificate(None if found is None else found.getpeercert(True))
                yield line
        except aiohttp.ClientError as wrong:
            raise NoAnswer(f"{server}: {wrong}") from wrong

    async def _answer(self, asked: Message, line: Line) -> Answer:
        """The response: to this request, signed by one of the keys."""
        server = self._resolver.server
        try:
            message = await line.message()
            answer = self._resolver.accept(asked, message, server)
            is_certified = await self._resolver.adapters.run_blocking(self._keys.certified, message)
        except ProtocolError as wrong:
            raise Untrusted(f"{server}: the answer cannot be used: {wrong}") from wrong
        if not is_certified:
            raise FeedRefused("key", "the answer is signed by none of the keys this mirror trusts")
        return answer

    async def _begin(self, line: Line) -> OpenStream:
        """What follows the message, up to the first octet of the stream itself."""
        try:
            kind = stream_type(await line.exactly(4))
        except ProtocolError as wrong:
            raise FeedRefused("malformed", str(wrong)) from wrong
        if kind == STREAM_TLS:
            return OpenStream(kind, self._in_tls(line))
        if kind == STREAM_UNSIGNED and not self._keys.holds(line.certificate_key):
            raise FeedRefused("key", "an unsigned stream that does not come over HTTPS with the primary's key")
        if kind == STREAM_SIGNED and self._needs_tls and not self._keys.holds(line.certificate_key):
            text = "the primary signs block by block, which does not keep old blocks out; an idnode offers TLS"
            raise FeedRefused("key", text)
        return OpenStream(kind, self._as_it_is(line))

    @staticmethod
    async def _as_it_is(line: Line) -> AsyncIterator[bytes]:
        while octets := await line.some():
            yield octets

    async def _in_tls(self, line: Line) -> AsyncIterator[bytes]:
        """The plaintext; the peer's key is looked at before the first octet of it."""
        pipe = TlsPipe(client_context(), server_side=False)
        is_checked = False
        try:
            pipe.receive()
            line.write(pipe.outgoing())
            while octets := await line.some():
                plain = pipe.receive(octets)
                line.write(pipe.outgoing())
                if pipe.is_open and not is_checked:
                    if not self._keys.holds(pipe.peer_key):
                        raise FeedRefused("key", "the TLS certificate holds none of the keys this mirror trusts")
                    is_checked = True
                if plain:
                    yield plain
        except TlsFailed as wrong:
            raise NoAnswer(f"{self._resolver.server}: {wrong}") from wrong
