"""Verification where it waits: the registry's rules, driven with asynchronous fetches (docs/protocol.md §8.4).

::

    verdict = await verify_record(handle, values, fetch, trust, now, budget)

``fetch`` gives every value of a handle, or None when it does not exist. If it raises :class:`FetchFailed` the
verdict is *not checked*; anything else passes through.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import Enum

from idnode_protocol.value import HandleValue
from idnode_registry.trust.judge import Trust, judge_record
from idnode_registry.trust.keys import DEFAULT_RULES, KeyRules, key_from_octets
from idnode_registry.trust.verdicts import Outcome, RecordVerdict
from idnode_registry.trust.work import Answer, Budget, Unreachable

Fetch = Callable[[bytes], Awaitable[Sequence[HandleValue] | None]]


class FetchFailed(Exception):
    """A handle on the way to the root could not be resolved; the message says why. The record stays *not checked*."""


class Mode(Enum):
    """What a resolver does about signatures."""

    OFF = "off"
    REPORT = "report"
    """Verify and say what was found; deliver whatever it is."""
    REQUIRE = "require"
    """Deliver nothing but records found valid."""


class RecordNotTrusted(Exception):
    """The record is withheld because verification is required and did not find it valid; ``verdict`` says why."""

    def __init__(self, verdict: RecordVerdict) -> None:
        self.verdict = verdict
        super().__init__(f"{verdict.handle} is withheld: {verdict.outcome.value}: {verdict.reason}")


def trust_of(root_keys: Iterable[bytes], rules: KeyRules = DEFAULT_RULES) -> Trust:
    """Trust in root keys given as HS_PUBKEY octets; raises KeyRefused."""
    return Trust(tuple(key_from_octets(octets, rules) for octets in root_keys), rules)


async def verify_record(
    handle: bytes,
    values: Sequence[HandleValue],
    fetch: Fetch,
    trust: Trust,
    now: float,
    budget: Budget | None = None,
) -> RecordVerdict:
    """The verdict on a whole record. ``budget`` is shared by the records of one resolution."""
    asking = judge_record(handle, values, trust, now, budget)
    try:
        need = next(asking)
        while True:
            need = asking.send(await _answer(fetch, need.handle))
    except StopIteration as done:
        verdict: RecordVerdict = done.value
        return verdict


async def _answer(fetch: Fetch, handle: bytes) -> Answer:
    try:
        return await fetch(handle)
    except FetchFailed as wrong:
        return Unreachable(str(wrong))


async def apply_mode(
    mode: Mode,
    handle: bytes,
    values: Sequence[HandleValue],
    fetch: Fetch,
    trust: Trust,
    now: float,
    budget: Budget | None = None,
) -> RecordVerdict | None:
    """None when verification is off, else the verdict; raises :class:`RecordNotTrusted` where it is required."""
    if mode is Mode.OFF:
        return None
    verdict = await verify_record(handle, values, fetch, trust, now, budget)
    if mode is Mode.REQUIRE and verdict.outcome is not Outcome.VALID:
        raise RecordNotTrusted(verdict)
    return verdict
