"""Resolving: at one server (docs/protocol.md §1.6, §3), or by the walk from the root (§1.5).

::

    Resolver("127.0.0.1:2641")                     one server, whatever it knows
    Resolver.open(folder), Resolver(roots=...)     from the root, by :mod:`idnode.resolution`
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Literal
from urllib.parse import urlsplit

import aiohttp

from idnode.adapters import Adapters, real_adapters
from idnode.client.errors import ClientError, HandleNotFound, NoAnswer, Untrusted, refused
from idnode.client.transports import HttpTransport, TcpTransport, Transport, UdpTransport
from idnode.client.wire import CLEAR, Wire
from idnode.resolution.budget import Budget as Packets
from idnode.resolution.engine import Resolution, ResolutionSettings, question_of
from idnode.resolution.explain import Explanation
from idnode.resolution.question import Failure, Outcome, Question
from idnode.resolution.roots import Roots, load_roots
from idnode.source import LOCAL
from idnode.trust.turns import Turns, account_of
from idnode.trust.verification import FetchFailed, Mode, apply_mode
from idnode.trust.verifier import Verifier
from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag, ResponseCode
from idnode_protocol.digest import RequestDigest
from idnode_protocol.envelope import Envelope
from idnode_protocol.errors import ProtocolError
from idnode_protocol.handle import from_text, to_text
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
from idnode_protocol.values.site import InterfaceProtocol, SiteInfo
from idnode_protocol.versions import CURRENT
from idnode_registry.crypto import verify_message
from idnode_registry.trust.judge import Trust
from idnode_registry.trust.verdicts import RecordVerdict
from idnode_registry.trust.work import Budget as Checks

DEFAULT_PORT: Final = 2641
ALIASES_MAX: Final = 8
_PROTOCOLS: Final = {
    "udp": (InterfaceProtocol.UDP,),
    "tcp": (InterfaceProtocol.TCP,),
    "http": (InterfaceProtocol.HTTP, InterfaceProtocol.HTTPS),
}


def _only(transports: Sequence[str]) -> tuple[InterfaceProtocol, ...]:
    return tuple(protocol for name in transports for protocol in _PROTOCOLS[name])


Verify = Literal["off", "report", "require"]


@dataclass(frozen=True, slots=True)
class Record:
    """What a handle resolved to; ``values`` as they came, ``transport`` says how.

    ``age_s``: seconds since they came from their server. ``is_stale``: their time is over and upstream is gone.
    ``verdict``: on their signatures, None unless it was asked for.
    """

    handle: str
    values: tuple[HandleValue, ...]
    transport: str
    is_authoritative: bool
    age_s: float = 0.0
    is_stale: bool = False
    verdict: RecordVerdict | None = None

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


def host_and_port(server: str) -> tuple[str, int]:
    """``host``, ``host:port`` or ``[::1]:port`` as (host, port); raises ValueError."""
    try:
        parts = urlsplit(f"//{server}")
        return parts.hostname or "127.0.0.1", DEFAULT_PORT if parts.port is None else parts.port
    except ValueError as wrong:
        text = f"{server!r} is no address: write host:port, such as 127.0.0.1:2641, or an http:// or https:// address"
        raise ValueError(text) from wrong


class Resolver:
    """``async with Resolver("127.0.0.1:2641") as resolver: record = await resolver.resolve("99.900/x")``.

    ``server`` is ``host:port`` (UDP, then TCP) or an ``http://`` or ``https://`` address. ``public_key`` (as in a site
    record) is needed for certified answers. Instead of ``server``, ``roots`` (or a ``resolution`` that others use too)
    says where a walk begins; certified answers are then checked with the key of each site. ``trust`` holds the
    root keys that signatures of records are checked against when ``verify`` asks for it.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        roots: Roots | Sequence[SiteInfo] | None = None,
        resolution: Resolution | None = None,
        settings: ResolutionSettings | None = None,
        adapters: Adapters | None = None,
        transports: Sequence[str] = ("udp", "tcp", "http"),
        http_url: str | None = None,
        public_key: bytes | None = None,
        trust: Trust | None = None,
    ) -> None:
        if sum(given is not None for given in (server, roots, resolution)) != 1:
            raise ValueError("give one of: a server, roots, or a resolution")
        self._owns_adapters = adapters is None and resolution is None
        self.adapters = adapters or (resolution.adapters if resolution is not None else real_adapters())
        self._owns_resolution = roots is not None
        if roots is not None:
            start = (roots if isinstance(roots, Roots) else Roots(tuple(roots))).named()
            resolution = Resolution(self.adapters, start, settings or ResolutionSettings(protocols=_only(transports)))
        self.resolution = resolution
        self.public_key = public_key
        self.trust = trust
        self._server, self._http_url, self._wanted = server or "", http_url, tuple(transports)
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        adapters: Adapters | None = None,
        settings: ResolutionSettings | None = None,
        transports: Sequence[str] = ("udp", "tcp", "http"),
        trust: Trust | None = None,
    ) -> Resolver:
        """A resolver that starts where a client-config folder says (docs/protocol.md §2.7).

        Raises ProtocolErrors for files that break their form, OSError for those that cannot be read.
        """
        used = adapters or real_adapters()
        try:
            roots = load_roots(used.disk, Path(folder))
        except BaseException:
            if adapters is None:
                used.close()
            raise
        resolver = cls(roots=roots, adapters=used, settings=settings, transports=transports, trust=trust)
        resolver._owns_adapters = adapters is None
        return resolver

    @property
    def server(self) -> str:
        """The address as it was given."""
        return self._server

    async def __aenter__(self) -> Resolver:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back connections and workers."""
        if self.resolution is not None and self._owns_resolution:
            await self.resolution.close()
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
        host, port = host_and_port(self._server)
        return (UdpTransport if kind == "udp" else TcpTransport)(self.adapters, host, port)

    def request(self, opcode: int, request: AnyRequest, flags: int = REQUEST_FLAGS, session_id: int = 0) -> Message:
        """A request message with a random id."""
        envelope = Envelope(self.adapters.rng.request_id(), 0, session_id=session_id)
        expiration = int(self.adapters.clock.now()) + EXPIRATION_S
        header = Header(int(opcode), 0, flags, SERIAL_UNKNOWN, expiration=expiration)
        return build(envelope, header, encode_request(request, CURRENT))

    async def ask(self, message: Message, transports: Sequence[str] | None = None, wire: Wire = CLEAR) -> Answer:
        """Send a request by the first way that answers; code 2 means try the next. Raises :class:`NoAnswer`."""
        self._need_server()
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
        self._need_server()
        for kind in transports:
            transport = self._transport(kind)
            if transport is not None:
                async for octets in transport.exchange(wire.to_octets(message)):
                    yield self._checked(message, octets, transport.name, wire)
                return
        raise NoAnswer(f"{self._server} offers none of {', '.join(transports)}")

    def _need_server(self) -> None:
        if self.resolution is not None:
            raise ClientError("this resolver walks from the root; say which server is meant: await resolver.at(handle)")

    async def at(self, handle: str) -> Resolver:
        """A resolver of the one server that administers a handle: its primary site, the server it hashes to.

        Shares the adapters; close it like any other. Raises :class:`Refused`, :class:`NoAnswer`.
        """
        if self.resolution is None:
            return Resolver(self._server, adapters=self.adapters, transports=self._wanted, public_key=self.public_key)
        found = await self.resolution.administering(from_text(handle))
        if isinstance(found, Outcome):
            raise _error_of(found, handle)
        host = f"[{found[0].host}]" if ":" in found[0].host else found[0].host
        by_protocol = {door.protocol: door for door in reversed(found)}
        stream = by_protocol.get(InterfaceProtocol.TCP) or found[0]
        http = by_protocol.get(InterfaceProtocol.HTTP)
        return Resolver(
            f"{host}:{stream.port}",
            adapters=self.adapters,
            transports=self._wanted,
            http_url=f"http://{host}:{http.port}{http.path}" if http is not None else None,
            public_key=found[0].server.public_key or None,
        )

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
        follow_aliases: bool = False,
        verify: Verify = "off",
    ) -> Record:
        """The public values of a handle.

        ``follow_aliases``: when the record holds an HS_ALIAS, that of the handle it names, and so on; the record then
        carries the last one's name. ``verify``: ``report`` puts the verdict on the signatures into the record,
        ``require`` withholds what is not found valid; the whole record is asked for then, since a part of it cannot be
        judged (docs/protocol.md §8.4), and ``types`` and ``indexes`` select from what was judged.

        Raises :class:`HandleNotFound`, :class:`ValuesNotFound`, :class:`Refused`, :class:`NoAnswer`,
        :class:`Untrusted`, :class:`RecordNotTrusted`.
        """
        flags = REQUEST_FLAGS | (OpFlag.AT if authoritative else 0) | (OpFlag.CT if certified else 0)
        wanted_types, wanted_indexes = types, indexes
        if verify != "off":
            types, indexes = (), ()
        if follow_aliases and types:
            types = (*types, "HS_ALIAS")
        if self.resolution is not None:
            question = question_of(handle, types, indexes, int(flags))
            name, outcome, walk = await self.resolution.walk(question, follow_aliases=follow_aliases)
            found = [_record_of_outcome(each, to_text(alias)) for alias, each in (*walk.passed, (name, outcome))]
            walk.budget.is_shared = True
            packets: Packets | None = walk.budget
        else:
            packets = None
            found = [await self._at_server(handle, types, indexes, int(flags))]
            if follow_aliases:
                found += await self._aliased(found[0], types, indexes, int(flags))
        if verify == "off":
            return found[-1]
        return _selected(await self._verified(found, verify, packets), wanted_types, wanted_indexes)

    async def _at_server(self, handle: str, types: Sequence[str], indexes: Sequence[int], flags: int) -> Record:
        if flags & OpFlag.CT:
            if self.public_key is None:
                raise ClientError("certified answers are checked with the server's public key, which is not known")
            flags |= OpFlag.RD
        body = ResolutionRequest(from_text(handle), tuple(indexes), tuple(types))
        return record_of(await self.ask(self.request(OpCode.RESOLUTION, body, flags)), handle)

    async def _aliased(self, record: Record, types: Sequence[str], indexes: Sequence[int], flags: int) -> list[Record]:
        """The records that the HS_ALIAS values lead to, in order."""
        seen, found = {record.handle}, []
        while (alias := record.data("HS_ALIAS")) is not None:
            if to_text(alias) in seen or len(seen) > ALIASES_MAX:
                raise NoAnswer(f"{record.handle}: its aliases do not end")
            seen.add(to_text(alias))
            record = await self._at_server(to_text(alias), types, indexes, flags)
            found.append(record)
        return found

    async def _verified(self, found: Sequence[Record], verify: Verify, packets: Packets | None) -> Record:
        """The last record with the verdict on all that led to it: the first that is not valid decides.

        All are judged on one account: ``packets`` of the walk so far, and one number of signature checks.
        """
        if self.trust is None:
            raise ClientError("signatures are checked against root keys; give trust=, for example trust_of([key])")

        async def fetch(handle: bytes) -> Sequence[HandleValue] | None:
            return await self._signers(handle, packets)

        checks, verdict = Checks(), None
        for record in found:
            name, now = from_text(record.handle), self.adapters.clock.now()
            verdict = await apply_mode(Mode(verify), name, record.values, fetch, self.trust, now, checks)
            if verdict is None or not verdict.is_valid:
                break
        return replace(found[-1], verdict=verdict)

    async def _signers(self, handle: bytes, packets: Packets | None) -> Sequence[HandleValue] | None:
        """Every value of a handle on the way to a trusted key; None = there is no such handle."""
        try:
            if self.resolution is None:
                return (await self._at_server(to_text(handle), (), (), REQUEST_FLAGS)).values
            _, outcome, _ = await self.resolution.walk(Question(handle), budget=packets)
            return _record_of_outcome(outcome, to_text(handle)).values
        except HandleNotFound:
            return None
        except ClientError as wrong:
            raise FetchFailed(str(wrong)) from wrong

    async def explain(
        self, handle: str, *, types: Sequence[str] = (), indexes: Sequence[int] = (), follow_aliases: bool = False
    ) -> Explanation:
        """Resolve, and tell every step: who was asked, over what, what was cached, why referred, how long it took.

        With ``trust`` the signatures of the record are judged too.
        """
        if self.resolution is None:
            raise ClientError("one server has no steps to explain; open a client-config folder, or give roots")
        question = question_of(handle, types, indexes)
        if self.trust is None:
            return await self.resolution.explain(question, follow_aliases=follow_aliases)
        turns = Turns(self.adapters.clock, self.adapters.run_blocking)
        verifier = Verifier(self.resolution, self.trust, turns)
        return await verifier.explain(question, account_of(LOCAL), follow_aliases=follow_aliases)

    async def site(self) -> SiteInfo:
        """The server's site record; by a walk, the root's that is used first."""
        if self.resolution is not None:
            return self.resolution.roots.sites[0]
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


def _error_of(outcome: Outcome, handle: str) -> ClientError:
    if outcome.failure in (Failure.UNREACHABLE, Failure.TIME):
        return NoAnswer(f"{handle}: {outcome.failure}: {outcome.text}")
    return refused(outcome.code, outcome.text or str(outcome.failure or ""), handle)


def _record_of_outcome(outcome: Outcome, handle: str) -> Record:
    if not outcome.is_success:
        raise _error_of(outcome, handle)
    is_authoritative = outcome.is_authoritative and not outcome.is_cached
    return Record(handle, outcome.values, outcome.server, is_authoritative, outcome.age_s, outcome.is_stale)


def _selected(record: Record, types: Sequence[str], indexes: Sequence[int]) -> Record:
    """The values asked for out of a whole record; raises :class:`ValuesNotFound` when there are none."""
    if not types and not indexes:
        return record
    values = tuple(each for each in record.values if each.index in indexes or any(map(each.has_type, types)))
    if not values:
        raise refused(ResponseCode.VALUES_NOT_FOUND, "", record.handle)
    return replace(record, values=values)
