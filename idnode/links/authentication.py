"""Who is asking? Sessions, challenges and their answers in the native protocol (docs/protocol.md §5.1-§5.7).

Requests of other faces bring their caller along and pass through. For a native one:

* a MAC inside an authenticated session names the caller; a wrong one ends the request (502), a repeated one too (505);
* opcode 200 answers a challenge: the challenged request takes the place of the answer on the way down;
* a reply 402 coming back up becomes a challenge with a nonce, unless the session already proved who it is (404).
"""

from __future__ import annotations

from typing import Final

from idnode.chain import Handler
from idnode.exchange import Challenged, Exchange
from idnode.metrics import Metrics
from idnode.proofs import Proofs
from idnode.resolution.elsewhere import ElsewhereMemory
from idnode.source import Source
from idnode_protocol.codes import OpCode, OpFlag, ResponseCode
from idnode_protocol.digest import RequestDigest
from idnode_protocol.message import Message
from idnode_protocol.requests import ChallengeAnswerRequest
from idnode_protocol.responses import ChallengeResponse
from idnode_registry.ask import ANONYMOUS, Ask, Caller, Reply, refusal
from idnode_registry.challenges import Challenge, ChallengeTable, ChallengeTableFull
from idnode_registry.plans import Plan
from idnode_registry.registry import Registry
from idnode_registry.sessions import Session, SessionTable
from idnode_registry.verify import Verdict

FAILURE_TEXTS: Final[dict[int, str]] = {
    ResponseCode.AUTHENTICATION_FAILED: "the proof fits no key of this user, or its hash (MD5, SHA-1) is off",
    ResponseCode.INVALID_CREDENTIAL: "this kind of proof is not known; use HS_SECKEY or HS_PUBKEY",
    ResponseCode.AUTHENTICATION_ERROR: "the proof cannot be read or costs too much",
    ResponseCode.SERVER_BUSY: "too many proofs are being checked; try again",
}
"""The same text whether or not the user exists."""


class AuthenticationLink:
    """Turns proofs into callers and refusals for want of proof into challenges."""

    def __init__(
        self,
        registry: Registry,
        challenges: ChallengeTable[Challenged],
        sessions: SessionTable,
        proofs: Proofs,
        metrics: Metrics,
        elsewhere: ElsewhereMemory | None,
    ) -> None:
        self._registry = registry
        self._challenges = challenges
        self._sessions = sessions
        self._proofs = proofs
        self._metrics = metrics
        self._elsewhere = elsewhere

    async def __call__(self, exchange: Exchange, following: Handler) -> Reply:
        message = exchange.message
        if message is None:
            return await following(exchange)
        if isinstance(exchange.ask.request, ChallengeAnswerRequest):
            return await self._answered(exchange, message, exchange.ask.request, following)
        if exchange.session is not None and message.credential_octets:
            refused = self._check_mac(exchange, message, exchange.session)
            if refused is not None:
                return refused
        if self._reads_before_proof(exchange):
            return self._challenge(exchange, message)
        reply = await following(exchange)
        return self._challenge(exchange, message) if reply.code == ResponseCode.AUTHENTICATION_NEEDED else reply

    def _check_mac(self, exchange: Exchange, message: Message, session: Session) -> Reply | None:
        """Name the caller by the session's MAC; None = go on."""
        refused = session.check(message)
        if refused is not None:
            self._metrics.auth("session", "refused")
            return refusal(refused.code, refused.reason)
        self._sessions.touch(session, exchange.now)
        exchange.caller = session.caller
        if session.is_authenticated:
            self._metrics.auth("session", "ok")
        return None

    @staticmethod
    def _reads_before_proof(exchange: Exchange) -> bool:
        """A read with PO clear inside a session that has not proved itself is always challenged."""
        session = exchange.session
        return (
            session is not None
            and session.identity is not None
            and not session.is_authenticated
            and exchange.ask.opcode == OpCode.RESOLUTION
            and not exchange.ask.has(OpFlag.PO)
        )

    def _challenge(self, exchange: Exchange, message: Message) -> Reply:
        session = exchange.session
        if session is not None and session.is_authenticated:
            return refusal(ResponseCode.INVALID_CREDENTIAL, "inside this session the request needs the session's MAC")
        digest = RequestDigest.of(message.envelope.answered_version, message.header_and_body).octets
        request_id, now = message.envelope.request_id, exchange.now
        challenge = None if session is None else self._challenges.again(session.id, request_id, digest, now)
        if challenge is None:
            try:
                challenge = self._open(exchange, message, digest)
            except ChallengeTableFull as full:
                self._metrics.shed("challenges")
                return refusal(ResponseCode.SERVER_BUSY, str(full))
        exchange.challenge = challenge
        return Reply(ResponseCode.AUTHENTICATION_NEEDED, ChallengeResponse(challenge.nonce))

    def _open(self, exchange: Exchange, message: Message, digest: bytes) -> Challenge[Challenged]:
        source = exchange.source
        return self._challenges.open(
            source.address,
            source.is_proven,
            Challenged(message, exchange.ask),
            message.envelope.length,
            digest,
            exchange.now,
            session_id=None if exchange.session is None else exchange.session.id,
            request_id=message.envelope.request_id,
            trusted=source.is_trusted,
        )

    async def _answered(
        self, exchange: Exchange, message: Message, answer: ChallengeAnswerRequest, following: Handler
    ) -> Reply:
        pending = self._challenges.pending(message.envelope.session_id, exchange.now)
        if not pending:
            self._metrics.auth("challenge", "expired")
            return refusal(ResponseCode.AUTHENTICATION_TIMEOUT, "the challenge is unknown, used or expired; ask again")
        # Several requests of one session may be challenged at once; the proof fits one of them, which costs a check
        # for each. Without a session there is exactly one, and a proof that does not fit uses it up.
        fitting, refused, caller = pending[0], refusal(ResponseCode.AUTHENTICATION_FAILED), ANONYMOUS
        for fitting in pending:
            refused, caller = await self._identify(fitting, answer, exchange)
            if not caller.is_anonymous:
                break
        if not self._challenges.claim(fitting, exchange.now, message.envelope.request_id):
            return refusal(ResponseCode.AUTHENTICATION_TIMEOUT, "the challenge was used meanwhile; ask again")
        exchange.original, exchange.ask = fitting.request
        if fitting.session_id is None:
            exchange.session = None
        if caller.is_anonymous:
            return refused
        exchange.caller = caller
        if exchange.session is not None and exchange.session.bind(answer.user_handle, answer.user_index, caller):
            self._sessions.touch(exchange.session, exchange.now)
        return await following(exchange)

    async def _identify(
        self, challenge: Challenge[Challenged], answer: ChallengeAnswerRequest, exchange: Exchange
    ) -> tuple[Reply, Caller]:
        """(refusal, ANONYMOUS) or (unused, caller).

        The reference looks for the right first and at the proof second, but for a public key named by index 0.
        """
        claimed = Caller(answer.user_handle, answer.user_index)
        if not (answer.auth_type == "HS_PUBKEY" and answer.user_index == 0):
            refused = await self._lacks_right(challenge.request.ask, claimed, exchange.now, exchange.source)
            if refused is not None:
                self._metrics.auth(_METHOD.get(answer.auth_type, "other"), "no right")
                return refused, ANONYMOUS
        verdict = await self._proofs.challenge_answer(answer, challenge.nonce, challenge.digest, exchange.source)
        self._metrics.auth(_METHOD.get(answer.auth_type, "other"), "ok" if verdict.is_valid else "refused")
        if not verdict.is_valid:
            return _refused(verdict), ANONYMOUS
        return Reply(ResponseCode.SUCCESS), Caller(answer.user_handle, verdict.index)

    async def _lacks_right(self, ask: Ask, claimed: Caller, now: float, source: Source) -> Reply | None:
        async def decide() -> Reply | Plan:
            return self._registry.answer(ask, claimed, now)

        decided = await (decide() if self._elsewhere is None else self._elsewhere.settle(decide, source))
        return decided if isinstance(decided, Reply) and decided.code in _UNENTITLED else None


_UNENTITLED: Final = frozenset({ResponseCode.INVALID_ADMIN, ResponseCode.AUTHENTICATION_ERROR})
"""No right, or nobody could say whether there is one; the proof is then not looked at."""
_METHOD: Final = {"HS_SECKEY": "seckey", "HS_PUBKEY": "pubkey"}


def _refused(verdict: Verdict) -> Reply:
    return refusal(verdict.code, verdict.reason if verdict.is_unheard else FAILURE_TEXTS.get(verdict.code, ""))
