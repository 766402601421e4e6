"""Checking proofs of identity: behind the asker's token bucket, in a worker, a few at a time.

A proof chooses part of its own cost (PBKDF2 iterations, size of a Diffie-Hellman group), so nothing is computed for a
source that has used up its budget, and never more than a few at once for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from idnode.adapters.workers import RunBlocking
from idnode.source import Source
from idnode_protocol.codes import ResponseCode
from idnode_protocol.requests import ChallengeAnswerRequest, VerifyRequest
from idnode_registry.ask import Caller
from idnode_registry.budgets import Budgets, WorkClass
from idnode_registry.verify import HeaderProof, ValuesOf, Verdict, authenticate, verify, verify_basic, verify_header

WAITING_MAX: Final = 256
"""Proofs that may wait for a worker; beyond that the answer is "busy", which a client repeats."""
BUSY: Final = Verdict(ResponseCode.SERVER_BUSY, reason="too many proofs are being checked; try again")

OnRefused = Callable[[Source, str, str, int], None]
"""Hears of each proof that does not fit: source, method, index:handle of who he says he is, response code."""

T = TypeVar("T")


class Proofs:
    """One node's checker of proofs."""

    def __init__(
        self,
        values_of: ValuesOf,
        budgets: Budgets,
        run_blocking: RunBlocking,
        monotonic: Callable[[], float],
        *,
        workers: int,
        allow_weak: bool,
        limit_trusted: bool,
        on_refused: OnRefused | None = None,
    ) -> None:
        self._values_of = values_of
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

        def work() -> Verdict:
            return authenticate(
                self._values_of,
                answer.auth_type,
                answer.user_handle,
                answer.user_index,
                answer.signed_response,
                nonce,
                digest,
                allow_weak=self._allow_weak,
            )

        verdict = await self.run(work, source, BUSY)
        return self._heard(verdict, source, answer.auth_type, Caller(answer.user_handle, answer.user_index))

    async def verify_request(self, request: VerifyRequest, source: Source) -> Verdict:
        """A proof somebody else asked for (opcode 201); SHA-1 answers count there, see docs/protocol.md §5.7."""

        def work() -> Verdict:
            is_right = verify(self._values_of, request)
            code = ResponseCode.SUCCESS if is_right else ResponseCode.AUTHENTICATION_FAILED
            return Verdict(code, request.user_index, "HS_SECKEY")

        return await self.run(work, source, BUSY)

    async def basic(self, handle: bytes, index: int, secret: bytes, source: Source) -> Verdict:
        """HTTP Basic: the secret key itself."""
        verdict = await self.run(lambda: verify_basic(self._values_of, handle, index, secret), source, BUSY)
        return self._heard(verdict, source, "basic", Caller(handle, index))

    async def header(
        self, proof: HeaderProof, nonce: bytes, source: Source, *, is_verification: bool = False
    ) -> Verdict:
        """HTTP ``Authorization: Handle``, or somebody else's proof (opcode 201 by HTTP), where weak codes count."""

        def work() -> Verdict:
            return verify_header(self._values_of, proof, nonce, allow_weak=self._allow_weak or is_verification)

        verdict = await self.run(work, source, BUSY)
        return verdict if is_verification else self._heard(verdict, source, "http", Caller(proof.handle, proof.index))

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
