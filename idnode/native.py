"""The engine behind every native transport: octets of a request in, octets of its responses out.

UDP, TCP and the HTTP tunnel hand over whole messages and send what comes back; none of them knows an opcode.
``plain`` is the short way for the one request that is nearly all traffic; ``answer`` is the general one, through the
chain of links. Neither raises for anything a peer can send.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Final

from idnode.adapters.workers import RunBlocking
from idnode.chain import Handler
from idnode.exchange import SILENCE, Answers, Exchange
from idnode.links.referral import ReferralLink
from idnode.quick_answers import QuickAnswers
from idnode.reading import Pace
from idnode.replication.serving import Outgoing
from idnode.responding import SiteFacts, error_to_envelope, respond
from idnode.source import Source
from idnode_protocol.codes import OpCode, OpFlag, ResponseCode
from idnode_protocol.envelope import Envelope
from idnode_protocol.errors import LimitExceeded, RemoteError, Unsupported
from idnode_protocol.handle import with_slash
from idnode_protocol.header import Header
from idnode_protocol.limits import ENVELOPE_OCTETS
from idnode_protocol.message import Message, build, decode_message, decode_payload, encrypted_octets
from idnode_protocol.octets import Reader
from idnode_protocol.requests import decode_request
from idnode_protocol.responses import ErrorResponse, ListResponse, encode_response
from idnode_protocol.versions import V2_7, V2_8, older
from idnode_registry.ask import ANONYMOUS, Ask, Reply, refusal
from idnode_registry.crypto import DecryptionFailed, Signer, sign_message
from idnode_registry.execution import DAMAGE, DAMAGED_LIST
from idnode_registry.referrals import wants_recursion
from idnode_registry.registry import Plan, Registry
from idnode_registry.sessions import Session, SessionTable

_ASK_BY_TCP: Final = ErrorResponse(b"too large for a datagram; ask by TCP")
SIGNED_BY_SERVER: Final = frozenset({OpCode.SESSION_SETUP, OpCode.SESSION_KEY_EXCHANGE})
"""Responses to these are never MACed, the session is not there yet."""
SIGNATURES_AT_ONCE: Final = 2
"""One is made, one waits at the workers. More threads that sign contend with the event loop for the interpreter's
lock: no more signatures, and pauses of a tenth of a second."""


def _parts(pages: Iterator[tuple[bytes, ...]]) -> Iterator[Reply]:
    """The replies of a list; one that meets a damaged record ends with code 2."""
    try:
        yield from (Reply(ResponseCode.SUCCESS, ListResponse(page)) for page in pages)
    except DAMAGE:
        yield refusal(ResponseCode.ERROR, DAMAGED_LIST)


class _UndecodableSession(RemoteError):
    """An encrypted message that no live session can open."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


class NativeEngine:
    """Answers native messages for one node. ``is_full``: no more replication streams may begin."""

    def __init__(
        self,
        registry: Registry,
        chain: Handler,
        sessions: SessionTable,
        site: Callable[[], SiteFacts],
        signer: Signer,
        *,
        clock: Callable[[], float],
        rng: Callable[[int], bytes],
        workers: RunBlocking,
        pace: Pace,
        referral: ReferralLink | None = None,
        is_full: Callable[[], bool] = lambda: False,
    ) -> None:
        self._is_full = is_full
        self._registry = registry
        self._chain = chain
        self._sessions = sessions
        self._site = site
        self._signer = signer
        self._now = clock
        self._rng = rng
        self._workers = workers
        self._signing = asyncio.Semaphore(SIGNATURES_AT_ONCE)
        self._referral = referral
        self.quick = QuickAnswers(registry, site)
        self.get = registry.store.get
        self.pace = pace

    def plain(self, octets: bytes, now: float) -> tuple[bytes | None, bytes, float | None] | None:
        """(folded name, response, seconds it lives) for a request that may be kept as a finished answer
        (:func:`idnode.answer_cache.may_be_cached`); None seconds = until a write makes it wrong.

        The name is None when the answer must not be kept, because a template made it. None in all when it takes more
        than reading registry and memory; then :meth:`answer` does it.
        """
        try:
            message = decode_message(octets)
            request = decode_request(OpCode.RESOLUTION, message.body, message.envelope.version)
        except RemoteError:
            return None
        ask = Ask(OpCode.RESOLUTION, request, message.header.flags, message.envelope.answered_version)
        decided = self._decided(ask, now)
        if decided is None or isinstance(decided, Plan) or decided.code == ResponseCode.AUTHENTICATION_NEEDED:
            return None
        if wants_recursion(ask, decided) or decided.wanted is not None or decided.unsigned is not None:
            return None
        response = respond(message, message, decided, self._site(), now)
        lives_s = None if decided.freshness is None else decided.freshness.lives_s
        name = self._registry.fold(with_slash(request.handle)) if decided.is_lasting else None
        return name, response.to_octets(), lives_s

    def _decided(self, ask: Ask, now: float) -> Reply | Plan | None:
        """By the registry, or for another server's name by what is remembered of it; None = it has to be asked for."""
        if self._referral is not None and self._referral.takes(ask):
            return self._referral.at_once(ask)
        return self._registry.answer(ask, ANONYMOUS, now)

    @staticmethod
    def too_large(first_datagram: bytes) -> bytes:
        """What goes by UDP instead of an answer that may not: code 2, "ask by TCP", same ids and flags."""
        envelope = Envelope.from_octets(first_datagram)
        header = Header.decode(Reader(first_datagram, ENVELOPE_OCTETS))
        flags = header.flags & ~(OpFlag.RD | OpFlag.CT)
        refused = replace(header, response_code=int(ResponseCode.ERROR), flags=flags)
        return build(replace(envelope, flags=0, sequence=0), refused, encode_response(_ASK_BY_TCP)).to_octets()

    async def answer(self, octets: bytes, source: Source) -> Answers:
        """Every response to a message: one, or a list's first with more to come, or silence."""
        now = self._now()
        try:
            message, session = self._decode(octets, now)
            if not message.header.is_request:
                return SILENCE
            request = decode_request(message.header.opcode, message.body, message.envelope.version)
        except _UndecodableSession as lost:
            return self._refuse(octets, lost.code, str(lost), now)
        except Unsupported as unsupported:
            return self._refuse(octets, ResponseCode.OPERATION_NOT_SUPPORTED, str(unsupported), now)
        except RemoteError as wrong:
            return self._refuse(octets, ResponseCode.PROTOCOL_ERROR, f"the message cannot be read: {wrong}", now)
        ask = Ask(message.header.opcode, request, message.header.flags, message.envelope.answered_version)
        exchange = Exchange(source, ask, now, message=message, original=message, session=session)
        reply = await self._chain(exchange)
        return await self._encode(exchange, message, reply)

    def _refuse(self, octets: bytes, code: int, text: str, now: float) -> Answers:
        response = error_to_envelope(octets, code, text, self._site(), now)
        return SILENCE if response is None else Answers((response,))

    def _decode(self, octets: bytes, now: float) -> tuple[Message, Session | None]:
        """The message in clear and the live session it names, if any."""
        envelope = Envelope.from_octets(octets)
        session = self._sessions.get(envelope.session_id, now) if envelope.session_id else None
        if not envelope.is_encrypted:
            return decode_message(octets), session
        if envelope.length != len(octets) - ENVELOPE_OCTETS:
            raise LimitExceeded("the encrypted message is not as long as its envelope says")
        if session is None:
            raise _UndecodableSession(
                ResponseCode.SESSION_TIMEOUT, "the session is unknown or has ended; set up another"
            )
        try:
            payload = session.decrypt(octets[ENVELOPE_OCTETS:])
        except DecryptionFailed as wrong:
            raise _UndecodableSession(
                ResponseCode.INVALID_SESSION_KEY, "the message was not encrypted with this session's key"
            ) from wrong
        return decode_payload(envelope, payload), session

    async def _encode(self, exchange: Exchange, answered: Message, reply: Reply) -> Answers:
        if reply.stream is not None and self._is_full():
            reply = refusal(ResponseCode.SERVER_BUSY, "too many mirrors are being served; ask again later")
        if reply.stream is not None:
            message = await self._finish(exchange, answered, reply)
            return Answers((message,), stream=Outgoing(reply.stream, answered.envelope.answered_version))
        if reply.pages is None:
            return Answers((await self._finish(exchange, answered, reply),))
        parts = _parts(reply.pages)

        async def messages() -> AsyncIterator[bytes]:
            part = next(parts)
            while True:
                following = next(parts, None)
                flags = int(OpFlag.CN) if following is not None else 0
                yield await self._finish(exchange, answered, replace(part, flags=flags))
                if following is None:
                    return
                part = following

        stream = messages()
        return Answers((await anext(stream),), stream)

    async def _finish(self, exchange: Exchange, answered: Message, reply: Reply) -> bytes:
        """One response message: built, signed or MACed when certified, encrypted when private."""
        original = exchange.original or answered
        session = exchange.session
        message = respond(
            answered, original, reply, self._site(), exchange.now, session_id=exchange.response_session_id
        )
        if message.header.has(OpFlag.CT):
            message = await self._certify(message, session)
        if session is not None and self._must_encrypt(message, reply):
            return encrypted_octets(message.envelope, session.encrypt(message.payload(), self._rng))
        return message.to_octets()

    async def _certify(self, message: Message, session: Session | None) -> Message:
        """MAC inside an established session, the server's signature otherwise; older than 2.7 stays unsigned."""
        if older(message.envelope.version, V2_7):
            return message
        if session is not None and message.header.opcode not in SIGNED_BY_SERVER:
            return session.seal(message)
        async with self._signing:
            return await self._workers(sign_message, message, self._signer)

    @staticmethod
    def _must_encrypt(message: Message, reply: Reply) -> bool:
        if message.header.opcode in SIGNED_BY_SERVER:
            return False
        return message.header.has(OpFlag.ENC) or (reply.is_private and not older(message.envelope.version, V2_8))
