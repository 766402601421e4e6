"""Checking proofs of identity: behind the asker's token bucket, in a worker, a few at a time.

A proof chooses part of its own cost (PBKDF2 iterations, size of a Diffie-Hellman group), so nothing is computed for a
source that has used up its budget, and never more than a few at once for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from idnode.adapters.workers import RunBlocking
from idnode.resolution.elsewhere import ElsewhereMemory
from idnode.source import Source
from idnode_protocol.authentication import HS_SECKEY, PBKDF2_ANSWER, secret_key_answer
from idnode_protocol.codes import ResponseCode
from idnode_protocol.requests import ChallengeAnswerRequest, VerifyRequest
from idnode_registry.ask import Caller
from idnode_registry.budgets import Budgets, WorkClass
from idnode_registry.challenges import Rng
from idnode_registry.elsewhere import Known, Need, Wanted
from idnode_registry.registry import Registry
from idnode_registry.verify import (
    HeaderProof,
    ValuesOf,
    Verdict,
    answer_of,
    authenticate,
    readable,
    verify,
    verify_basic,
    verify_header,
)

WAITING_MAX: Final = 256
"""Proofs that may wait for a worker; beyond that the answer is "busy", which a client repeats."""
BUSY: Final = Verdict(ResponseCode.SERVER_BUSY, reason="too many proofs are being checked; try again")

UNHEARD: Final = "the server that keeps this user's key could not be asked"

OnRefused = Callable[[Source, str, str, int], None]
"""Hears of each proof that does not fit: source, method, index:handle of who he says he is, response code."""

T = TypeVar("T")


class Proofs:
    """One node's checker of proofs."""

    def __init__(
        self,
        registry: Registry,
        elsewhere: ElsewhereMemory | None,
        rng: Rng,
        budgets: Budgets,
        run_blocking: RunBlocking,
        monotonic: Callable[[], float],
        *,
        workers: int,
        allow_weak: bool,
        limit_trusted: bool,
        on_refused: OnRefused | None = None,
    ) -> None:
        self._registry = registry
        self._values_of = registry.values
        self._elsewhere = elsewhere
        self._rng = rng
        self._budgets = budgets
        self._run_blocking = run_blocking
        self._monotonic = monotonic
        self._gate = asyncio.Semaphore(workers)
        self._waiting = 0
        self._allow_weak = allow_weak
        self._limit_trusted = limit_trusted
        self._on_refused = on_refused

    async def challenge_answer(
        self, answer: ChallengeAnswerRequest, nonce: bytes, digest: bytes, source: Source
    ) -> Verdict:
        """The answer to one of our challenges (opcode 200)."""

        verdict = await self._judge(
            answer.auth_type, answer.user_handle, answer.user_index, answer.signed_response, (nonce, digest), source
        )
        return self._heard(verdict, source, answer.auth_type, Caller(answer.user_handle, answer.user_index))

    async def _judge(
        self, kind: str, handle: bytes, index: int, answer: bytes, message: tuple[bytes, bytes], source: Source
    ) -> Verdict:
        """By keys that are here, or by what the user's own server says (docs/protocol.md §5.5)."""
        values_of: ValuesOf = self._values_of
        if self._elsewhere is not None and self._registry.is_elsewhere(handle):
            parsed = readable(kind, index, answer, allow_weak=self._allow_weak)
            if isinstance(parsed, Verdict):
                return parsed
            if kind == HS_SECKEY:
                return await self._by_their_server(VerifyRequest(handle, index, *message, answer), source)
            known = await self._elsewhere.get(Wanted(handle, Need.KEYS, index), source)
            if known is None or known.failure:
                return _unheard(kind, index, known)
            values_of = _only(known)

        def work() -> Verdict:
            return authenticate(values_of, kind, handle, index, answer, *message, allow_weak=self._allow_weak)

        return await self.run(work, source, BUSY)

    async def _by_their_server(self, request: VerifyRequest, source: Source) -> Verdict:
        """The secret never leaves its server; that judges the proof."""
        assert self._elsewhere is not None
        said = await self._elsewhere.verify(request, source)
        if not isinstance(said, bool):
            return _unheard(HS_SECKEY, request.user_index, said)
        code = ResponseCode.SUCCESS if said else ResponseCode.AUTHENTICATION_FAILED
        return Verdict(code, request.user_index, HS_SECKEY, "" if said else "the user's own server does not take it")

    async def verify_request(self, request: VerifyRequest, source: Source) -> Verdict:
        """A proof somebody else asked for (opcode 201); SHA-1 answers count there, see docs/protocol.md §5.7."""

        def work() -> Verdict:
            is_right = verify(self._values_of, request)
            code = ResponseCode.SUCCESS if is_right else ResponseCode.AUTHENTICATION_FAILED
            return Verdict(code, request.user_index, "HS_SECKEY")

        return await self.run(work, source, BUSY)

    async def basic(self, handle: bytes, index: int, secret: bytes, source: Source) -> Verdict:
        """HTTP Basic: the secret key itself; another server's user is asked about as if he had been challenged."""
        if self._elsewhere is not None and self._registry.is_elsewhere(handle):
            nonce, digest, salt = self._rng(16), self._rng(32), self._rng(16)

            def work() -> bytes:
                return secret_key_answer(secret, nonce, digest, code=PBKDF2_ANSWER, salt=salt)

            answer = await self.run(work, source, b"")
            request = VerifyRequest(handle, index, nonce, digest, answer)
            verdict = await self._by_their_server(request, source) if answer else BUSY
        else:
            verdict = await self.run(lambda: verify_basic(self._values_of, handle, index, secret), source, BUSY)
        return self._heard(verdict, source, "basic", Caller(handle, index))

    async def header(
        self, proof: HeaderProof, nonce: bytes, source: Source, *, is_verification: bool = False
    ) -> Verdict:
        """HTTP ``Authorization: Handle``, or somebody else's proof (opcode 201 by HTTP), where weak codes count."""
        if is_verification:
            return await self.run(lambda: verify_header(self._values_of, proof, nonce, allow_weak=True), source, BUSY)
        answer = answer_of(proof)
        if isinstance(answer, Verdict):
            verdict = answer
        else:
            message = nonce, proof.cnonce
            verdict = await self._judge(proof.type, proof.handle, proof.index, answer, message, source)
        return self._heard(verdict, source, "http", Caller(proof.handle, proof.index))

    def _heard(self, verdict: Verdict, source: Source, method: str, claimed: Caller) -> Verdict:
        if self._on_refused is not None and not verdict.is_valid and verdict.code != ResponseCode.SERVER_BUSY:
            self._on_refused(source, method, str(claimed), verdict.code)
        return verdict

    async def run(self, work: Callable[[], T], source: Source, busy: T) -> T:
        """The result of ``work``, or ``busy`` when the source or the node has too much of it under way."""
        is_limited = self._limit_trusted or not source.is_trusted
        if is_limited and not self._budgets.spend(source.address, WorkClass.AUTH, self._monotonic()):
            return busy
        if self._waiting >= WAITING_MAX:
            return busy
        self._waiting += 1
        try:
            async with self._gate:
                return await self._run_blocking(work)
        finally:
            self._waiting -= 1


def _only(known: Known) -> ValuesOf:
    return lambda handle: known.values


def _unheard(kind: str, index: int, known: Known | None) -> Verdict:
    """Nobody judged the proof: too much is under way, or its server cannot be had."""
    if known is None:
        return BUSY
    return Verdict(ResponseCode.AUTHENTICATION_ERROR, index, kind, f"{UNHEARD}: {known.failure}", is_unheard=True)
