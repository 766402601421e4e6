"""Resolving at one server (docs/protocol.md §1.6, §3): UDP first, then TCP, then HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from idnode.adapters import Adapters, real_adapters
from idnode.client.errors import ClientError, NoAnswer, Untrusted, refused
from idnode.client.transports import HttpTransport, TcpTransport, Transport, UdpTransport
from idnode.client.wire import CLEAR, Wire
from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag, ResponseCode
from idnode_protocol.digest import RequestDigest
from idnode_protocol.envelope import Envelope
from idnode_protocol.errors import ProtocolError
from idnode_protocol.handle import from_text
from idnode_protocol.header import EXPIRATION_S, SERIAL_UNKNOWN, Header
from idnode_protocol.message import Message, build
from idnode_protocol.requests import AnyRequest, HandleRequest, ResolutionRequest, encode_request
from idnode_protocol.responses import (
    AnyResponse,
    ErrorResponse,
    ResolutionResponse,
    SiteInfoResponse,
    decode_response,
)
from idnode_protocol.value import HandleValue
from idnode_protocol.values.site import SiteInfo
from idnode_protocol.versions import CURRENT
from idnode_registry.crypto import verify_message

DEFAULT_PORT: Final = 2641


@dataclass(frozen=True, slots=True)
class Record:
    """What a handle resolved to; ``values`` as they came, ``transport`` says how."""

    handle: str
    values: tuple[HandleValue, ...]
    transport: str
    is_authoritative: bool

    def data(self, kind: str) -> bytes | None:
        """The data of the first value of a type, None when there is none."""
        return next((value.data for value in self.values if value.has_type(kind)), None)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response message, checked: it belongs to our request."""

    message: Message
    response: AnyResponse
    transport: str

    @property
    def code(self) -> int:
        return self.message.header.response_code


class Resolver:
    """``async with Resolver("127.0.0.1:2641") as resolver: record = await resolver.resolve("99.900/x")``.

    ``server`` is ``host:port`` (UDP, then TCP) or an ``http://`` or ``https://`` address. ``public_key`` (as in a site
    record) is needed for certified answers.
    """

    def __init__(
        self,
        server: str,
        *,
        adapters: Adapters | None = None,
        transports: Sequence[str] = ("udp", "tcp", "http"),
        http_url: str | None = None,
        public_key: bytes | None = None,
    ) -> None:
        self._owns_adapters = adapters is None
        self.adapters = adapters or real_adapters()
        self.public_key = public_key
        self._server, self._http_url, self._wanted = server, http_url, tuple(transports)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Resolver:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back connections and workers."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._owns_adapters:
            self.adapters.close()

    def _transport(self, kind: str) -> Transport | None:
        """The way of that kind, None when the server's address has none."""
        is_url = "://" in self._server
        if kind == "http":
            url = self._server if is_url else self._http_url
            if url is None:
                return None
            if self._session is None:
                self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
            return HttpTransport(self._session, url)
        if is_url:
            return None
        parts = urlsplit(f"//{self._server}")
        host, port = parts.hostname or "127.0.0.1", parts.port or DEFAULT_PORT
        return (UdpTransport if kind == "udp" else TcpTransport)(self.adapters, host, port)

    def request(self, opcode: int, request: AnyRequest, flags: int = REQUEST_FLAGS, session_id: int = 0) -> Message:
        """A request message with a random id."""
        envelope = Envelope(self.adapters.rng.request_id(), 0, session_id=session_id)
        expiration = int(self.adapters.clock.now()) + EXPIRATION_S
        header = Header(int(opcode), 0, flags, SERIAL_UNKNOWN, expiration=expiration)
        return build(envelope, header, encode_request(request, CURRENT))

    async def ask(self, message: Message, transports: Sequence[str] | None = None, wire: Wire = CLEAR) -> Answer:
        """Send a request by the first way that answers; code 2 means try the next. Raises :class:`NoAnswer`."""
        failures: list[str] = []
        for kind in transports or self._wanted:
            transport = self._transport(kind)
            if transport is None:
                continue
            try:
                async for octets in transport.exchange(wire.to_octets(message)):
                    answer = self._checked(message, octets, transport.name, wire)
                    if answer.code != ResponseCode.ERROR:
                        return answer
                    failures.append(f"{transport.name}: {getattr(answer.response, 'text', '')}")
                    break
            except NoAnswer as wrong:
                failures.append(str(wrong))
        raise NoAnswer("; ".join(failures) or f"{self._server} offers none of {', '.join(self._wanted)}")

    async def ask_many(self, message: Message, transports: Sequence[str], wire: Wire = CLEAR) -> AsyncIterator[Answer]:
        """Every message of a list."""
        for kind in transports:
            transport = self._transport(kind)
            if transport is not None:
                async for octets in transport.exchange(wire.to_octets(message)):
                    yield self._checked(message, octets, transport.name, wire)
                return
        raise NoAnswer(f"{self._server} offers none of {', '.join(transports)}")

    def _checked(self, asked: Message, octets: bytes, transport: str, wire: Wire) -> Answer:
        try:
            return self.accept(asked, wire.from_octets(octets), transport)
        except ProtocolError as wrong:
            raise Untrusted(f"{transport}: the answer cannot be used: {wrong}") from wrong

    def accept(self, asked: Message, message: Message, transport: str) -> Answer:
        """Check id, digest, signature and age of a response in clear; raises :class:`Untrusted`."""
        version = message.envelope.version
        digest, response = decode_response(message.header, message.body, version)
        if message.envelope.request_id != asked.envelope.request_id:
            raise Untrusted(f"{transport}: the answer carries another request id")
        wants_digest = asked.header.has(OpFlag.RD) or message.header.response_code == ResponseCode.AUTHENTICATION_NEEDED
        if wants_digest and digest != RequestDigest.of(version, asked.header_and_body):
            raise Untrusted(f"{transport}: the digest in the answer is not of this request")
        if message.header.expiration <= self.adapters.clock.now():
            raise NoAnswer(f"{transport}: the answer expired")
        is_certified = asked.header.has(OpFlag.CT) and not asked.envelope.session_id
        if is_certified and self.public_key is not None and not verify_message(message, self.public_key):
            raise Untrusted(f"{transport}: the answer is not signed by the server's key")
        return Answer(message, response, transport)

    async def resolve(
        self,
        handle: str,
        *,
        types: Sequence[str] = (),
        indexes: Sequence[int] = (),
        authoritative: bool = False,
        certified: bool = False,
    ) -> Record:
        """The public values of a handle. Raises :class:`HandleNotFound`, :class:`ValuesNotFound`, :class:`Refused`,
        :class:`NoAnswer`, :class:`Untrusted`."""
        flags = REQUEST_FLAGS | (OpFlag.AT if authoritative else 0)
        if certified:
            if self.public_key is None:
                raise ClientError("certified answers are checked with the server's public key, which is not known")
            flags |= OpFlag.CT | OpFlag.RD
        body = ResolutionRequest(from_text(handle), tuple(indexes), tuple(types))
        answer = await self.ask(self.request(OpCode.RESOLUTION, body, flags))
        return record_of(answer, handle)

    async def site(self) -> SiteInfo:
        """The server's site record."""
        answer = await self.ask(self.request(OpCode.GET_SITE_INFO, HandleRequest()))
        if not isinstance(answer.response, SiteInfoResponse):
            raise refused(answer.code, text_of(answer), "site information")
        return SiteInfo.from_octets(answer.response.site)


def text_of(answer: Answer) -> str:
    """The text of an error, empty when there is none."""
    return answer.response.text if isinstance(answer.response, ErrorResponse) else ""


def record_of(answer: Answer, handle: str) -> Record:
    """The record in an answer; raises :class:`Refused` and its kinds."""
    if not isinstance(answer.response, ResolutionResponse):
        raise refused(answer.code, text_of(answer), handle)
    is_authoritative = answer.message.header.has(OpFlag.AT)
    return Record(handle, answer.response.values, answer.transport, is_authoritative)
