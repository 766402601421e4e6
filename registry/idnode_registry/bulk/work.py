"""The work files of a bulk load: written once from front to back, read in slices, gone when the load is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from idnode_registry.bulk.manifest import RUN_START
from idnode_registry.bulk.rows import Row, from_chunks, to_octets
from idnode_registry.disk import WorkDisk

MANIFEST_NAME: Final = "manifest"
WRITE_ROWS: Final = 1_000
READ_OCTETS: Final = 256 * 1024


class WorkFolder:
    """A folder of numbered files through the disk adapter."""

    def __init__(self, disk: WorkDisk, path: str) -> None:
        self._disk = disk
        self._path = path
        disk.makedirs(path)

    def _place(self, name: str) -> str:
        return f"{self._path}/{name}"

    def write(self, name: str, rows: Iterable[Row]) -> int:
        """Make a file of these rows, on the medium when this returns; the number of rows."""
        place, count = self._place(name), 0
        if self._disk.exists(place):  # of an earlier process, which did not get to note it
            self._disk.remove(place)
        held: list[Row] = []
        self._disk.append(place, b"")
        for row in rows:
            held.append(row)
            if len(held) == WRITE_ROWS:
                self._disk.append(place, to_octets(held))
                count += len(held)
                held.clear()
        self._disk.append(place, to_octets(held))
        self._disk.sync(place)
        self._disk.sync(self._path)
        return count + len(held)

    def read(self, name: str, offset: int = 0, slice_octets: int = READ_OCTETS) -> Iterator[tuple[Row, int]]:
        """(row, offset after it), from an offset on; raises CorruptWork."""
        place = self._place(name)

        def chunks() -> Iterator[bytes]:
            at = offset
            while chunk := self._disk.read_part(place, at, slice_octets):
                yield chunk
                at += len(chunk)

        after = offset
        for row, octets in from_chunks(chunks(), place):
            after += octets
            yield row, after

    def note(self, octets: bytes) -> None:
        """Replace the manifest, durably."""
        self._disk.write_atomic(self._place(MANIFEST_NAME), octets)

    def noted(self) -> bytes | None:
        """The manifest; None when there is none."""
        place = self._place(MANIFEST_NAME)
        return self._disk.read(place) if self._disk.exists(place) else None

    def remove(self, name: str) -> None:
        """Remove one file, if it is there."""
        if self._disk.exists(self._place(name)):
            self._disk.remove(self._place(name))

    def discard(self) -> None:
        """Remove our files, the manifest last; the folder too, unless somebody put something else there."""
        names = set(self._disk.listdir(self._path))
        ours = {name for name in names if name.startswith((RUN_START, f".{MANIFEST_NAME}"))}
        for name in sorted(ours):
            self.remove(name)
        self.remove(MANIFEST_NAME)
        if names <= ours | {MANIFEST_NAME}:
            self._disk.remove_tree(self._path)
