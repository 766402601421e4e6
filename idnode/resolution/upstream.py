"""One request to one server and its checked answer; equal requests under way share one exchange.

An answer is believed when it carries our 32-bit id, came from the address asked to a port that is this exchange's own,
is a response to our opcode, and repeats the digest of our request (RD). By datagram the digest is demanded; what lacks
it, or comes in several datagrams from an address that is not trusted, is asked for by TCP, where the peer's address is
proven. With CT the answer must be signed by the key in the server's site record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import aiohttp

from idnode.adapters import Adapters
from idnode.client.errors import NoAnswer, Untrusted
from idnode.client.transports import AskByStream, HttpTransport, TcpTransport, Transport, UdpTransport
from idnode.resolution.budget import EXCHANGES_MAX, STREAM_WAIT_S, UDP_WAITS_S, Budget, victim_of
from idnode.resolution.question import Question
from idnode.resolution.sites import Door
from idnode.source import TrustedNetworks
from idnode_protocol.codes import OpCode, OpFlag, ResponseCode
from idnode_protocol.digest import RequestDigest
from idnode_protocol.envelope import Envelope
from idnode_protocol.errors import ProtocolError
from idnode_protocol.fragments import split_message
from idnode_protocol.handle import same_name, with_slash
from idnode_protocol.header import EXPIRATION_S, Header
from idnode_protocol.message import Message, build, decode_message
from idnode_protocol.octets import Reader
from idnode_protocol.requests import AnyRequest, encode_request
from idnode_protocol.responses import AnyResponse, ErrorResponse, ResolutionResponse, decode_response
from idnode_protocol.values.site import InterfaceProtocol
from idnode_protocol.versions import CURRENT, older
from idnode_registry.crypto import KeyRefused, verify_message

UNDECODABLE_ID: Final = 0xFFFF_FFFF
"""The reference answers what it cannot decode under this id (docs/protocol.md §3.1); never ours."""
RECURSION_COUNT_MAX: Final = 0xFF


class LeftAlone(NoAnswer):
    """The host got as many packets as one question may cost it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A believed answer. ``value_list``: the octets behind the name of a successful resolution, as they came."""

    code: int
    response: AnyResponse
    value_list: bytes
    flags: int
    site_serial: int
    octets: int
    seconds: float
    body: bytes = b""

    @property
    def text(self) -> str:
        return self.response.text if isinstance(self.response, ErrorResponse) else ""


@dataclass(slots=True)
class _Sent:
    packets: int = 0

    def one(self) -> None:
        self.packets += 1


@dataclass(slots=True)
class UpstreamCounters:
    """Since the start."""

    packets: int = 0
    exchanges: int = 0
    joined: int = 0
    """Questions that found an equal one under way."""
    refused: int = 0
    """Answers that were not believed."""


def _value_list(message: Message) -> bytes:
    """What stands behind the name in a successful resolution's body."""
    reader = Reader(message.body)
    if message.header.has(OpFlag.RD):
        RequestDigest.decode(reader)
    reader.handle()
    return reader.rest()


def check(asked: Message, octets: bytes, door: Door, now: float, *, by_datagram: bool) -> tuple[Message, AnyResponse]:
    """The answer, if it is one to ``asked``.

    Raises :class:`Untrusted` and ProtocolErrors for what is not, :class:`AskByStream` for what a datagram cannot
    prove, :class:`NoAnswer` for an answer whose time has passed.
    """
    message = decode_message(octets)
    header = message.header
    digest, response = decode_response(header, message.body, message.envelope.version)
    if message.envelope.request_id != asked.envelope.request_id:
        raise Untrusted("the answer carries another request id")
    if header.opcode != asked.header.opcode:
        raise Untrusted("the answer belongs to another operation")
    if digest is not None and not digest.matches(asked.header_and_body):
        raise Untrusted("the answer is to another question")
    if digest is None and by_datagram:
        raise AskByStream(f"{door}: the answer does not say which question it belongs to")
    if isinstance(response, ResolutionResponse) and not _answers(response.handle, asked):
        raise Untrusted("the answer is about another name")
    if asked.header.has(OpFlag.CT) and door.server.public_key and not verify_message(message, door.server.public_key):
        raise Untrusted("the answer is not signed by the server's key")
    if header.expiration <= now:
        raise NoAnswer(f"{door}: the answer expired")
    return message, response


def _answers(name: bytes, asked: Message) -> bool:
    wanted = Reader(asked.body).handle()
    return same_name(name, wanted) or same_name(with_slash(name), with_slash(wanted))


class Upstream:
    """All exchanges under way of one resolution engine."""

    def __init__(self, adapters: Adapters, trusted: TrustedNetworks | None = None) -> None:
        self._adapters = adapters
        self._trusted = trusted or TrustedNetworks()
        self._flights: dict[Hashable, asyncio.Task[Answered]] = {}
        self._session: aiohttp.ClientSession | None = None
        self.counters = UpstreamCounters()

    async def close(self) -> None:
        """Give up what is under way."""
        flights = tuple(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(
        self,
        door: Door,
        question: Question,
        budget: Budget,
        *,
        recursion_count: int = 0,
        spend: Callable[[int], None] = lambda packets: None,
    ) -> Answered:
        """Resolve at one server; see :meth:`send`."""
        return await self.send(
            door,
            OpCode.RESOLUTION,
            question.request,
            question.flags,
            budget,
            recursion_count=recursion_count,
            spend=spend,
        )

    async def send(
        self,
        door: Door,
        opcode: int,
        request: AnyRequest,
        flags: int,
        budget: Budget,
        *,
        recursion_count: int = 0,
        spend: Callable[[int], None] = lambda packets: None,
    ) -> Answered:
        """Ask one server, or wait for the answer to an equal request. ``spend`` may refuse packets by raising.

        Raises :class:`NoAnswer` (also for code 2 and expired answers), :class:`OverBudget`.
        """
        key = (door.host, door.port, door.protocol, opcode, request, flags)
        flight = self._flights.get(key)
        if flight is not None:
            self.counters.joined += 1
            return _useful(door, await asyncio.shield(flight))
        if len(self._flights) >= EXCHANGES_MAX:
            raise NoAnswer(f"{door}: {EXCHANGES_MAX} requests are under way already")
        message = self._message(door, opcode, request, flags, recursion_count)
        datagrams = len(split_message(message.to_octets())) if door.protocol == InterfaceProtocol.UDP else 1
        wanted = datagrams * (len(UDP_WAITS_S) if door.protocol == InterfaceProtocol.UDP else 1)
        victim = victim_of(door.host, door.port)
        allowed = budget.reserve(victim, wanted)
        sent = _Sent()
        try:
            if allowed < datagrams:
                raise LeftAlone(f"{door}: asked often enough")
            spend(allowed)
            flight = asyncio.get_running_loop().create_task(self._exchange(door, message, allowed // datagrams, sent))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
            answered = await asyncio.shield(flight)
        finally:
            budget.give_back(victim, allowed - sent.packets)
        return _useful(door, answered)

    def _landed(self, key: Hashable, flight: asyncio.Task[Answered]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # nobody may be left to take it

    def _message(self, door: Door, opcode: int, request: AnyRequest, flags: int, recursion_count: int) -> Message:
        """A request in the version of the site, with its serial, and RD so that the answer names its question."""
        version = door.site.protocol if older(door.site.protocol, CURRENT) else CURRENT
        request_id = 0
        while request_id in (0, UNDECODABLE_ID):
            request_id = int.from_bytes(self._adapters.rng.octets(4), "big")
        header = Header(
            int(opcode),
            0,
            flags | OpFlag.RD,
            door.site.serial,
            min(recursion_count, RECURSION_COUNT_MAX),
            expiration=int(self._adapters.clock.now()) + EXPIRATION_S,
        )
        return build(Envelope(request_id, 0, version), header, encode_request(request, version))

    async def _exchange(self, door: Door, message: Message, tries: int, sent: _Sent) -> Answered:
        clock = self._adapters.clock
        began = clock.monotonic()
        self.counters.exchanges += 1
        by_datagram = door.protocol == InterfaceProtocol.UDP
        found: list[tuple[Message, AnyResponse]] = []

        def accept(octets: bytes) -> bool:
            try:
                found.append(check(message, octets, door, clock.now(), by_datagram=by_datagram))
            except (Untrusted, ProtocolError, KeyRefused):
                self.counters.refused += 1
                return False
            return True

        def count() -> None:
            sent.one()
            self.counters.packets += 1

        transport = self._transport(door, message, UDP_WAITS_S[:tries], accept, count)
        async for octets in transport.exchange(message.to_octets()):
            if by_datagram or accept(octets):
                break
            raise NoAnswer(f"{door}: what came is no answer to the question")
        if not found:
            raise NoAnswer(f"{door}: no answer")
        answer, response = found[-1]
        value_list = _value_list(answer) if isinstance(response, ResolutionResponse) else b""
        return Answered(
            answer.header.response_code,
            response,
            value_list,
            answer.header.flags,
            answer.header.site_serial,
            answer.envelope.length,
            clock.monotonic() - began,
        )

    def _transport(
        self,
        door: Door,
        message: Message,
        waits_s: tuple[float, ...],
        accept: Callable[[bytes], bool],
        count: Callable[[], None],
    ) -> Transport:
        if door.protocol == InterfaceProtocol.UDP:
            one = not self._is_trusted(door.host)
            return UdpTransport(
                self._adapters, door.host, door.port, waits_s, accept=accept, one_datagram=one, on_send=count
            )
        count()
        if door.protocol == InterfaceProtocol.TCP:
            return TcpTransport(self._adapters, door.host, door.port, STREAM_WAIT_S)
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=STREAM_WAIT_S))
        host = f"[{door.host}]" if ":" in door.host else door.host
        path = quote(Reader(message.body).handle()) if message.body else ""
        return HttpTransport(self._session, f"{door.protocol.name.lower()}://{host}:{door.port}{door.path}/{path}")

    def _is_trusted(self, host: str) -> bool:
        try:
            return self._trusted.trusts(host)
        except ValueError:
            return False


def _useful(door: Door, answered: Answered) -> Answered:
    if answered.code == ResponseCode.ERROR:
        raise NoAnswer(f"{door}: {answered.text or 'code 2, try elsewhere'}")
    return answered
