"""The walk from the root to an answer, one client's question at a time (docs/protocol.md §1.5).

::

    record(x) -- cache? --> sites_for(x) --+-- name under 0. : the root's sites
                                |          +-- record(prefix handle of x) -> HS_SITE, and of each HS_SERV s: record(s)
                                v
                            ask them --> answer, or RC 302/303: the sites named there are asked --> ...

Meeting a name again that is being looked for is a loop, which that branch answers with "nobody"; which failures may be
remembered then, :mod:`idnode.resolution.frames` says. :mod:`idnode.resolution.asking` talks to servers.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from idnode.client.errors import NoAnswer
from idnode.resolution.asking import Asking, PrefixBusy
from idnode.resolution.budget import EXHAUSTED_S, LOOP_S, NEGATIVE_S, STALE_WAIT_S, Budget, OverBudget, victim_of
from idnode.resolution.cache import service_key
from idnode.resolution.explain import Step, Trace
from idnode.resolution.frames import Frames
from idnode.resolution.question import Failure, Outcome, Question, failed
from idnode.resolution.sites import (
    ASKED_TYPES,
    PREFIX_SERVICE_TYPES,
    PREFIX_SITE_TYPES,
    SERVICE_TYPES,
    SITE_TYPES,
    Door,
    services_in,
    sites_in,
)
from idnode.resolution.upstream import Answered, LeftAlone
from idnode_protocol.codes import REQUEST_FLAGS, OpFlag, ResponseCode, response_text
from idnode_protocol.handle import ROOT_HANDLE, fold, is_prefix_handle, prefix_handle, to_text, with_slash
from idnode_protocol.requests import VerifyRequest
from idnode_protocol.responses import ReferralResponse
from idnode_protocol.value import HandleValue
from idnode_protocol.values.site import SiteInfo

if TYPE_CHECKING:
    from idnode.resolution.engine import Resolution

TEMPORARY: Final = frozenset({Failure.UNREACHABLE, Failure.TIME, Failure.BUSY, Failure.BUDGET})
"""Failures after which an old answer is better than none."""
STEPS_MAX: Final = 512
"""Names looked at in one walk, from the cache too: processor time has a bound like everything else."""
SERVICES_PER_SET_MAX: Final = 32
"""HS_SERV values looked at in one record; each costs a packet when it is not cached."""

Sites = tuple[SiteInfo, ...]


class Walk:
    """One resolution. Sequential: its parts never run beside one another."""

    def __init__(self, shared: Resolution, budget: Budget, trace: Trace, recursion_count: int, prefix: bytes) -> None:
        self._shared = shared
        self._budget = budget
        self._trace = trace
        self._asking = Asking(shared, budget, trace, recursion_count, prefix)
        self._frames = Frames()
        self._found: dict[Hashable, Sites | Outcome] = {}
        self._services = 0
        self._steps = 0
        self._reloaded = False
        self.is_stale = False
        """A stale delegation or record was used."""
        self.passed: list[tuple[bytes, Outcome]] = []
        """The records whose HS_ALIAS values led to the last one, in order."""

    @property
    def budget(self) -> Budget:
        return self._budget

    @property
    def saw_loop(self) -> bool:
        """Whether a delegation led back to itself, even if an answer was found beside it."""
        return self._frames.saw_loop

    # -- records ----------------------------------------------------------------------------------------------------

    async def record(self, question: Question) -> Outcome:
        """The outcome of a question, from the cache or from a server. Raises :class:`OverBudget`."""
        self._count_step()
        cache, key = self._shared.cache, question.key
        known = None if question.has(OpFlag.AT) else cache.find(key)
        if known is not None:
            self._note_cached(question, known)
            return known
        if key in self._frames:
            return self._loop(key, question.name)
        generation = cache.generation
        with self._frames.frame(key) as place, self._trace.step("resolve", to_text(question.name)) as step:
            outcome = await self._with_old(question, cache.has_old(key))
            if outcome.failure is None and not outcome.is_cached:
                outcome = cache.put(key, outcome, self._shared.adapters.clock.now(), generation)
            elif outcome.failure is Failure.LOOP and self._frames.is_closed(place):
                cache.fail(key, outcome, LOOP_S)
            _tell(step, outcome)
        return outcome

    async def _with_old(self, question: Question, has_old: bool) -> Outcome:
        """Ask; when that fails for now and an old answer is there, that one."""
        if not has_old:
            return await self._fresh(question)
        try:
            async with self._shared.adapters.clock.timeout(min(STALE_WAIT_S, self._budget.seconds_left)):
                outcome = await self._fresh(question)
        except TimeoutError:
            outcome = failed(Failure.TIME, f"no answer within {STALE_WAIT_S} s")
        except OverBudget as over:
            outcome = failed(Failure.BUDGET, str(over))
        if outcome.failure not in TEMPORARY:
            return outcome
        return self.old_answer(question, outcome)

    def old_answer(self, question: Question, outcome: Outcome) -> Outcome:
        """The stale answer in place of a failure, when there is one."""
        old = self._shared.cache.stale(question.key)
        if old is None:
            return outcome
        self.is_stale = True
        self._trace.note("stale", to_text(question.name), age=old.age_s, because=outcome.text)
        return old

    async def _fresh(self, question: Question) -> Outcome:
        """Find out who is responsible, and ask."""
        for attempt in range(2):
            sites = await self.sites_for(question)
            if isinstance(sites, Outcome):
                return sites
            outcome = await self._ask(question, sites)
            moved = outcome.failure is Failure.UNREACHABLE or outcome.code == ResponseCode.SERVER_NOT_RESPONSIBLE
            if attempt == 0 and moved and self._forget_delegation(question):
                continue
            break
        return outcome

    def _forget_delegation(self, question: Question) -> bool:
        """Whether the delegation came from the cache, and is now forgotten: the prefix may have moved."""
        home = prefix_handle(with_slash(question.name))
        key = self._prefix_question(home, question).key
        known = self._shared.cache.get(key)
        if (
            is_prefix_handle(question.name)
            or known is None
            or not known.is_success
            or known.age_s < 1
            or known.is_stale
        ):
            return False
        self._shared.cache.expire(key)
        self._found.pop(service_key(home), None)
        self._trace.note("cache", to_text(home), forgotten=True, because="its servers do not answer for the name")
        return True

    # -- who is responsible -----------------------------------------------------------------------------------------

    async def sites_for(self, question: Question) -> Sites | Outcome:
        """The sites that answer for a name, or why there are none."""
        name = with_slash(question.name)
        home = prefix_handle(name)
        roots = self._shared.roots
        local = roots.overrides.get(home)
        if local:
            self._trace.note("service", to_text(home), source="local configuration", sites=len(local))
            return local
        if roots.caching:
            return roots.caching
        if name.startswith((b"0.", b"0/")):
            return roots.sites
        key = service_key(home)
        known = self._found.get(key) or self._shared.cache.get(key)
        if known is not None:
            if isinstance(known, Outcome):
                self._trace.note("cache", f"service of {to_text(home)}", known=known.text, age=known.age_s)
            return known
        if key in self._frames:
            return self._loop(key, home)
        with self._frames.frame(key) as place, self._trace.step("service", to_text(home)) as step:
            try:
                found = await self._service(home, question)
            except OverBudget as over:
                if place <= 1 and not self._budget.is_shared:
                    seconds = LOOP_S if self._frames.saw_loop else EXHAUSTED_S
                    self._shared.cache.fail(key, failed(Failure.BUDGET, str(over)), seconds)
                raise
            if self._frames.is_closed(place):
                self._found[key] = found
                if isinstance(found, Outcome) and found.failure in (Failure.LOOP, Failure.NO_SERVICE):
                    self._shared.cache.fail(key, found, LOOP_S if found.failure is Failure.LOOP else NEGATIVE_S)
            if isinstance(found, Outcome):
                step.say(failed=found.text or str(found.failure))
            else:
                step.say(sites=len(found))
        return found

    @staticmethod
    def _prefix_question(home: bytes, question: Question) -> Question:
        flags = (question.flags | OpFlag.PO) & ~OpFlag.AT
        return Question(home, (), ASKED_TYPES, flags)

    async def _service(self, home: bytes, question: Question) -> Sites | Outcome:
        """The sites a prefix handle names; asked once more with AT when a copy named none."""
        self._budget.look_up(home)
        asked = self._prefix_question(home, question)
        found: Sites | Outcome = ()
        for flags in (asked.flags, asked.flags | OpFlag.AT):
            outcome = await self.record(replace(asked, flags=int(flags)))
            if outcome.failure is not None:
                return outcome
            if outcome.is_success:
                found = await self._sites_in(outcome.values, SITE_TYPES, SERVICE_TYPES, question)
            elif outcome.code not in (ResponseCode.HANDLE_NOT_FOUND, ResponseCode.VALUES_NOT_FOUND):
                return outcome
            elif outcome.code == ResponseCode.HANDLE_NOT_FOUND:
                found = replace(outcome, text=f"the prefix {to_text(home[5:])} is not registered", value_list=b"")
            if outcome.is_authoritative or (found and not isinstance(found, Outcome)) or isinstance(found, Outcome):
                break
        if isinstance(found, Outcome) or found:
            return found
        return failed(Failure.NO_SERVICE, f"{to_text(home)} names no site")

    async def _sites_in(
        self, values: Sequence[HandleValue], site_types: Sequence[str], service_types: Sequence[str], question: Question
    ) -> Sites | Outcome:
        """All site records among values and the union of what their service handles lead to; () = nothing there."""
        found = list(sites_in(values, site_types))
        services = services_in(values, service_types)
        why: Outcome | None = None
        for service in services[:SERVICES_PER_SET_MAX]:
            got = await self._service_handle(service, question)
            if isinstance(got, Outcome):
                why = why or got
            else:
                found += got
        if not found and why is None and len(services) > SERVICES_PER_SET_MAX:
            why = failed(Failure.BUDGET, f"more than {SERVICES_PER_SET_MAX} service handles in one record")
        return tuple(dict.fromkeys(found)) if found or why is None else why

    async def _service_handle(self, service: bytes, question: Question) -> Sites | Outcome:
        """The sites a service handle leads to."""
        if fold(service) == ROOT_HANDLE:
            return self._shared.roots.sites
        if self._services >= self._budget.limits.services_max:
            self._frames.cut_below_all()
            return failed(Failure.TOO_DEEP, f"more than {self._budget.limits.services_max} service handles in a row")
        self._services += 1
        try:
            outcome = await self.record(self._prefix_question(service, question))
            if not outcome.is_success:
                reason = outcome.text or response_text(outcome.code)
                return outcome if outcome.failure else failed(Failure.NO_SERVICE, f"{to_text(service)}: {reason}")
            found = await self._sites_in(outcome.values, SITE_TYPES, SERVICE_TYPES, question)
            return found or failed(Failure.NO_SERVICE, f"{to_text(service)} names no site")
        finally:
            self._services -= 1

    # -- asking -----------------------------------------------------------------------------------------------------

    async def _ask(self, question: Question, sites: Sites) -> Outcome:
        """Ask the sites, and those they refer to. Raises :class:`OverBudget`."""
        asked: set[SiteInfo] = set()
        is_prefix = is_prefix_handle(with_slash(question.name))
        referrals = 0
        while True:
            asked.update(sites)
            try:
                door, answered = await self._asking.resolve(question, sites, self._frames.depth // 2 + referrals)
            except LeftAlone as spared:
                return failed(Failure.BUDGET, str(spared))
            except NoAnswer as wrong:
                return failed(Failure.UNREACHABLE, str(wrong))
            except PrefixBusy as busy:
                return failed(Failure.BUSY, str(busy))
            is_root = sites == self._shared.roots.sites
            if self._is_out_of_date(answered, door, is_root) and await self._reload():
                sites = self._shared.roots.sites if is_root else sites
                if answered.code == ResponseCode.OUT_OF_DATE_SITE_INFO:
                    continue
            follows = answered.code == ResponseCode.SERVICE_REFERRAL or (
                answered.code == ResponseCode.PREFIX_REFERRAL and is_prefix
            )
            if not follows or not isinstance(answered.response, ReferralResponse):
                return self._outcome(answered, door)
            referrals += 1
            if referrals > self._budget.limits.referrals_max:
                return failed(Failure.TOO_DEEP, f"more than {self._budget.limits.referrals_max} referrals")
            self._budget.was_useful(victim_of(door.host, door.port))
            with self._trace.step("referral", to_text(question.name), code=answered.code) as step:
                following = await self._referred(answered.response, question)
                if isinstance(following, Outcome):
                    step.say(failed=following.text)
                    return following
                step.say(sites=len(following))
            if set(following) <= asked:
                self._frames.saw_loop = True
                self._trace.note("loop", to_text(question.name), at=str(door))
                return failed(Failure.LOOP, f"{door} refers to servers that were asked before")
            sites = following

    def _outcome(self, answered: Answered, door: Door) -> Outcome:
        if answered.code == ResponseCode.SUCCESS:
            self._budget.was_useful(victim_of(door.host, door.port))
        is_authoritative = bool(answered.flags & OpFlag.AT)
        return Outcome(
            answered.code,
            answered.value_list,
            answered.text,
            is_authoritative=is_authoritative,
            server=str(door),
        )

    async def _referred(self, response: ReferralResponse, question: Question) -> Sites | Outcome:
        """The sites a referral names: for derived prefixes, else for all names, else those of the handle in it."""
        values = response.values or ()
        for site_types, service_types in ((PREFIX_SITE_TYPES, PREFIX_SERVICE_TYPES), (SITE_TYPES, SERVICE_TYPES)):
            found = await self._sites_in(values, site_types, service_types, question)
            if found:
                return found
        if response.handle:
            return await self._service_handle(response.handle, question)
        return failed(Failure.NO_SERVICE, "the referral names nobody")

    async def verify(self, request: VerifyRequest) -> bool | Outcome:
        """Let the server of the user's handle check a proof (opcode 201), all of it certified."""
        sites = await self.sites_for(Question(request.user_handle, flags=int(REQUEST_FLAGS | OpFlag.CT)))
        return sites if isinstance(sites, Outcome) else await self._asking.verify(request, sites)

    async def site_values(self, question: Question) -> tuple[HandleValue, ...]:
        """The HS_SITE values behind the HS_SERV values of a prefix handle, as their records hold them."""
        outcome = await self.record(self._prefix_question(with_slash(question.name), question))
        seen: set[bytes] = set()
        waiting = services_in(outcome.values, SERVICE_TYPES) if outcome.is_success else []
        found: dict[int, HandleValue] = {}
        while waiting and len(seen) < self._budget.limits.services_max:
            service = waiting.pop(0)
            if fold(service) in seen:
                continue
            seen.add(fold(service))
            record = await self.record(self._prefix_question(service, question))
            if record.is_success:
                waiting += services_in(record.values, SERVICE_TYPES)
                for value in record.values:
                    if value.has_type("HS_SITE") and sites_in((value,), SITE_TYPES[:1]):
                        found.setdefault(value.index, value)
        return tuple(found.values())

    @staticmethod
    def _is_out_of_date(answered: Answered, door: Door, is_root: bool) -> bool:
        is_newer = is_root and door.site.serial < answered.site_serial < 0x8000
        return is_newer or answered.code == ResponseCode.OUT_OF_DATE_SITE_INFO

    async def _reload(self) -> bool:
        """Ask the root about itself, once in a walk; whether that succeeded."""
        if self._reloaded:
            return False
        self._reloaded = True
        with self._trace.step("root", "reload") as step:
            is_new = await self._shared.reload_roots(self._budget)
            step.say(changed=is_new)
        return is_new

    # -- loops and bounds -------------------------------------------------------------------------------------------

    def _loop(self, key: Hashable, name: bytes) -> Outcome:
        self._frames.cut_at(key)
        self._trace.note("loop", to_text(name))
        return failed(Failure.LOOP, f"{to_text(name)} leads back to itself")

    def _count_step(self) -> None:
        self._steps += 1
        if self._steps > STEPS_MAX:
            raise OverBudget(f"more than {STEPS_MAX} names looked at")

    def _note_cached(self, question: Question, known: Outcome) -> None:
        self._trace.note(
            "cache",
            to_text(question.name),
            known="values" if known.is_success else known.text or response_text(known.code),
            age=known.age_s,
            lives=known.lives_s,
            stale=known.is_stale,
        )
        self.is_stale |= known.is_stale


def _tell(step: Step, outcome: Outcome) -> None:
    if outcome.failure is not None:
        step.say(failed=outcome.text or str(outcome.failure))
    else:
        step.say(result=response_text(outcome.code), lives=outcome.lives_s, authoritative=outcome.is_authoritative)
