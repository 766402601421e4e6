"""External sort in bounded memory: sorted runs on disk, merged until they follow one another.

Rows with the same name, or with the name of a record that is stored, are refused with their lines, or left out on
request; in a group of equals the first line stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import islice, pairwise
from typing import Final

from idnode_registry.bulk.manifest import Manifest, Name, WorkRun
from idnode_registry.bulk.rows import Row
from idnode_registry.bulk.work import READ_OCTETS, WorkFolder
from idnode_registry.errors import RowsRefused
from idnode_registry.store import Store

FAN_IN_MAX: Final = 64
SLICE_OCTETS_MIN: Final = 4 * 1024
COMPLAINTS_MAX: Final = 10
REPORT_ROWS: Final = 10_000


class Sorter:
    """Takes the rows in, then merges. ``note`` keeps the manifest; ``report`` is told of each step (rows so far)."""

    def __init__(
        self,
        store: Store,
        folder: WorkFolder,
        manifest: Manifest,
        note: Callable[[], None],
        report: Callable[[str, int], None],
    ) -> None:
        self._store = store
        self._folder = folder
        self._manifest = manifest
        self._note = note
        self._report = report
        self._is_filled: dict[bytes, bool] = {}

    def take(self, rows: Iterable[Row]) -> None:
        """Write the rows as sorted runs, after those an earlier process has taken; raises RowsRefused."""
        manifest, held, octets = self._manifest, [], 0
        for row in islice(rows, manifest.taken, None):
            held.append(row)
            octets += row.octets
            if octets >= manifest.memory_octets:
                self._spill(held)
                held, octets = [], 0
            elif len(held) % REPORT_ROWS == 0:
                self._report("read", manifest.taken + len(held))
        if held:
            self._spill(held)
        manifest.phase = "merge"
        self._note()

    def _spill(self, rows: list[Row]) -> None:
        manifest, count = self._manifest, len(rows)
        rows.sort()
        fresh = list(self._judged(self._absent(rows)))
        manifest.left_out += count - len(fresh)
        manifest.taken += count
        if fresh:
            name = manifest.next_name()
            self._folder.write(name, fresh)
            manifest.runs.append(WorkRun(name, len(fresh), fresh[0].name, fresh[-1].name))
        self._note()
        self._report("read", manifest.taken)

    def _absent(self, rows: list[Row]) -> Iterator[Row]:
        """Those that are not stored yet."""
        complaints: list[str] = []
        for row in rows:
            if not self._may_be_stored(row.prefix) or self._store.get(row.prefix, row.suffix) is None:
                yield row
            elif not self._manifest.skip_existing:
                complaints.append(f"line {row.line}: {_name(row)} is stored already")
                if len(complaints) == COMPLAINTS_MAX:
                    break
        if complaints:
            raise RowsRefused(complaints)

    def _may_be_stored(self, prefix: bytes) -> bool:
        known = self._is_filled.get(prefix)
        if known is None:
            heads = (self._store.head(prefix, bucket) for bucket in self._store.buckets(prefix))
            known = self._is_filled[prefix] = any(head.records for head in heads)
        return known

    def _judged(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Sorted rows without repeated names."""
        complaints: list[str] = []
        last: Row | None = None
        for row in rows:
            if last is None or row.key != last.key or row.prefix != last.prefix:
                yield row
                last = row
            elif not self._manifest.skip_existing:
                complaints.append(f"lines {last.line} and {row.line}: both are {_name(row)}")
                if len(complaints) == COMPLAINTS_MAX:
                    break
        if complaints:
            raise RowsRefused(complaints)

    def merge(self) -> None:
        """Merge until each run begins after the one before it ended; raises RowsRefused and CorruptWork."""
        manifest = self._manifest
        fan_in = max(2, min(FAN_IN_MAX, manifest.memory_octets // (4 * SLICE_OCTETS_MIN)))
        manifest.runs.sort(key=_first)
        while any(one.last >= other.first for one, other in pairwise(manifest.runs)):
            chosen, rest = manifest.runs[:fan_in], manifest.runs[fan_in:]
            merged = self._merged(chosen, manifest.memory_octets // (2 * len(chosen)))
            manifest.left_out += sum(run.rows for run in chosen) - merged.rows
            manifest.runs = sorted([*rest, merged], key=_first)
            self._note()
            for run in chosen:
                self._folder.remove(run.name)
        manifest.phase = "load"
        self._note()

    def _merged(self, chosen: list[WorkRun], slice_octets: int) -> WorkRun:
        """One run of several. Its first and last names are what theirs were."""
        size = min(READ_OCTETS, max(SLICE_OCTETS_MIN, slice_octets))
        sources = [(row for row, _ in self._folder.read(run.name, slice_octets=size)) for run in chosen]
        name = self._manifest.next_name()
        count = self._folder.write(name, self._judged(self._counted(merge(*sources))))
        return WorkRun(name, count, min(run.first for run in chosen), max(run.last for run in chosen))

    def _counted(self, rows: Iterable[Row]) -> Iterator[Row]:
        for number, row in enumerate(rows):
            if number % REPORT_ROWS == 0:
                self._report("merge", number)
            yield row


def _first(run: WorkRun) -> Name:
    return run.first


def _name(row: Row) -> str:
    return (row.prefix + b"/" + row.suffix).decode("utf-8", "replace")[:200]
