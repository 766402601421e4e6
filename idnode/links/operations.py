"""The last link: what the node does itself (sessions, verification), everything else by the registry."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from idnode.adapters.workers import RunBlocking
from idnode.chain import Handler
from idnode.exchange import Exchange
from idnode.metrics import Metrics
from idnode.proofs import Proofs
from idnode.reading import Pace
from idnode.trust.signing import SIGNED_WRITES
from idnode_protocol.codes import OpCode, ResponseCode
from idnode_protocol.requests import SessionSetupRequest, VerifyRequest
from idnode_protocol.responses import EmptyResponse, VerifyResponse
from idnode_registry.ask import Reply, refusal
from idnode_registry.challenges import Rng
from idnode_registry.ranges.ranges import Member
from idnode_registry.registry import Registry
from idnode_registry.sessions import SessionKeys, SessionRefused, SessionTable, plan

SIGNATURES_AT_ONCE: Final = 2
"""More threads contend with the event loop for the interpreter's lock, and make no more signatures."""


class OperationsLink:
    """A table opcode -> method; what is not in it goes to the registry.

    By way of ``workers`` if it will be signed, by way of ``readers`` while the store is slow.
    """

    def __init__(
        self,
        registry: Registry,
        sessions: SessionTable,
        proofs: Proofs,
        rng: Rng,
        metrics: Metrics,
        workers: RunBlocking,
        readers: RunBlocking,
        pace: Pace,
    ) -> None:
        self._registry = registry
        self._sessions = sessions
        self._proofs = proofs
        self._rng = rng
        self._metrics = metrics
        self._workers = workers
        self._signing = asyncio.Semaphore(SIGNATURES_AT_ONCE)
        self._readers = readers
        self._pace = pace
        self._own: Final[dict[int, Callable[[Exchange], Awaitable[Reply]]]] = {
            OpCode.CHALLENGE_ANSWER: self._stray_answer,
            OpCode.VERIFY_ANSWER: self._verify_answer,
            OpCode.SESSION_SETUP: self._session_setup,
            OpCode.SESSION_TERMINATE: self._session_terminate,
            OpCode.SESSION_KEY_EXCHANGE: self._key_exchange,
        }

    async def __call__(self, exchange: Exchange, following: Handler) -> Reply:
        own = self._own.get(exchange.ask.opcode)
        if own is not None:
            return await own(exchange)
        reply = await self._execute(exchange)
        return reply if reply.unsigned is None else await self._sign(exchange, reply, reply.unsigned)

    async def _execute(self, exchange: Exchange) -> Reply:
        asked = exchange.ask, exchange.caller, exchange.now
        if self._registry.sealer is not None and exchange.ask.opcode in SIGNED_WRITES:
            future = await self._workers(self._registry.execute, *asked)
        elif self._pace.is_slow:
            future = await self._readers(self._registry.execute, *asked)
        elif exchange.ask.opcode == OpCode.RESOLUTION:
            future = self._pace.work(lambda: self._registry.execute(*asked))
        else:
            future = self._registry.execute(*asked)
        return future.result() if future.done() else await asyncio.wrap_future(future)

    async def _sign(self, exchange: Exchange, busy: Reply, member: Member) -> Reply:
        """Sign a member of a range and ask again; busy when the budget is used up."""
        signer = self._registry.member_signer
        assert signer is not None
        if not signer.begin(exchange.now):
            self._metrics.shed("member_signatures")
            return busy
        try:
            async with self._signing:
                wrong = await self._workers(signer.sign, member, exchange.now)
        finally:
            signer.end()
        if wrong:
            return refusal(ResponseCode.ERROR, f"the record cannot be signed: {wrong}")
        return await self._execute(exchange)

    async def _stray_answer(self, exchange: Exchange) -> Reply:
        return refusal(ResponseCode.AUTHENTICATION_TIMEOUT, "there is no challenge to answer")

    async def _verify_answer(self, exchange: Exchange) -> Reply:
        request = exchange.ask.request
        assert isinstance(request, VerifyRequest)
        referred = self._registry.refer(exchange.ask)
        if referred is not None:
            return referred
        verdict = await self._proofs.verify_request(request, exchange.source)
        self._metrics.auth("verify", "ok" if verdict.is_valid else "refused")
        if verdict.code == ResponseCode.SERVER_BUSY:
            return refusal(verdict.code, verdict.reason)
        return Reply(ResponseCode.SUCCESS, VerifyResponse(verdict.is_valid))

    async def _session_setup(self, exchange: Exchange) -> Reply:
        request = exchange.ask.request
        assert isinstance(request, SessionSetupRequest)
        if exchange.message is None:
            return refusal(ResponseCode.OPERATION_NOT_SUPPORTED, "sessions belong to the native protocol")
        planned = plan(request, exchange.message.envelope, self._rng)
        if isinstance(planned, SessionRefused):
            self._metrics.auth("session setup", "refused")
            return refusal(planned.code, planned.reason)
        source = exchange.source
        keys: SessionKeys | None = await self._proofs.run(planned.compute, source, None)
        if keys is None:
            return refusal(ResponseCode.SERVER_BUSY, "too many sessions are being set up; try again")
        exchange.new_session = self._sessions.register(
            planned, keys, source.address, exchange.now, trusted=source.is_trusted
        )
        self._metrics.auth("session setup", "ok")
        return Reply(ResponseCode.SUCCESS, keys.response)

    async def _session_terminate(self, exchange: Exchange) -> Reply:
        if exchange.session is None:
            return refusal(ResponseCode.SESSION_TIMEOUT, "the session is unknown or has ended")
        if exchange.message is None or not exchange.message.credential_octets:
            return refusal(ResponseCode.INVALID_CREDENTIAL, "ending a session needs its MAC")
        self._sessions.drop(exchange.session.id)
        return Reply(ResponseCode.SUCCESS, EmptyResponse())

    async def _key_exchange(self, exchange: Exchange) -> Reply:
        if exchange.session is None:
            return refusal(ResponseCode.SESSION_TIMEOUT, "the session is unknown or has ended")
        return refusal(ResponseCode.SESSION_FAILED, "RSA key exchange is not offered; use Diffie-Hellman")
