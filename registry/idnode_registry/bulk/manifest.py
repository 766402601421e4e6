"""What a bulk load has done so far: enough for the next process to go on, and to end as this one would have."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgpack

from idnode_registry.errors import CorruptWork

VERSION: Final = 1
RUN_START: Final = "run-"
Phase: TypeAlias = Literal["read", "merge", "load", "done"]


Name: TypeAlias = tuple[bytes, bytes]
"""(prefix, storage key)."""


class WorkRun(NamedTuple):
    """A sorted file: its name in the work folder, its rows, the first name and the last."""

    name: str
    rows: int
    first: Name
    last: Name


@dataclass(slots=True)
class Manifest:
    """Everything is fixed by the first process but the progress: ``label`` names the input, ``now`` is the time that
    all journal entries tell (seconds since 1970)."""

    label: str
    now: float
    memory_octets: int
    run_octets: int
    skip_existing: bool
    phase: Phase = "read"
    taken: int = 0
    """Rows of the input that lie in runs, or were left out."""
    left_out: int = 0
    names: int = 0
    runs: list[WorkRun] = field(default_factory=list)
    loaded: int = 0
    """Rows in the store."""
    entries: int = 0
    """Journal entries written for them."""
    run: int = 0
    """The run that is being loaded, and how far."""
    offset: int = 0

    def next_name(self) -> str:
        """The name of the next work file; the same again when the process ends before it is noted."""
        self.names += 1
        return f"{RUN_START}{self.names:06}"

    @property
    def rows(self) -> int:
        """Rows to load in all."""
        return self.taken - self.left_out

    def to_octets(self) -> bytes:
        members = {each.name: getattr(self, each.name) for each in fields(self)}
        octets: bytes = msgpack.packb({"version": VERSION, **members})
        return octets

    @classmethod
    def from_octets(cls, octets: bytes) -> Manifest:
        """Raises CorruptWork."""
        try:
            found: dict[str, Any] = msgpack.unpackb(octets)
            if found.pop("version") != VERSION:
                raise ValueError("it is of another version")
            runs = [WorkRun(name, rows, tuple(first), tuple(last)) for name, rows, first, last in found.pop("runs")]
            return cls(**found, runs=runs)
        except (ValueError, TypeError, KeyError, msgpack.UnpackException) as wrong:
            raise CorruptWork(
                f"the manifest of the load cannot be read ({wrong}): remove the work folder and load again"
            ) from wrong
