"""Which identifiers exist: a tree of prefixes under 99, and for each number the record it stands for.

Prefixes are popular as Zipf says: of N records the prefix of rank k holds about N / (k * H). Records lie prefix after
prefix, so record ``n`` is found by one bisection and computed from (seed, n) alone, in microseconds, with no table that
grows with N.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Final

from idnode_bench.population.industries import INDUSTRIES, Industry
from idnode_bench.population.layouts import Kind, Layout, layout_of, slots_of, values_of

PREFIXES_DEFAULT: Final = 1_200
RECORDS_MAX: Final = 10**12
"""What twelve digits of serial hold."""
_SECONDARY_NODES: Final = 20
_SECONDARY_FROM: Final = 900
_ENTERPRISE_FROM: Final = 1_001


@dataclass(frozen=True, slots=True)
class Record:
    """A handle as written, and its value list as it follows the handle in a response body (i4 count, values)."""

    handle: bytes
    values: bytes

    @property
    def prefix(self) -> bytes:
        return self.handle.partition(b"/")[0]

    @property
    def suffix(self) -> bytes:
        return self.handle.partition(b"/")[2]


@dataclass(frozen=True, slots=True)
class Prefix:
    """One enterprise: ``first`` is the number of its first record, ``records`` how many it has."""

    name: bytes
    industry: Industry
    first: int
    records: int
    rank: int


def prefix_name(rank: int) -> bytes:
    """The prefix of a popularity rank (0 = most popular), such as ``99.903.1017``: secondary nodes take turns."""
    return b"99.%d.%d" % (_SECONDARY_FROM + rank % _SECONDARY_NODES, _ENTERPRISE_FROM + rank // _SECONDARY_NODES)


@dataclass(frozen=True)
class Population:
    """``count`` records of a kind drawn from ``seed``, under ``prefix_count`` prefixes."""

    count: int
    seed: int = 1
    kind: Kind = "small"
    prefix_count: int = PREFIXES_DEFAULT
    _layouts: dict[int, tuple[bytes, Layout]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.count <= RECORDS_MAX:
            raise ValueError(f"a population has 1 to {RECORDS_MAX} records, not {self.count}")
        if not 0 < self.prefix_count <= 1_000_000 or not 0 <= self.seed < 2**63:
            raise ValueError("a population has 1 to 10^6 prefixes and a seed of 0 to 2^63 - 1")

    def __len__(self) -> int:
        return self.count

    @cached_property
    def _starts(self) -> list[int]:
        """Number of each prefix's first record, and the count at the end."""
        sums = [0.0, *accumulate(1.0 / rank for rank in range(1, self.prefix_count + 1))]
        return [round(self.count * (part / sums[-1])) for part in sums]

    def rank_of(self, number: int) -> int:
        """The popularity rank of the prefix a record lies under. Raises IndexError."""
        if not 0 <= number < self.count:
            raise IndexError(f"record {number} of {self.count}")
        return bisect_right(self._starts, number) - 1

    def record(self, number: int) -> Record:
        """The record of a number in [0, count). Raises IndexError."""
        rank = self.rank_of(number)
        head, layout = self._layout(rank)
        slots = slots_of(self.seed, number, number - self._starts[rank])
        return Record(head + slots[0], layout(slots))

    def handle(self, number: int) -> bytes:
        """Its handle alone, several times faster."""
        rank = self.rank_of(number)
        return self._layout(rank)[0] + b"%012d" % (number - self._starts[rank])

    def missing(self, number: int) -> bytes:
        """A handle beside record ``number`` that is not registered, under the same prefix."""
        return self.handle(number) + b".X"

    def is_gone(self, _number: int) -> bool:
        """Nothing of it was deleted."""
        return False

    def prefixes(self) -> Iterator[Prefix]:
        """Those that hold records, the most popular first."""
        starts = self._starts
        for rank in range(self.prefix_count):
            if starts[rank + 1] > starts[rank]:
                industry = INDUSTRIES[rank % len(INDUSTRIES)]
                yield Prefix(prefix_name(rank), industry, starts[rank], starts[rank + 1] - starts[rank], rank)

    def records_of(self, prefix: Prefix, skip: int = 0) -> Iterator[Record]:
        """Its records sorted by suffix, without the first ``skip``."""
        head, layout = self._layout(prefix.rank)
        for serial in range(skip, prefix.records):
            slots = slots_of(self.seed, prefix.first + serial, serial)
            yield Record(head + slots[0], layout(slots))

    def __iter__(self) -> Iterator[Record]:
        """All records, prefix after prefix."""
        for prefix in self.prefixes():
            yield from self.records_of(prefix)

    def _layout(self, rank: int) -> tuple[bytes, Layout]:
        """What every handle of a prefix begins with, and the layout of its values."""
        found = self._layouts.get(rank)
        if found is None:
            name, industry = prefix_name(rank), INDUSTRIES[rank % len(INDUSTRIES)]
            head = name + b"/" + industry.serial_head.encode()
            layout = layout_of(values_of(self.kind, name, industry, rank // len(INDUSTRIES)))
            found = self._layouts[rank] = (head, layout)
        return found
