"""Range registration: one row per prefix registers all its serials; some members are overridden, some deleted.

The members are the *templated* records of :mod:`idnode_bench.population.layouts`: what they say follows from their
handle, which is what a range can register (docs/ranges.md). Overrides are the *small* records of the same handles.
Both kinds of exception are spread evenly, so that whether a number is one is arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from idnode_bench.population.factory import Population, Prefix, Record
from idnode_bench.population.layouts import CREATED_AT_S, range_values
from idnode_protocol.value import HandleValue
from idnode_registry.ranges.names import RangeName

SERIAL_DIGITS = 12
REGISTERED_AT_S = CREATED_AT_S
"""Members carry the time of their range's registration."""


@dataclass(frozen=True)
class RangedPopulation:
    """The members, of which ``overrides`` have records of their own and ``tombstones`` were deleted."""

    members: Population
    overrides: int = 0
    tombstones: int = 0

    def __post_init__(self) -> None:
        if self.members.kind != "templated":
            raise ValueError("what a range registers follows from the handle: the kind is templated")
        if self.overrides < 0 or self.tombstones < 0 or 2 * (self.overrides + self.tombstones) > self.members.count:
            raise ValueError("overrides and tombstones are at most half of the members")

    @property
    def count(self) -> int:
        return self.members.count

    @cached_property
    def _changed(self) -> Population:
        there = self.members
        return Population(there.count, there.seed, "small", there.prefix_count)

    def is_override(self, number: int) -> bool:
        """Whether a member has a record of its own."""
        return self.overrides > 0 and _is_chosen(number, self.count, self.overrides)

    def is_gone(self, number: int) -> bool:
        """Whether a member was deleted: the number before that of a chosen one."""
        if not self.tombstones or self.is_override(number):
            return False
        return number + 1 < self.count and _is_chosen(number + 1, self.count, self.tombstones)

    def record(self, number: int) -> Record:
        """What resolving the member gives, unless it is gone."""
        return (self._changed if self.is_override(number) else self.members).record(number)

    def handle(self, number: int) -> bytes:
        return self.members.handle(number)

    def missing(self, number: int) -> bytes:
        """The member's own handle if it is gone, else one beside it that no range holds."""
        return self.members.handle(number) if self.is_gone(number) else self.members.missing(number)

    def overridden(self, prefix: Prefix) -> Iterator[Record]:
        """The overrides of a prefix, sorted."""
        for number in _chosen(prefix, self.count, self.overrides):
            yield self._changed.record(number)

    def gone(self, prefix: Prefix) -> Iterator[bytes]:
        """The handles of a prefix that were deleted."""
        if self.tombstones:
            step = self.count // self.tombstones
            for number in range(max(prefix.first - 1, 0) // step * step, prefix.first + prefix.records + step, step):
                before = number - 1
                if prefix.first <= before < prefix.first + prefix.records and self.is_gone(before):
                    yield self.handle(before)

    def range_of(self, prefix: Prefix) -> tuple[RangeName, tuple[HandleValue, ...]]:
        """What registers the members of a prefix."""
        head = prefix.industry.serial_head.encode()
        name = RangeName.of(prefix.name, head, 0, prefix.records - 1, SERIAL_DIGITS)
        return name, tuple(range_values(prefix.name))


def _is_chosen(number: int, count: int, chosen: int) -> bool:
    """Every (count / chosen)-th number, ``chosen`` of them."""
    step = count // chosen
    return number % step == 0 and number // step < chosen


def _chosen(prefix: Prefix, count: int, chosen: int) -> Iterator[int]:
    if chosen:
        step = count // chosen
        start = -(-prefix.first // step) * step
        for number in range(start, prefix.first + prefix.records, step):
            if number // step < chosen:
                yield number
