"""Recursion: what is not homed here is resolved on behalf of the client (docs/protocol.md §1.7).

Taken up are resolutions (opcode 1) and verifications (opcode 201) with REC set. They go upstream with recursion count
+ 1 and REC clear; the answer is relayed octet for octet, so that record signatures still verify, with this node's own
digest and certificate. A copy never carries AT. Bare prefixes are prefix handles, and octets behind the last known
field of a request stay here: that is how the Chinese SDK asks (docs/idis.md).

With a verifier the signatures of the record are judged before (docs/protocol.md §8.4); where it requires valid ones,
everything else is answered with code 2 and the reason.

A client older than 2.10 cannot follow RC 303; it is answered on its behalf too, whether or not it set REC.
"""

from __future__ import annotations

from typing import Final

from idnode.chain import Handler
from idnode.exchange import Exchange
from idnode.metrics import Metrics
from idnode.resolution.engine import Resolution
from idnode.resolution.question import Outcome, Question
from idnode.trust.turns import account_of
from idnode.trust.verifier import Judged, Verifier
from idnode_protocol.codes import OpCode, OpFlag, ResponseCode
from idnode_protocol.requests import ResolutionRequest, VerifyRequest
from idnode_protocol.responses import VerifyResponse, resolution_body
from idnode_registry.ask import Ask, Freshness, Reply, refusal
from idnode_registry.referrals import wants_recursion
from idnode_registry.registry import Registry

RECURSED: Final = frozenset({OpCode.RESOLUTION, OpCode.VERIFY_ANSWER})


def question_from(ask: Ask, request: ResolutionRequest) -> Question:
    """What is asked upstream for a client's request."""
    kept = ask.flags & int(OpFlag.AT | OpFlag.PO | OpFlag.CA)
    return Question(request.handle, request.indexes, request.types, kept)


def reply_from(name: bytes, judged: Judged, *, withholds: bool = False) -> Reply:
    """The reply to a client; ``name`` is repeated as it was spelled. ``withholds``: its verdict, not its values."""
    outcome, verdict = judged.outcome, judged.verdict
    freshness = Freshness(
        outcome.age_s,
        judged.lives_s,
        outcome.is_stale,
        outcome.is_authoritative and not outcome.is_cached and not outcome.is_stale,
        verdict,
    )
    if withholds and verdict is not None:
        refused = refusal(ResponseCode.ERROR, f"withheld, its signatures are {verdict.outcome.value}: {verdict.reason}")
        return Reply(refused.code, refused.response, freshness=freshness)
    if outcome.is_success:
        body = resolution_body(name, outcome.value_list)
        return Reply(ResponseCode.SUCCESS, octets=body, freshness=freshness)
    if outcome.code == ResponseCode.AUTHENTICATION_NEEDED:
        # The challenge of another server cannot be passed on: its answer would come to us.
        text = "this node does not prove identities to others; ask the handle's own server"
        return refusal(ResponseCode.SERVER_NOT_RESPONSIBLE, text)
    text = f"{outcome.failure}: {outcome.text}" if outcome.failure else outcome.text
    refused = refusal(outcome.code, text)
    return Reply(refused.code, refused.response, freshness=freshness)


class ReferralLink:
    """Resolves elsewhere what this node does not hold: for all that set REC (``recurses``), else for old clients."""

    def __init__(
        self,
        registry: Registry,
        resolution: Resolution,
        metrics: Metrics,
        *,
        recurses: bool,
        verifier: Verifier | None = None,
    ) -> None:
        self._registry = registry
        self._resolution = resolution
        self._metrics = metrics
        self._recurses = recurses
        self._verifier = verifier

    async def __call__(self, exchange: Exchange, following: Handler) -> Reply:
        ask = exchange.ask
        if ask.opcode not in RECURSED:
            return await following(exchange)
        if self._recurses and ask.has(OpFlag.REC) and not self._registry.is_homed(ask.request.handle):
            return await self._elsewhere(exchange)
        reply = await following(exchange)
        if wants_recursion(ask, reply):
            return await self._elsewhere(exchange)
        return reply

    def at_once(self, ask: Ask) -> Reply | None:
        """The reply that needs no packet, from the cache; None = ask the chain."""
        request = ask.request
        assert isinstance(request, ResolutionRequest)
        question = question_from(ask, request)
        if self._verifier is not None:
            judged = self._verifier.at_once(question)
            return None if judged is None else self._reply(request.handle, judged)
        outcome = self._resolution.cached(question)
        return None if outcome is None else reply_from(request.handle, Judged(outcome, None, outcome.lives_s))

    def _reply(self, name: bytes, judged: Judged) -> Reply:
        withholds = self._verifier is not None and self._verifier.withholds(judged.verdict)
        if withholds:
            self._metrics.withheld()
        return reply_from(name, judged, withholds=withholds)

    def takes(self, ask: Ask) -> bool:
        """Whether a resolution is not the registry's to answer."""
        return self._recurses and ask.has(OpFlag.REC) and not self._registry.is_homed(ask.request.handle)

    async def _elsewhere(self, exchange: Exchange) -> Reply:
        count = exchange.message.header.recursion_count if exchange.message is not None else 0
        most = self._resolution.settings.limits.recursion_count_max
        if count > most:
            return refusal(ResponseCode.RECURSION_COUNT_TOO_HIGH, f"the recursion count {count} is above {most}")
        request = exchange.ask.request
        if isinstance(request, ResolutionRequest):
            question = question_from(exchange.ask, request)
            return self._reply(request.handle, await self._found(exchange, request, question, count + 1))
        assert isinstance(request, VerifyRequest)
        answered = await self._resolution.verify(request, count + 1)
        if isinstance(answered, Outcome):
            return reply_from(request.handle, Judged(answered, None, answered.lives_s))
        return Reply(ResponseCode.SUCCESS, VerifyResponse(answered), freshness=Freshness(is_authoritative=True))

    async def _found(self, exchange: Exchange, request: ResolutionRequest, question: Question, count: int) -> Judged:
        """What is found elsewhere, with the verdict on its signatures when they are looked at."""
        if self._verifier is None:
            outcome = await self._resolution.resolve(question, recursion_count=count)
            judged = Judged(outcome, None, outcome.lives_s)
        else:
            judged = await self._verifier.resolve(question, count, account_of(exchange.source))
        if judged.outcome.code != ResponseCode.VALUES_NOT_FOUND or not _asks_for_sites(request):
            return judged
        outcome = await self._sites(question, judged.outcome)
        if self._verifier is None:
            return Judged(outcome, None, outcome.lives_s)
        return self._verifier.put_together(question, outcome)

    async def _sites(self, question: Question, none: Outcome) -> Outcome:
        """A prefix that names a service handle only: the values of type HS_SITE that handle holds.

        The SDK follows no HS_SERV; for it the node that recurses does.
        """
        return await self._resolution.service_values(question, none)


def _asks_for_sites(request: ResolutionRequest) -> bool:
    """The SDK's question: a bare prefix, the type HS_SITE alone."""
    return (
        b"/" not in request.handle and not request.indexes and [kind.upper() for kind in request.types] == ["HS_SITE"]
    )
