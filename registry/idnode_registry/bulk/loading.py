"""The load itself: sorted rows become runs of the store, one journal entry each.

:func:`load_sorted` takes rows that are in order already. :class:`BulkLoad` takes them in any order and is resumable:

1. *read*: rows are sorted in memory, as many as fit, and written to the work folder;
2. *merge*: the runs are merged until they follow one another; whatever is wrong with the rows is known then, and
   nothing was stored;
3. *load*: run after run goes into the store.

The manifest says how far it is. A process that ends in the middle of a step leaves at most one step to do again; one
that ended between the store's commit and the note finds its run in the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from idnode_registry import format as record_format
from idnode_registry import journal
from idnode_registry.bulk.manifest import Manifest
from idnode_registry.bulk.rows import ROW_OVERHEAD_OCTETS, Row
from idnode_registry.bulk.sorting import Sorter
from idnode_registry.bulk.work import WorkFolder
from idnode_registry.disk import WorkDisk
from idnode_registry.engines.common import summarise
from idnode_registry.errors import FeedRetained, OtherLoad, RowsRefused
from idnode_registry.keys import order_key
from idnode_registry.store import Store

MEMORY_OCTETS: Final = 256 * 1024 * 1024
RUN_OCTETS_MAX: Final = 64 * 1024 * 1024
"""A run is read whole by the store, so it takes a share of the memory; about 60,000 reference records."""
RUN_SHARE: Final = 4


@dataclass(frozen=True, slots=True)
class Progress:
    """``step`` is read, merge or load; ``total`` is None while it is not known."""

    step: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load came to, with what earlier processes did of it."""

    rows: int
    left_out: int
    entries: int


Report = Callable[[Progress], None]


def load_sorted(
    store: Store,
    rows: Iterable[tuple[bytes, bytes, bytes]],
    *,
    now: float,
    actor: bytes = b"",
    run_octets: int = RUN_OCTETS_MAX,
    report: Report = lambda progress: None,
) -> Loaded:
    """Store (folded prefix, folded suffix, packed record) in the order of prefix and storage key.

    What is wrong with a row ends the load there: the runs before it are stored. Raises RunRefused and the errors of
    writing.
    """
    done = entries = 0
    whole = (Row(prefix, b"", 0, suffix, record) for prefix, suffix, record in rows)
    for prefix, run, _ in _runs(((row, (0, 0)) for row in whole), run_octets):
        done += store.load(prefix, run, journal.load_appender(now=now, prefix=prefix, actor=actor))
        entries += 1
        report(Progress("load", done, None))
    return Loaded(done, 0, entries)


Place = tuple[int, int]
"""(work run, offset in it) after a row."""


def _runs(
    rows: Iterable[tuple[Row, Place]], run_octets: int
) -> Iterator[tuple[bytes, list[tuple[bytes, bytes]], Place]]:
    """(prefix, its run, place after it), each as long as the prefix and ``run_octets`` allow."""
    prefix, octets, place = b"", 0, (0, 0)
    run: list[tuple[bytes, bytes]] = []
    for row, at in rows:
        if run and (octets >= run_octets or row.prefix != prefix):
            yield prefix, run, place
            run, octets = [], 0
        prefix, place = row.prefix, at
        run.append((row.suffix, row.record))
        octets += ROW_OVERHEAD_OCTETS + len(row.record)
    if run:
        yield prefix, run, place


class BulkLoad:
    """A resumable load into ``store``, with its work files in the folder ``work``.

    ``label`` tells inputs apart: a load that was cut off goes on only with the same. ``now`` (seconds since 1970) is
    the time of the journal's entries unless an earlier process has set it. Raises OtherLoad and CorruptWork.
    """

    def __init__(
        self,
        store: Store,
        disk: WorkDisk,
        work: str,
        label: str,
        *,
        now: float,
        actor: bytes = b"",
        memory_octets: int = MEMORY_OCTETS,
        skip_existing: bool = False,
        report: Report = lambda progress: None,
    ) -> None:
        self._store = store
        self._actor = actor
        self._report = report
        self._folder = WorkFolder(disk, work)
        noted = self._folder.noted()
        self.is_resumed = noted is not None
        if noted is None:
            run_octets = min(RUN_OCTETS_MAX, memory_octets // RUN_SHARE)
            self._manifest = Manifest(label, now, memory_octets, run_octets, skip_existing)
        else:
            self._manifest = Manifest.from_octets(noted)
            if self._manifest.label != label:
                raise OtherLoad(work, self._manifest.label)
            self._manifest.skip_existing = skip_existing

    @property
    def now(self) -> float:
        """The time of this load, whichever process began it."""
        return self._manifest.now

    def run(self, rows: Iterable[Row]) -> Loaded:
        """Load all; the work folder is gone afterwards. ``rows`` begin at the start of the input, always.

        Raises RowsRefused, and the ValueError that ``rows`` may raise for what cannot be read (nothing was stored; the
        work files are gone, so that a corrected input can be loaded); CorruptWork, and the errors of writing.
        """
        manifest = self._manifest
        sorter = Sorter(self._store, self._folder, manifest, self._note, self._tell)
        try:
            if manifest.phase == "read":
                self._note()
                sorter.take(rows)
            if manifest.phase == "merge":
                sorter.merge()
        except (RowsRefused, ValueError):
            self._folder.discard()
            raise
        if manifest.phase == "load":
            self._load()
        self._folder.discard()
        return Loaded(manifest.loaded, manifest.left_out, manifest.entries)

    def _note(self) -> None:
        self._folder.note(self._manifest.to_octets())

    def _tell(self, step: str, done: int) -> None:
        self._report(Progress(step, done, None if step == "read" else self._manifest.rows))

    def _load(self) -> None:
        manifest, may_be_done = self._manifest, self.is_resumed
        for prefix, run, place in _runs(self._sorted_rows(), manifest.run_octets):
            if not (may_be_done and self._is_stored(prefix, run)):
                entry = journal.load_appender(now=manifest.now, prefix=prefix, actor=self._actor)
                self._store.load(prefix, run, entry)
            may_be_done = False
            manifest.loaded += len(run)
            manifest.entries += 1
            manifest.run, manifest.offset = place
            self._note()
            self._tell("load", manifest.loaded)
        manifest.phase = "done"
        self._note()

    def _sorted_rows(self) -> Iterator[tuple[Row, Place]]:
        """What is still to be loaded, over all work runs: where one ends makes no difference to the store."""
        runs, first, offset = self._manifest.runs, self._manifest.run, self._manifest.offset
        for number in range(first, len(runs)):
            for row, after in self._folder.read(runs[number].name, offset if number == first else 0):
                yield row, (number, after)

    def _is_stored(self, prefix: bytes, run: list[tuple[bytes, bytes]]) -> bool:
        """Whether an earlier process stored this very run and ended before it could note it."""
        store, suffix = self._store, run[0][0]
        record = store.get(prefix, suffix)
        if record is None:
            return False
        try:
            entries = store.feed(prefix, store.bucket_of(prefix, suffix), record_format.serial_of(record) - 1, 1)
        except FeedRetained:
            return False
        summary = summarise([(order_key(each), each, packed) for each, packed in run])
        return bool(entries) and journal.parse(entries[0]).run == summary
