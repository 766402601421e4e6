"""A country that changes while it answers: nodes join and leave, prefixes move and split off.

Moving a prefix, so that no resolution fails in between::

    copy all records          the holder answers and takes writes
    catch up by the journal
    hold writes back          "busy, try again", for as long as the last few records take
    copy the rest
    switch                    the record above names the new holder; writes go there
    linger                    the former holder goes on answering, its copy kept up to date, for as long as anybody may
                              remember where the prefix was: the TTL of the delegation record
    unhome and remove         at the former holder

A prefix may move on before that: A follows B, which follows C. Who follows ends first, so that nobody copies a removal.
Back at a node that lingers, this ends its lingering.

Whatever is written is journalled where it is written. A restart takes up a linger where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from idnode.adapters.clock import TimerHandle
from idnode.country import seeding
from idnode.country.copying import Follower, Scope, changed_since, copy_all, copy_name, copy_names, heads
from idnode.country.keeping import Moved
from idnode.country.nodes import CountryNode
from idnode.country.topology import NodeSpec, Topology, TopologyWrong
from idnode.country.writing import drop_record, put_record, unhome
from idnode_protocol.handle import NA_START, from_text

if TYPE_CHECKING:
    from idnode.country.country import Country

T = TypeVar("T")
CATCH_UPS_MAX: Final = 16
"""Rounds of catching up before writes are held back; each is shorter than the one before unless writers are faster."""
FEW_RECORDS: Final = 32


class Refused(ValueError):
    """A change cannot be made as asked; the message says why and what would be possible."""


class Changes:
    """The changes of one country, one at a time (:attr:`Country.changing`)."""

    def __init__(self, country: Country) -> None:
        self._country = country
        self._lingering: dict[tuple[str, str], tuple[Moved, Follower, TimerHandle]] = {}
        """(prefix in upper case, former holder) -> what ends it. Former holders of a prefix follow one another."""
        self._tasks: set[asyncio.Task[None]] = set()

    # --- nodes ---------------------------------------------------------------------------------------------------

    async def join(self, spec: NodeSpec) -> CountryNode:
        """Start a node and tell the nodes above of its prefixes, which nobody holds yet. Raises :class:`Refused`."""
        country = self._country
        async with country.changing:
            if spec.role == "root":
                raise Refused("a country has one root already; join as top, secondary, enterprise or recursive")
            before = country.topology
            country.state.topology = _changed(lambda: before.with_node(spec))
            try:
                member = await country.launch(spec)
                await country.give_signers([member])
                await country.seed(member)
                for prefix in spec.prefixes:
                    await self._take_over_delegations(before, prefix)
                    await country.delegate_prefix(prefix)
                    await self._refresh_parent(prefix)
                    await self._drop_above(before, prefix)
                await country.populate(member)
            except BaseException:
                await self._undo_join(before, spec)
                raise
            country.write_client_config(member)
            country.save()
            return member

    async def _undo_join(self, before: Topology, spec: NodeSpec) -> None:
        country = self._country
        now = country.adapters.clock.now()
        for prefix in spec.prefixes:
            above = country.member(before.parent(prefix).name).node.registry
            await drop_record(above, NA_START + from_text(prefix), now)
        country.state.topology = before
        await country.discard(spec.name)

    async def _take_over_delegations(self, before: Topology, prefix: str) -> None:
        """Copy what the nodes above say about prefixes below ``prefix``: from now on that is its holder's to say."""
        country = self._country
        target = country.node(prefix).node.registry
        for below in country.topology.delegated_below(prefix):
            name = NA_START + from_text(below)
            source = country.member(before.parent(below).name).node.registry
            await copy_name(source.fold(name), source, target, country.adapters.clock.now())

    async def _drop_above(self, before: Topology, prefix: str) -> None:
        """Remove those copies above: askers are referred to the new holder."""
        country = self._country
        for below in country.topology.delegated_below(prefix):
            above = before.parent(below)
            if above.name != country.node(prefix).name and above != country.topology.holder(below):
                registry = country.member(above.name).node.registry
                await drop_record(registry, NA_START + from_text(below), country.adapters.clock.now())

    async def _refresh_parent(self, prefix: str) -> None:
        """The holder above may delegate for the first time: its own record must then say so."""
        parent = self._country.topology.parent(prefix)
        for held in parent.prefixes:
            await self._country.delegate_prefix(held)

    async def leave(
        self, name: str, *, to: str | None = None, drop: bool = False, linger_s: float | None = None
    ) -> int:
        """Stop a node. What it holds moves to node ``to`` first; with ``drop`` it is given up instead.

        Returns how many records were moved. The node itself ends when nobody can remember it. Raises :class:`Refused`.
        """
        country = self._country
        spec = _changed(lambda: country.topology.node(name))
        if spec.role == "root" or name == country.state.demo:
            raise Refused(f"{name} stays as long as the country; its prefixes can be moved away")
        if to == name:
            raise Refused("a node cannot leave its prefixes to itself; name another node")
        held = ", ".join(spec.prefixes)
        if held and to is None and not drop:
            raise Refused(f"{name} holds {held}: name the node to move that to, or ask to drop it")
        moved = 0
        if to is not None:
            for prefix in spec.prefixes:
                moved += await self.move(prefix, to, linger_s=linger_s)
        async with country.changing:
            if to is None:
                await self._give_up(country.member(name))
            if any(each.source == name for each in country.state.moved):
                country.state.leaving.append(name)
                country.save()
            else:
                await self._end(name)
        return moved

    async def _give_up(self, member: CountryNode) -> None:
        """Take a node's prefixes out of the tree; what it delegates is from now on delegated above."""
        country = self._country
        now = country.adapters.clock.now()
        before = country.topology
        after = before.with_prefixes(member.name, ())
        for prefix in member.spec.prefixes:
            for below in before.delegated_below(prefix):
                if before.holder(below) is not member.spec:
                    target = country.member(after.parent(below).name).node.registry
                    await copy_name(target.fold(NA_START + from_text(below)), member.node.registry, target, now)
            above = country.member(before.parent(prefix).name)
            if above is not member:
                await drop_record(above.node.registry, NA_START + from_text(prefix), now)
        country.state.topology = after

    async def _end(self, name: str) -> None:
        country = self._country
        if name in country.state.leaving:
            country.state.leaving.remove(name)
        country.state.topology = country.topology.without(name)
        await country.discard(name)
        country.save()

    # --- prefixes ------------------------------------------------------------------------------------------------

    async def split(self, prefixes: Sequence[str], spec: NodeSpec, *, linger_s: float | None = None) -> int:
        """A new node takes over some of the prefixes that others hold now; the number of records moved."""
        if spec.prefixes:
            raise Refused("the new node of a split begins without prefixes: name those that split off beside it")
        if not prefixes or spec.role in ("root", "recursive"):
            raise Refused("a split needs prefixes, and a node of role top, secondary or enterprise for them")
        for prefix in prefixes:
            self._holder(prefix)
        await self.join(spec)
        return sum([await self.move(prefix, spec.name, linger_s=linger_s) for prefix in prefixes])

    def _holder(self, prefix: str) -> NodeSpec:
        holder = self._country.topology.holder(prefix)
        if holder is None:
            raise Refused(f"nobody holds {prefix}; a node that joins with it holds it from then on")
        return holder

    async def move(self, prefix: str, to: str, *, linger_s: float | None = None) -> int:
        """Give a prefix with everything under it to another node; the number of records moved.

        ``linger_s``: how long the former holder goes on answering; None = the TTL of the delegation record.
        """
        country = self._country
        async with country.changing:
            source = country.member(self._holder(prefix).name)
            target = country.member(_changed(lambda: country.topology.node(to)).name)
            self._check_move(prefix, source, target)
            before = country.topology
            after = _changed(lambda: before.moved(prefix, to))
            scope = self.scope(prefix)
            linger = float(before.delegation_ttl_s) if linger_s is None else linger_s
            try:
                await country.prepare_holder(target, prefix)
                written = await self._copy(scope, source, target)
            except BaseException:
                source.node.moving.release(scope.prefix)
                raise
            back = await self._no_longer(prefix, target)
            moved = Moved(prefix=prefix, source=source.name, target=to, until=self._until(prefix, linger))
            country.state.topology = after
            country.state.moved.append(moved)
            country.take_specs()
            self._linger(moved, scope)
            try:
                await self._switch(prefix, source, target)
            except BaseException:
                await self._switch_back(moved, scope, before)
                if back is not None:
                    country.state.moved.append(back)
                    self._linger(back, scope)
                raise
            target.node.moving.release(scope.prefix)
            for each in self._of_prefix(prefix):
                country.member(each.source).node.moving.point(scope.prefix, to)
            country.write_client_configs()
            country.save()
            return written

    def _of_prefix(self, prefix: str) -> list[Moved]:
        return [each for each in self._country.state.moved if each.prefix.upper() == prefix.upper()]

    def _until(self, prefix: str, linger: float) -> float:
        """When a former holder ends, not before those that follow it."""
        return max([self._country.adapters.clock.now() + linger, *(each.until for each in self._of_prefix(prefix))])

    async def _no_longer(self, prefix: str, member: CountryNode) -> Moved | None:
        """A former holder that is to hold the prefix again stops following; writes there stay refused for now."""
        entry = self._lingering.pop((prefix.upper(), member.name), None)
        if entry is None:
            return None
        moved, follower, timer = entry
        timer.cancel()
        await follower.stop()
        self._country.state.moved.remove(moved)
        return moved

    async def _switch_back(self, moved: Moved, scope: Scope, before: Topology) -> None:
        """A record of the tree could not be written: everything is as before, the former holder takes writes again."""
        country = self._country
        await self._no_longer(moved.prefix, country.member(moved.source))
        country.state.topology = before
        country.take_specs()
        country.member(moved.source).node.moving.release(scope.prefix)
        for prefix in (*before.delegated_below(moved.prefix), moved.prefix):
            await country.delegate_prefix(prefix)

    def _check_move(self, prefix: str, source: CountryNode, target: CountryNode) -> None:
        if target.role in ("root", "recursive"):
            raise Refused(f"{target.name} is a {target.role} node and holds no prefixes")
        if source is target:
            raise Refused(f"{target.name} holds {prefix} already")
        if target.name in self._country.state.leaving:
            raise Refused(f"{target.name} is leaving")

    async def _copy(self, scope: Scope, source: CountryNode, target: CountryNode) -> int:
        """Everything, what changed meanwhile, and the rest with writes held back. Ends with writes held back."""
        here, there, clock = source.node.registry, target.node.registry, self._country.adapters.clock
        known = heads(here, scope)
        written = await copy_all(scope, here, there, clock)
        for _ in range(CATCH_UPS_MAX):
            changed = changed_since(here, scope, known)
            written += await copy_names(iter(changed), here, there, clock)
            if len(changed) <= FEW_RECORDS:
                break
        source.node.moving.freeze(scope.prefix)
        while True:
            # A write that has been let through may still be queued: whatever is submitted after it ends after it.
            await asyncio.wrap_future(here.store.put_meta(b"country-moving", scope.prefix))
            changed = changed_since(here, scope, known)
            if not changed:
                return written
            written += await copy_names(iter(changed), here, there, clock)

    async def _switch(self, prefix: str, source: CountryNode, target: CountryNode) -> None:
        """The new holder's own record, the records it delegates by, and last the record above."""
        country = self._country
        await self._take_rights_along(prefix, source, target)
        await country.give_administrator(target)
        await country.give_signers([target])
        await country.seed(target)
        for below in country.topology.delegated_below(prefix):
            await country.delegate_prefix(below)
        await country.delegate_prefix(prefix)
        await self._refresh_parent(prefix)
        country.forget_remembered(prefix)

    async def _take_rights_along(self, prefix: str, source: CountryNode, target: CountryNode) -> None:
        """What people added to the former holder's record of the prefix, its administrators above all, goes along."""
        name = NA_START + from_text(prefix)
        here, there = source.node.registry, target.node.registry
        record = here.record(name)
        if record is not None and there.record(name) is None:
            await put_record(there, record, self._country.adapters.clock.now())

    # --- the former holder ---------------------------------------------------------------------------------------

    def scope(self, prefix: str) -> Scope:
        """What belongs to a prefix, as prefixes are held now."""
        topology = self._country.topology
        return Scope(prefix, topology.nearest_held)

    def _linger(self, moved: Moved, scope: Scope) -> None:
        country = self._country
        holder, former = country.member(moved.target).node, country.member(moved.source).node
        follower = Follower(scope, holder, former)
        clock = country.adapters.clock
        timer = clock.call_later(max(0.0, moved.until - clock.now()), lambda: self._begin_ending(moved))
        self._lingering[moved.prefix.upper(), moved.source] = (moved, follower, timer)

    def _begin_ending(self, moved: Moved) -> None:
        task = asyncio.get_running_loop().create_task(self._end_linger(moved))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_linger(self, moved: Moved) -> None:
        """The former holder forgets the prefix, and ends if it was only waiting for that."""
        async with self._country.changing:
            await self._finish(moved)
            self._country.save()

    async def _finish(self, moved: Moved) -> None:
        country = self._country
        for follows in [each for each in self._of_prefix(moved.prefix) if each.target == moved.source]:
            await self._finish(follows)
        former = self._country.member(moved.source) if moved in country.state.moved else None
        if former is None or await self._no_longer(moved.prefix, former) is None:
            return  # it ended with the one it followed, or holds the prefix again
        await self._forget(moved.prefix, former)
        if moved.source in country.state.leaving and all(m.source != moved.source for m in country.state.moved):
            await self._end(moved.source)

    async def _forget(self, prefix: str, former: CountryNode) -> None:
        """Unhome the prefix, remove its records. What other prefixes of the node need stays."""
        country = self._country
        registry, now = former.node.registry, country.adapters.clock.now()
        scope = self.scope(prefix)
        needed = {name for held in former.spec.prefixes for name in seeding.homed_for(held)}
        needed.update(seeding.ROOT_PREFIXES if former.role == "root" else ())
        await unhome(registry, [name for name in seeding.homed_for(prefix) if name not in needed], now)
        for name in list(scope.names(registry)):
            await drop_record(registry, name, now)
        if country.topology.parent(prefix).name != former.name:
            await drop_record(registry, NA_START + from_text(prefix), now)
        former.node.moving.release(scope.prefix)

    async def settle(self) -> None:
        """End every linger now, as if its time were over."""
        for moved, _, _ in list(self._lingering.values()):
            await self._end_linger(moved)

    async def resume(self) -> None:
        """After a restart: bring former holders up to date and let them linger on."""
        country = self._country
        for moved in list(country.state.moved):
            scope = self.scope(moved.prefix)
            holder, former = country.member(moved.target), country.member(moved.source)
            await copy_all(scope, holder.node.registry, former.node.registry, country.adapters.clock)
            former.node.moving.point(scope.prefix, moved.target)
            self._linger(moved, scope)
        waiting = {moved.source for moved in country.state.moved}
        for name in [name for name in country.state.leaving if name not in waiting]:
            await self._end(name)

    async def stop(self) -> None:
        """Leave lingers as they are; a restart takes them up."""
        for _, follower, timer in self._lingering.values():
            timer.cancel()
            await follower.stop()
        self._lingering.clear()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def describe(self) -> list[dict[str, object]]:
        """Prefixes on their way, for people."""
        return [moved.model_dump() for moved in self._country.state.moved]


def _changed(work: Callable[[], T]) -> T:
    """A change of the topology; what the topology does not allow is :class:`Refused`."""
    try:
        return work()
    except TopologyWrong as wrong:
        raise Refused(str(wrong)) from wrong
