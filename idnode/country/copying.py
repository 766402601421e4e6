"""The records of one prefix, from one node to another: all of them, then what changed meanwhile, octet for octet.

What belongs to prefix P at its holder: every ``P/...``, tombstones included, the ranges of P, and the records
``0.NA/P.x`` of derived prefixes whose nearest held prefix is P. The record of P itself is seeded, not copied: it says
where its keeper listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from idnode.adapters.clock import Clock
from idnode.country.writing import drop_record, put_record
from idnode.node import Node
from idnode_protocol.handle import NA_START, fold, split
from idnode_registry.format import HEADER_OCTETS, handle_of
from idnode_registry.journal import parse
from idnode_registry.plans import Change
from idnode_registry.ranges.names import RANGES_START
from idnode_registry.registry import Registry

PAGE_RECORDS = 500
NA_PREFIX = NA_START[:-1]
Heads = dict[tuple[bytes, int], int]


class Scope:
    """Which names belong to a prefix; ``nearest`` gives the held prefix above a derived one (both folded)."""

    def __init__(self, prefix: str, nearest: Callable[[str], str]) -> None:
        self.prefix = fold(prefix.encode("utf-8"))
        self._nearest = nearest

    @property
    def prefixes(self) -> tuple[bytes, ...]:
        """Where its rows lie; those of ranges last, when what overrides their members is there."""
        return self.prefix, NA_PREFIX, RANGES_START + self.prefix

    def covers(self, name: bytes) -> bool:
        """Whether a folded name belongs to the prefix."""
        prefix, suffix = split(name)
        if prefix in (self.prefix, RANGES_START + self.prefix):
            return True
        if prefix != NA_PREFIX or not suffix.startswith(self.prefix + b"."):
            return False
        return (
            self._nearest(suffix.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape") == self.prefix
        )

    def names(self, registry: Registry) -> Iterator[bytes]:
        """The folded names stored in a registry that belong here; a page at a time, others may write meanwhile."""
        for prefix in self.prefixes:
            cursor = None
            while True:
                page, cursor = registry.store.scan(prefix, cursor, PAGE_RECORDS)
                yield from (name for name in (registry.fold(handle_of(record)) for record in page) if self.covers(name))
                if cursor is None:
                    break


def heads(registry: Registry, scope: Scope) -> Heads:
    """How far the journals of the buckets concerned have come."""
    store = registry.store
    places = [(prefix, bucket) for prefix in scope.prefixes for bucket in store.buckets(prefix)]
    return {place: store.head(*place).serial for place in places}


def changed_since(registry: Registry, scope: Scope, known: Heads) -> set[bytes]:
    """Names written after ``known``, which is brought up to date."""
    names: set[bytes] = set()
    for (prefix, bucket), serial in known.items():
        after = serial
        while entries := registry.store.feed(prefix, bucket, after, PAGE_RECORDS):
            for entry in map(parse, entries):
                after = entry.serial
                name = registry.fold(entry.handle)
                if scope.covers(name):
                    names.add(name)
        known[prefix, bucket] = after
    return names


async def copy_names(names: Iterator[bytes], source: Registry, target: Registry, clock: Clock) -> int:
    """Make the target say of each name what the source says; the number of records written or removed."""
    changed = 0
    for place, name in enumerate(names):
        if await copy_name(name, source, target, clock.now()):
            changed += 1
        if place % PAGE_RECORDS == PAGE_RECORDS - 1:
            await clock.sleep(0)
    return changed


async def copy_name(name: bytes, source: Registry, target: Registry, now: float) -> bool:
    """One record; returns whether the target had to change."""
    wanted, found = source.store.get(*split(name)), target.store.get(*split(name))
    if wanted is None:
        await drop_record(target, name, now)
        return found is not None
    if found is not None and found[HEADER_OCTETS:] == wanted[HEADER_OCTETS:] and handle_of(found) == handle_of(wanted):
        return False
    await put_record(target, wanted, now)
    return True


async def copy_all(scope: Scope, source: Registry, target: Registry, clock: Clock) -> int:
    """Everything, and away with what only the target has; the number of records that changed."""
    written = await copy_names(scope.names(source), source, target, clock)
    stray = [name for name in scope.names(target) if source.store.get(*split(name)) is None]
    return written + await copy_names(iter(stray), source, target, clock)


class Follower:
    """Keeps the former holder's copy like the present holder's, for those who still ask there."""

    def __init__(self, scope: Scope, holder: Node, former: Node) -> None:
        self._scope, self._holder, self._former = scope, holder, former
        self._loop = asyncio.get_running_loop()
        self._dirty: set[bytes] = set()
        self._wake = asyncio.Event()
        self._task = self._loop.create_task(self._run())
        holder.watchers.append(self._changed)

    def _changed(self, change: Change) -> None:
        """A commit at the holder; perhaps on its writer's thread."""
        name = change.range_row or change.name
        if not change.is_homing and self._scope.covers(name) and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._note, name)

    def _note(self, name: bytes) -> None:
        self._dirty.add(name)
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._dirty:
                name = self._dirty.pop()
                now = self._holder.adapters.clock.now()
                await copy_name(name, self._holder.registry, self._former.registry, now)

    async def stop(self) -> None:
        """No longer follow."""
        self._holder.watchers.remove(self._changed)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
