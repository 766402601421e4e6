"""A resolution that judges what it found: for a recursive node, and for explanations (docs/protocol.md §8.4).

::

    question --> the whole record --> selection of it ------------------> Judged(outcome, verdict)
                      |                                                       ^
                      '-- remembered verdict, or judge_record <--> certificates, by the same resolution

Everything one question leads to is paid from one account: the packets, octets and seconds of its walk and of the walks
to certificates (:class:`idnode.resolution.budget.Budget`), and the signature checks of all its records
(:class:`idnode_registry.trust.work.Budget`). The arithmetic is done by workers, as :mod:`idnode.trust.turns` allows.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from idnode.resolution.budget import Budget as Packets
from idnode.resolution.engine import Resolution
from idnode.resolution.explain import Explanation, Fact, Step, Trace
from idnode.resolution.question import Outcome, Question
from idnode.trust.turns import TooBusy, Turns
from idnode.trust.verification import Mode
from idnode_protocol.codes import REQUEST_FLAGS, ResponseCode, response_text
from idnode_protocol.handle import to_text, with_slash
from idnode_registry.format import select
from idnode_registry.trust.judge import Trust, judge_record
from idnode_registry.trust.verdicts import Outcome as Standing
from idnode_registry.trust.verdicts import RecordVerdict
from idnode_registry.trust.work import Answer, Need, Unreachable
from idnode_registry.trust.work import Budget as Checks

_Judging = Generator[Need, Outcome | None, RecordVerdict]

VERDICT_S: Final = 60.0
"""How long a verdict on the same octets stands: so long a withdrawn certificate may go unnoticed."""
NOT_CHECKED_S: Final = 10.0
"""How long what could not be checked is not tried again."""
VERIFY_S_MAX: Final = 2.0
"""From values to verdict, fetches included; the answer waits for it."""
REMEMBERED_OCTETS_MAX: Final = 16 * 1024 * 1024
VALUE_OVERHEAD_OCTETS: Final = 512
"""Of a remembered verdict on one value, in CPython, rounded up."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An outcome, and the verdict on the record it is of; None for an outcome without values.

    ``lives_s``: seconds for which both stand.
    """

    outcome: Outcome
    verdict: RecordVerdict | None = None
    lives_s: float = 0.0


@dataclass(slots=True)
class _Account:
    """What one question may still spend, and for whom."""

    packets: Packets
    client: int
    recursion_count: int = 0
    trace: Trace | None = None
    checks: Checks = field(default_factory=Checks)


@dataclass(frozen=True, slots=True)
class _Remembered:
    verdict: RecordVerdict
    until: float
    octets: int


def unchecked(name: bytes, reason: str) -> RecordVerdict:
    """The verdict on what was not looked into."""
    return RecordVerdict(to_text(name), Standing.NOT_CHECKED, reason)


class Verifier:
    """Resolves and judges. ``tell`` hears every verdict that is made, but not those that are remembered."""

    def __init__(
        self,
        resolution: Resolution,
        trust: Trust,
        turns: Turns,
        *,
        mode: Mode = Mode.REPORT,
        tell: Callable[[RecordVerdict], None] = lambda verdict: None,
    ) -> None:
        self._resolution = resolution
        self._trust = trust
        self._turns = turns
        self.mode: Final = mode
        self._tell = tell
        self._clock = resolution.adapters.clock
        self._remembered: OrderedDict[tuple[bytes, bytes], _Remembered] = OrderedDict()
        self._octets = 0
        self._making: dict[tuple[bytes, bytes], asyncio.Task[RecordVerdict]] = {}

    def withholds(self, verdict: RecordVerdict | None) -> bool:
        """Whether a record with this verdict is not passed on: whatever is not valid, where that is required."""
        return self.mode is Mode.REQUIRE and verdict is not None and not verdict.is_valid

    # -- resolving --------------------------------------------------------------------------------------------------

    async def resolve(self, question: Question, recursion_count: int, client: int) -> Judged:
        """The outcome, octet for octet what the resolution gives, and the verdict on it."""
        account = _Account(self._resolution.budget(), client, recursion_count)
        whole, record = question.whole, None
        if whole.key != question.key:
            record = await self._ask(account, whole)  # first, so that what is selected is of the same record
        outcome = await self._ask(account, question)
        if not outcome.is_success:
            return Judged(outcome, None, outcome.lives_s)
        return await self._judged(account, question, outcome, record or outcome)

    async def _ask(self, account: _Account, question: Question) -> Outcome:
        _, outcome, _ = await self._resolution.walk(
            question, account.recursion_count, trace=account.trace, budget=account.packets
        )
        account.packets.is_shared = True
        return outcome

    async def _judged(self, account: _Account, question: Question, outcome: Outcome, record: Outcome) -> Judged:
        """The verdict on the whole ``record``, which ``outcome`` is a selection of."""
        name = with_slash(question.name)
        if not record.is_success:
            why = record.text or str(record.failure or response_text(record.code))
            return Judged(outcome, unchecked(name, f"the whole record cannot be had: {why}"))
        verdict = await self._verdict(account, question, record)
        if not _is_selected(outcome, record, question):
            for asked in (question, question.whole):
                self._resolution.cache.expire(asked.key)
            return Judged(outcome, unchecked(name, "the record changed while it was asked for; ask again"))
        return Judged(outcome, verdict, min(outcome.lives_s, self._stands_s(question, record)))

    def at_once(self, question: Question) -> Judged | None:
        """The outcome and verdict that need no packet, no work and no waiting; None = resolve."""
        outcome = self._resolution.cached(question)
        if outcome is None or not outcome.is_success:
            return None if outcome is None else Judged(outcome, None, outcome.lives_s)
        whole = question.whole
        record = outcome if whole.key == question.key else self._resolution.cache.find(whole.key)
        if record is None or record.is_stale or not _is_selected(outcome, record, question):
            return None
        known = self._known(question, record)
        if known is None:
            return None
        return Judged(outcome, known.verdict, min(outcome.lives_s, known.until - self._clock.monotonic()))

    def put_together(self, question: Question, outcome: Outcome) -> Judged:
        """An answer made out of several records, such as the sites behind service handles."""
        why = "put together out of several records; signatures can be judged of a whole one only"
        return Judged(outcome, unchecked(with_slash(question.name), why) if outcome.is_success else None)

    # -- judging ----------------------------------------------------------------------------------------------------

    async def _verdict(self, account: _Account, question: Question, record: Outcome) -> RecordVerdict:
        known = self._known(question, record)
        if known is not None:
            return known.verdict
        key = question.key.name, record.value_list
        making = self._making.get(key)
        if making is None:  # whoever asks for the same in the meantime, an impatient client too, waits with it
            making = asyncio.get_running_loop().create_task(self._made(account, question, record))
            self._making[key] = making
            making.add_done_callback(lambda _: self._making.pop(key, None))
        return await asyncio.shield(making)

    async def _made(self, account: _Account, question: Question, record: Outcome) -> RecordVerdict:
        """A verdict made anew; it is remembered, unless only the client's share was used up."""
        name = with_slash(question.name)
        asking = self._judging(name, record, account)
        answer: Outcome | None = None
        try:
            async with self._clock.timeout(min(VERIFY_S_MAX, account.packets.seconds_left)):
                while True:
                    piece = partial(self._advance, asking, answer, at_hand=account.trace is None)
                    found = await self._turns.work(account.client, piece)
                    if isinstance(found, RecordVerdict):
                        verdict = found
                        break
                    answer = await self._ask(account, _certificates_at(found.handle))
        except TooBusy as busy:
            verdict = unchecked(name, str(busy))
            self._tell(verdict)
            return verdict
        except TimeoutError:
            verdict = unchecked(name, f"not verified within {VERIFY_S_MAX:g} s")
        self._remember(question, record, verdict)
        self._tell(verdict)
        return verdict

    def _judging(self, name: bytes, record: Outcome, account: _Account) -> _Judging:
        """:func:`judge_record` from undecoded outcomes: decoding is part of the work."""
        asking = judge_record(name, record.values, self._trust, self._clock.now(), account.checks)
        answer: Answer = None
        while True:
            try:
                need = asking.send(answer)
            except StopIteration as done:
                verdict: RecordVerdict = done.value
                return verdict
            found = yield need
            assert found is not None
            answer = _answer_of(found)

    def _advance(self, asking: _Judging, answer: Outcome | None, *, at_hand: bool) -> Need | RecordVerdict:
        """The verdict, or what has to be asked for; ``at_hand``: not what is remembered. For a worker."""
        try:
            while True:
                need = next(asking) if answer is None else asking.send(answer)
                answer = self._resolution.cache.find(_certificates_at(need.handle).key) if at_hand else None
                if answer is None:
                    return need
        except StopIteration as done:
            verdict: RecordVerdict = done.value
            return verdict

    def _known(self, question: Question, record: Outcome) -> _Remembered | None:
        key = question.key.name, record.value_list
        known = self._remembered.get(key)
        if known is None or self._clock.monotonic() >= known.until:
            return None
        self._remembered.move_to_end(key)
        return known

    def _stands_s(self, question: Question, record: Outcome) -> float:
        known = self._known(question, record)
        return 0.0 if known is None else known.until - self._clock.monotonic()

    def _remember(self, question: Question, record: Outcome, verdict: RecordVerdict) -> None:
        key = question.key.name, record.value_list
        old = self._remembered.pop(key, None)
        self._octets -= 0 if old is None else old.octets
        seconds = NOT_CHECKED_S if verdict.outcome is Standing.NOT_CHECKED else VERDICT_S
        octets = len(record.value_list) + VALUE_OVERHEAD_OCTETS * (1 + len(verdict.values) + len(verdict.signatures))
        self._remembered[key] = _Remembered(verdict, self._clock.monotonic() + seconds, octets)
        self._octets += octets
        while self._octets > REMEMBERED_OCTETS_MAX:
            self._octets -= self._remembered.popitem(last=False)[1].octets

    # -- telling ----------------------------------------------------------------------------------------------------

    async def explain(self, question: Question, client: int, *, follow_aliases: bool = False) -> Explanation:
        """Resolve, judge anew what was found and what led to it by aliases, and tell how."""
        trace = Trace(self._clock.monotonic, self._clock.now())
        account = _Account(self._resolution.budget(), client, trace=trace)
        name, outcome, walk = await self._resolution.walk(
            question, follow_aliases=follow_aliases, trace=trace, budget=account.packets
        )
        account.packets.is_shared = True
        verdict = None
        for passed, found in (*walk.passed, (name, outcome)) if outcome.is_success else ():
            about = Question(passed, question.indexes, question.types, question.flags)
            verdict = await self._explained(account, trace, about, found)
            if not verdict.is_valid:
                break
        return Explanation(to_text(name), outcome, tuple(trace.steps), trace.seconds, walk.budget.packets, verdict)

    async def _explained(self, account: _Account, trace: Trace, about: Question, found: Outcome) -> RecordVerdict:
        """A step with the walks to certificates inside, then a step for each signature with its links."""
        with trace.step("verify", to_text(about.name)) as step:
            record = found if about.whole.key == about.key else await self._ask(account, about.whole)
            if record.is_success:
                verdict = await self._made(account, about, record)
            else:
                verdict = unchecked(about.name, f"the whole record cannot be had: {record.text}")
            step.say(verdict=verdict.outcome.value, reason=verdict.reason)
        for signature in verdict.signatures:
            subject = f"{signature.index}:{verdict.handle}"
            told = trace.note("signature", subject, verdict=signature.finding.value, reason=signature.reason)
            for link in signature.links:
                facts: dict[str, Fact] = {"verdict": link.finding.value}
                if link.reason:
                    facts["reason"] = link.reason
                told.steps.append(Step("link", link.where, told.started_s, facts=facts))
        return verdict


def _certificates_at(handle: bytes) -> Question:
    """All public values of a handle that a chain leads through."""
    return Question(handle, flags=REQUEST_FLAGS)


def _answer_of(outcome: Outcome) -> Answer:
    """What is known of a handle that a chain leads through, as :func:`judge_record` wants it."""
    if outcome.is_success:
        return outcome.values
    if outcome.code == ResponseCode.HANDLE_NOT_FOUND:
        return None
    return Unreachable(outcome.text or str(outcome.failure or response_text(outcome.code)))


def _is_selected(outcome: Outcome, record: Outcome, question: Question) -> bool:
    """Whether all public values of ``outcome`` are values of the whole record, octet for octet."""
    if outcome.value_list == record.value_list:
        return True
    kinds = [kind.encode("utf-8", "surrogatepass") for kind in question.types]
    if outcome.value_list == select(record.value_list, question.indexes, kinds):
        return True
    known = {value.to_octets() for value in record.values}
    return all(value.to_octets() in known for value in outcome.values if value.is_publicly_readable)
