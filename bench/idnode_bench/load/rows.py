"""The rows that the C generator asks for: the whole population, or keys drawn by a distribution in their order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from idnode.adapters.disk import Disk
from idnode_bench.load.keys import KeyPlan
from idnode_bench.load.native_load import compact
from idnode_bench.native import NativeTools
from idnode_bench.population.factory import Record
from idnode_bench.population.files import missing_row, wire_head, wire_octets, wire_row
from idnode_bench.targets.native import Source, asked_keys

WHOLE_RECORDS_MAX: Final = 200_000
"""Populations up to here are given to the C programs whole, values and all (160 MB of reference records)."""
KEYS_DEFAULT: Final = 1_000_000
KEYS_MAX: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Rows:
    """A file for the C programs. ``file_order``: its order is that of the requests; else they are drawn uniformly."""

    file: Path
    file_order: bool
    working_set: int


def write_rows(
    disk: Disk, tools: NativeTools, folder: Path, source: Source, plan: KeyPlan, seed: int, keys: int = KEYS_DEFAULT
) -> Rows:
    """Make the file in ``folder``. Uniform over a small population needs no drawing; everything else is drawn, up to
    ``keys`` requests, which the generator goes round in, expected answers as hashes."""
    if plan.distribution == "uniform" and not plan.miss_ratio and source.count <= WHOLE_RECORDS_MAX:
        file = folder / "rows"
        records = (source.record(number) for number in range(source.count))
        disk.write_atomic(file, b"".join(wire_octets(records, source.count)), durable=False)
        return Rows(file, False, source.count)
    file, drawn = folder / "rows-drawn", set[int]()
    compact(tools.load, _drawn(source, plan, seed, keys, drawn), file)
    return Rows(file, True, len(drawn))


def whole_file(disk: Disk, folder: Path, source: Source) -> Path:
    """Every record, for the C server."""
    file = folder / "population"
    if not disk.exists(file):
        records: Iterator[Record] = (source.record(number) for number in range(source.count))
        disk.write_atomic(file, b"".join(wire_octets(records, source.count)), durable=False)
    return file


def _drawn(source: Source, plan: KeyPlan, seed: int, keys: int, seen: set[int]) -> Iterator[bytes]:
    yield wire_head(keys)
    for key in islice(asked_keys(source, plan, seed), keys):
        seen.add(key)
        yield wire_row(source.record(key)) if key >= 0 else missing_row(source.missing(~key))
