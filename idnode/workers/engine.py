"""The engine of a resolver: credential-free opcodes 1 and 2 from the store, everything else by the registry process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from idnode.chain import Handler
from idnode.exchange import SILENCE, Answers, Exchange
from idnode.native import NativeEngine
from idnode.source import Source
from idnode.workers.link import OutcomeUnknown, RegistryAway, RegistryLink
from idnode_protocol.codes import OpCode, OpFlag, ResponseCode
from idnode_protocol.envelope import ENCRYPTED
from idnode_protocol.errors import RemoteError
from idnode_protocol.limits import ENVELOPE_OCTETS
from idnode_protocol.message import Message, decode_message
from idnode_protocol.requests import decode_request
from idnode_registry.ask import Ask, Reply
from idnode_registry.referrals import wants_recursion
from idnode_registry.registry import Plan

READ_HERE: Final = frozenset({OpCode.RESOLUTION, OpCode.GET_SITE_INFO})
NO_SESSION: Final = b"\0\0\0\0"
UNKNOWN_TEXT: Final = "the process that writes ended; it is not known whether a write was kept: read the record back"


@dataclass(slots=True)
class Decided(Exchange):
    """A request whose reply is known before it goes through the links, which count and limit it."""

    reply: Reply | None = None


class DecidedLink:
    """Gives the reply that is known already."""

    async def __call__(self, exchange: Exchange, following: Handler) -> Reply:
        if isinstance(exchange, Decided) and exchange.reply is not None:
            return exchange.reply
        return await following(exchange)


class ResolverEngine(NativeEngine):
    """``catch_up`` is called before anything is looked up. ``walks``: the registry process resolves elsewhere."""

    def __init__(
        self,
        *arguments: Any,
        link: Callable[[], RegistryLink],
        catch_up: Callable[[], None],
        shed: Callable[[str], None],
        walks: bool,
        **named: Any,
    ) -> None:
        super().__init__(*arguments, **named)
        self._link = link
        self._catch_up = catch_up
        self._shed = shed
        self._walks = walks

    def _decided(self, ask: Ask, now: float) -> Reply | Plan | None:
        is_asked_to_walk = self._walks and ask.opcode == OpCode.RESOLUTION and ask.has(OpFlag.REC)
        if is_asked_to_walk and not self._registry.is_homed(ask.request.handle):
            return None
        return super()._decided(ask, now)

    async def answer(self, octets: bytes, source: Source) -> Answers:
        self._catch_up()
        if len(octets) >= ENVELOPE_OCTETS and (octets[2] & ENCRYPTED or octets[4:8] != NO_SESSION):
            return await self._forward(octets, source)
        try:
            message = decode_message(octets)
            request = decode_request(message.header.opcode, message.body, message.envelope.version)
        except RemoteError:
            return await super().answer(octets, source)  # which says what is wrong with it
        if not message.header.is_request:
            return SILENCE
        ask = Ask(message.header.opcode, request, message.header.flags, message.envelope.answered_version)
        now = self._now()
        reply = self._reply_here(ask, message, now)
        if reply is None:
            return await self._forward(octets, source)
        exchange = Decided(source, ask, now, message=message, original=message, reply=reply)
        return await self._encode(exchange, message, await self._chain(exchange))

    def _reply_here(self, ask: Ask, message: Message, now: float) -> Reply | None:
        """The reply that reading the store gives; None when it takes the registry process."""
        if ask.opcode not in READ_HERE or message.credential_octets:
            return None
        decided = self._decided(ask, now)
        if decided is None or isinstance(decided, Plan) or decided.code == ResponseCode.AUTHENTICATION_NEEDED:
            return None
        if decided.wanted is not None or decided.unsigned is not None:
            return None
        if self._walks and wants_recursion(ask, decided):
            return None
        return decided

    async def _forward(self, octets: bytes, source: Source) -> Answers:
        try:
            return await self._link().ask(octets, source)
        except RegistryAway as away:
            self._shed("registry_away")
            return self._refuse(octets, ResponseCode.SERVER_BUSY, str(away), self._now())
        except OutcomeUnknown:
            self._shed("registry_lost")
            return self._refuse(octets, ResponseCode.ERROR, UNKNOWN_TEXT, self._now())
