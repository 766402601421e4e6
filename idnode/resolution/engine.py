"""Resolving: roots, cache, exchanges and health in one place; walks come and go.

A :class:`Resolution` serves a client's :class:`~idnode.client.resolver.Resolver` and a recursive node alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from idnode.adapters import Adapters
from idnode.client.errors import NoAnswer
from idnode.resolution.budget import (
    CACHE_OCTETS_MAX,
    EXHAUSTED_S,
    LOOP_S,
    NEGATIVE_S,
    PREFIX_PACKETS_BURST,
    STALE_AGE_MAX_S,
    Budget,
    Limits,
    OverBudget,
)
from idnode.resolution.cache import Cache
from idnode.resolution.explain import Explanation, Trace
from idnode.resolution.question import Failure, Outcome, Question, failed
from idnode.resolution.roots import Roots
from idnode.resolution.sites import ASKED_TYPES, PROTOCOLS, Door, Health, doors, sites_in
from idnode.resolution.spans import reporter
from idnode.resolution.upstream import Upstream
from idnode.resolution.walk import TEMPORARY, Walk
from idnode.source import TrustedNetworks
from idnode_protocol.codes import REQUEST_FLAGS, OpFlag, ResponseCode
from idnode_protocol.handle import ROOT_HANDLE, fold, from_text, is_prefix_handle, split, to_text, with_slash
from idnode_protocol.requests import VerifyRequest
from idnode_protocol.value import values_from_octets, values_to_octets
from idnode_protocol.values.site import InterfaceProtocol, SiteInfo
from idnode_registry.budgets import Budgets, Rate, WorkClass

T = TypeVar("T")

ROOT_RELOAD_EVERY_S: Final = 60.0
ROOT_AGE_MAX_S: Final = 23 * 3_600.0
"""Root information from a file is asked for anew when it is older, as the reference does."""
ROOT_SITE_TYPES: Final = ASKED_TYPES[:2]


@dataclass(frozen=True, slots=True)
class ResolutionSettings:
    """``is_recursive``: asked on behalf of others, so REC is off upstream. ``prefix_packets_per_s`` None = no bound."""

    limits: Limits = field(default_factory=Limits)
    cache_octets_max: int = CACHE_OCTETS_MAX
    negative_s: float = NEGATIVE_S
    stale_age_max_s: float = STALE_AGE_MAX_S
    protocols: tuple[InterfaceProtocol, ...] = PROTOCOLS
    is_recursive: bool = False
    prefix_packets_per_s: float | None = None


@dataclass(slots=True)
class Counters:
    """Since the start; ``packets`` and the like are the upstream's own."""

    questions: int = 0
    hits: int = 0
    stale: int = 0
    loops: int = 0
    over_budget: int = 0
    failures: int = 0


class Resolution:
    """Resolves names from the root. One event loop uses it; :meth:`note_change` may be called from any thread."""

    def __init__(
        self,
        adapters: Adapters,
        roots: Roots,
        settings: ResolutionSettings | None = None,
        *,
        trusted: TrustedNetworks | None = None,
    ) -> None:
        self.adapters = adapters
        self.roots = roots
        self.settings = settings or ResolutionSettings()
        self.cache = Cache(
            adapters.clock.monotonic,
            octets_max=self.settings.cache_octets_max,
            negative_s=self.settings.negative_s,
            stale_age_max_s=self.settings.stale_age_max_s,
        )
        self.upstream = Upstream(adapters, trusted)
        self.health = Health()
        self.counters = Counters()
        rate = self.settings.prefix_packets_per_s
        burst = max(PREFIX_PACKETS_BURST, rate or 0.0)
        self._prefix_budgets = Budgets({} if rate is None else {WorkClass.RESOLVE: Rate(rate, burst, 1.0)})
        self._reloaded_at = float("-inf")
        self._report = reporter()
        self.on_forget: list[Callable[[], None]] = []
        """Told when everything is forgotten; may be called from any thread."""

    async def close(self) -> None:
        """Give up what is under way; ``roots`` and cache stay as they are."""
        await self.upstream.close()

    # -- asking -----------------------------------------------------------------------------------------------------

    def cached(self, question: Question) -> Outcome | None:
        """The fresh outcome of a question that needs no packet and no waiting; None = resolve."""
        if question.has(OpFlag.AT):
            return None
        known = self.cache.find(question.key)
        if known is None or known.is_stale:
            return None
        self.counters.questions += 1
        self.counters.hits += 1
        return known

    async def resolve(
        self, question: Question, *, recursion_count: int = 0, follow_aliases: bool = False, trace: Trace | None = None
    ) -> Outcome:
        """The outcome, within 5 s and all other budgets; never raises for what the network does."""
        return (await self.walk(question, recursion_count, follow_aliases=follow_aliases, trace=trace))[1]

    def budget(self) -> Budget:
        """A new account for one resolution; its time runs from now on."""
        return Budget(self.settings.limits, self.adapters.clock.monotonic)

    async def walk(
        self,
        question: Question,
        recursion_count: int = 0,
        *,
        follow_aliases: bool = False,
        trace: Trace | None = None,
        budget: Budget | None = None,
    ) -> tuple[bytes, Outcome, Walk]:
        """(name the answer is about, outcome, the walk with its budget). ``budget``: one that other walks spend too."""
        clock = self.adapters.clock
        self.counters.questions += 1
        trace = trace or Trace(clock.monotonic, clock.now())
        budget = budget or self.budget()
        prefix = _account_of(question.name)
        walk = Walk(self, budget, trace, recursion_count, prefix)
        await self._renew_old_roots(budget)
        name = question.name
        try:
            async with clock.timeout(budget.seconds_left):
                outcome = await walk.record(question)
                if follow_aliases:
                    name, outcome = await self._aliases(walk, question, outcome, trace)
        except TimeoutError:
            outcome = failed(Failure.TIME, f"no answer within {self.settings.limits.seconds_max:g} s")
        except OverBudget as over:
            outcome = failed(Failure.BUDGET, str(over))
            trace.note("budget", str(over))
            self.counters.over_budget += 1
            if not budget.is_shared:
                self.cache.fail(question.key, outcome, LOOP_S if walk.saw_loop else EXHAUSTED_S)
        if outcome.failure in TEMPORARY and name == question.name:
            outcome = walk.old_answer(question, outcome)
        if walk.is_stale and outcome.is_success:
            outcome = replace(outcome, is_stale=True)
        self._count(walk, outcome)
        if self._report is not None and not trace.is_reported:
            trace.is_reported = True
            self._report(question.name, outcome, trace)
        return name, outcome, walk

    def _count(self, walk: Walk, outcome: Outcome) -> None:
        self.counters.loops += walk.saw_loop
        self.counters.failures += outcome.failure is not None
        self.counters.stale += outcome.is_stale

    async def _aliases(self, walk: Walk, question: Question, outcome: Outcome, trace: Trace) -> tuple[bytes, Outcome]:
        """Follow HS_ALIAS values: at most eight, none twice."""
        seen = {question.key.name}
        name = question.name
        while outcome.is_success:
            alias = next((value.data for value in outcome.values if value.has_type("HS_ALIAS") and value.data), None)
            if alias is None:
                break
            following = replace(question, name=alias)
            if following.key.name in seen or len(seen) > self.settings.limits.aliases_max:
                trace.note("loop", to_text(alias), of="aliases")
                return alias, failed(Failure.LOOP, f"the aliases of {to_text(question.name)} do not end")
            seen.add(following.key.name)
            walk.passed.append((name, outcome))
            trace.note("alias", f"{to_text(name)} is {to_text(alias)}")
            name = alias
            outcome = await walk.record(following)
        return name, outcome

    async def explain(self, question: Question, *, follow_aliases: bool = False) -> Explanation:
        """Resolve, and tell how."""
        clock = self.adapters.clock
        trace = Trace(clock.monotonic, clock.now())
        name, outcome, walk = await self.walk(question, follow_aliases=follow_aliases, trace=trace)
        return Explanation(to_text(name), outcome, tuple(trace.steps), trace.seconds, walk.budget.packets)

    async def administering(self, name: bytes) -> list[Door] | Outcome:
        """The doors for administration of a name: of primary sites, the first server's; or why there are none."""
        sites = await self._within(name, 0, lambda walk: walk.sites_for(Question(name)))
        if isinstance(sites, Outcome):
            return sites
        found = self.doors(sites, with_slash(name), primary_only=True, admin=True)
        if not found:
            return failed(Failure.NO_SERVICE, "no primary site offers administration")
        return [door for door in found if door.host == found[0].host and door.server == found[0].server]

    async def verify(self, request: VerifyRequest, recursion_count: int) -> bool | Outcome:
        """Whether the server of the user's handle takes a proof for right (opcode 201); or why nobody said."""
        return await self._within(request.user_handle, recursion_count, lambda walk: walk.verify(request))

    async def service_values(self, question: Question, none: Outcome) -> Outcome:
        """The HS_SITE values behind a prefix handle's service handles; ``none`` when there are none."""
        values = await self._within(question.name, 1, lambda walk: walk.site_values(question))
        if isinstance(values, Outcome) or not values:
            return none
        return replace(none, code=int(ResponseCode.SUCCESS), value_list=values_to_octets(values), text="")

    async def _within(self, name: bytes, recursion_count: int, work: Callable[[Walk], Awaitable[T]]) -> T | Outcome:
        """Some work of a walk, inside the budget of one question."""
        clock = self.adapters.clock
        budget = self.budget()
        walk = Walk(self, budget, Trace(clock.monotonic, clock.now()), recursion_count, _account_of(name))
        try:
            async with clock.timeout(budget.seconds_left):
                return await work(walk)
        except TimeoutError:
            return failed(Failure.TIME, f"no answer within {self.settings.limits.seconds_max:g} s")
        except OverBudget as over:
            return failed(Failure.BUDGET, str(over))

    # -- what a walk needs ------------------------------------------------------------------------------------------

    def doors(self, sites: Sequence[SiteInfo], name: bytes, *, primary_only: bool, admin: bool = False) -> list[Door]:
        """The doors of these sites for a name, in the order of trying."""
        return doors(
            sites,
            name,
            protocols=self.settings.protocols,
            health=self.health,
            rng=self.adapters.rng,
            now=self.adapters.clock.monotonic(),
            addresses_max=self.settings.limits.servers_per_referral_max,
            primary_only=primary_only,
            admin=admin,
        )

    def upstream_flags(self, flags: int) -> int:
        """opFlags of a request that asks for a client's: a recursive node walks itself, so REC is off.

        Only another recursive node that is asked in the place of a walk is to do it.
        """
        kept = flags & int(OpFlag.AT | OpFlag.CT | OpFlag.PO | OpFlag.CA | OpFlag.REC)
        if self.roots.caching:
            return kept | int(OpFlag.REC)
        return kept & ~int(OpFlag.REC) if self.settings.is_recursive else kept

    def may_send(self, prefix: bytes, packets: int) -> bool:
        """Whether so many packets may leave for names under a prefix now."""
        return self._prefix_budgets.spend(to_text(prefix), WorkClass.RESOLVE, self.adapters.clock.monotonic(), packets)

    def note_change(self, name: bytes, *, everything: bool = False) -> None:
        """A record was written here, or a prefix homed: what is remembered about it no longer counts."""
        if everything or is_prefix_handle(name):
            self.cache.clear()
            for forget in self.on_forget:
                forget()
        else:
            self.cache.drop(name)

    # -- the root ---------------------------------------------------------------------------------------------------

    async def _renew_old_roots(self, budget: Budget) -> None:
        known_at = self.roots.updated_at
        if known_at and self.adapters.clock.now() - known_at > ROOT_AGE_MAX_S:
            try:
                async with self.adapters.clock.timeout(1.0):
                    await self.reload_roots(budget)
            except (TimeoutError, OverBudget):
                return

    async def reload_roots(self, budget: Budget) -> bool:
        """Ask the root about itself, at most once a minute, signed when its key is known; whether sites came."""
        now = self.adapters.clock.monotonic()
        if now - self._reloaded_at < ROOT_RELOAD_EVERY_S or self.roots.caching or ROOT_HANDLE in self.roots.overrides:
            return False
        self._reloaded_at = now
        flags = REQUEST_FLAGS | OpFlag.CT
        question = Question(ROOT_HANDLE, (), ASKED_TYPES, self.upstream_flags(flags))
        for door in self.doors(self.roots.sites, ROOT_HANDLE, primary_only=False):
            try:
                answered = await self.upstream.ask(door, question, budget)
            except NoAnswer:
                continue
            sites = (
                ()
                if answered.code != ResponseCode.SUCCESS
                else sites_in(values_from_octets(answered.value_list), ROOT_SITE_TYPES)
            )
            if sites:
                self.roots = replace(self.roots, sites=sites, updated_at=self.adapters.clock.now())
                return True
            return False
        return False


def _account_of(name: bytes) -> bytes:
    """The prefix whose account a question is booked on; prefix handles on that of their first two levels."""
    name = with_slash(name)
    if is_prefix_handle(name):
        return b".".join(fold(name[5:]).split(b".")[:2])
    return fold(split(name)[0])


def question_of(
    handle: str, types: Sequence[str] = (), indexes: Sequence[int] = (), flags: int = REQUEST_FLAGS
) -> Question:
    """A question in text. Raises InvalidText."""
    return Question(from_text(handle), tuple(indexes), tuple(types), int(flags))
