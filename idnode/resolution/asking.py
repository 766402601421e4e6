"""Asking sites one after another until a server answers (docs/protocol.md §1.6)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from idnode.client.errors import NoAnswer
from idnode.resolution.budget import Budget
from idnode.resolution.explain import Trace
from idnode.resolution.question import Failure, Outcome, Question, failed
from idnode.resolution.sites import Door
from idnode.resolution.upstream import Answered, LeftAlone
from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag, response_text
from idnode_protocol.handle import to_text, with_slash
from idnode_protocol.requests import VerifyRequest
from idnode_protocol.responses import VerifyResponse
from idnode_protocol.values.site import SiteInfo

if TYPE_CHECKING:
    from idnode.resolution.engine import Resolution


KEYLESS: Final = "its site record has no key, so its answers cannot be certified"


class PrefixBusy(Exception):
    """Too much is asked under one prefix; raised before a packet is sent."""


class Asking:
    """What one walk asks of servers: booked on its budget and its prefix's, told in its trace."""

    def __init__(self, shared: Resolution, budget: Budget, trace: Trace, recursion_count: int, prefix: bytes) -> None:
        self._shared = shared
        self._budget = budget
        self._trace = trace
        self._recursion_count = recursion_count
        self._prefix = prefix

    async def resolve(self, question: Question, sites: Sequence[SiteInfo], depth: int) -> tuple[Door, Answered]:
        """The first answer; code 2 and expired ones do not count.

        Raises :class:`NoAnswer`, :class:`LeftAlone` when a server was not asked any more, :class:`OverBudget`.
        """
        shared = self._shared
        failures: list[str] = []
        error: type[NoAnswer] = NoAnswer
        for door in shared.doors(sites, with_slash(question.name), primary_only=question.has(OpFlag.AT)):
            if question.has(OpFlag.CT) and not door.server.public_key:
                failures.append(f"{door}: {KEYLESS}")
                continue
            clock = shared.adapters.clock
            with self._trace.step("ask", to_text(question.name), server=str(door)) as step:
                try:
                    answered = await shared.upstream.ask(
                        door,
                        replace(question, name=with_slash(question.name), flags=shared.upstream_flags(question.flags)),
                        self._budget,
                        recursion_count=self._recursion_count + depth,
                        spend=self._spend,
                    )
                except LeftAlone as spared:
                    error = LeftAlone
                    step.say(error=str(spared))
                    failures.append(str(spared))
                    continue
                except NoAnswer as wrong:
                    shared.health.note(door, None, clock.monotonic())
                    step.say(error=str(wrong))
                    failures.append(str(wrong))
                    continue
                except asyncio.CancelledError:
                    shared.health.note(door, None, clock.monotonic())
                    step.say(error="given up: no time left")
                    raise
                shared.health.note(door, answered.seconds, clock.monotonic())
                self._budget.receive(answered.octets)
                step.say(answer=response_text(answered.code), code=answered.code, octets=answered.octets)
                return door, answered
        raise error("; ".join(failures) or "the site records name no interface that can be used")

    async def verify(self, request: VerifyRequest, sites: Sequence[SiteInfo]) -> bool | Outcome:
        """Let one of the sites check a proof (opcode 201)."""
        failures = []
        flags = self._shared.upstream_flags(REQUEST_FLAGS | OpFlag.CT)
        for door in self._shared.doors(sites, with_slash(request.user_handle), primary_only=False):
            if not door.server.public_key:
                failures.append(f"{door}: {KEYLESS}")
                continue
            with self._trace.step("ask", f"proof of {to_text(request.user_handle)}", server=str(door)):
                try:
                    answered = await self._shared.upstream.send(
                        door,
                        OpCode.VERIFY_ANSWER,
                        replace(request, tail=b""),
                        flags,
                        self._budget,
                        recursion_count=self._recursion_count,
                        spend=self._spend,
                    )
                except NoAnswer as wrong:
                    failures.append(str(wrong))
                    continue
                except PrefixBusy as busy:
                    return failed(Failure.BUSY, str(busy))
            if isinstance(answered.response, VerifyResponse):
                return answered.response.is_valid
            return Outcome(answered.code, text=answered.text, server=str(door))
        return failed(Failure.UNREACHABLE, "; ".join(failures) or "no interface of its sites can be used")

    def _spend(self, packets: int) -> None:
        if not self._shared.may_send(self._prefix, packets):
            raise PrefixBusy(f"too many questions under {to_text(self._prefix)}; try again in a second")
