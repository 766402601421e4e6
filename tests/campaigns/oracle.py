"""What a store may hold after a crash, judged from outside: knows only what was asked and what was answered.

Every event goes to a history file as one JSON line before anything else happens with it: ``invoke`` when an operation
is sent, then ``ok``, ``fail`` (surely not applied) or ``unknown``. A key's possible states follow from them:

* ok: the new state only; fail: as before; unknown, and whatever was open when the process died: both.
* *Own* keys have one writer, which waits for each answer. *Contested* keys are only created, by many writers at once:
  at most one may be told ok, ever.

The oracle imports nothing of the store's and compares after each restart: states, record serials, the feed.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CREATE, DELETE = 1, 5
"""Operation numbers in feed entries; every other one changes a record that is there."""


@dataclass(frozen=True, slots=True)
class Operation:
    """``value`` None deletes; ``expect`` 0 = must be absent, n = record serial must be n, None = whatever is there."""

    number: int
    key: str
    value: str | None
    expect: int | None
    contested: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """A record found: its value and its serial."""

    value: str
    serial: int


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """``digest`` is over the entry's octets: an entry once seen never changes."""

    serial: int
    operation: int
    key: str
    digest: str


@dataclass(slots=True)
class Key:
    """``serial`` is the record's serial where it is known, 0 for surely absent, None for unknown."""

    possible: set[str | None] = field(default_factory=lambda: {None})
    serial: int | None = 0
    contested: bool = False
    written: int = 0
    """Entries it must have in the feed: those found after the last crash, and what was acknowledged since."""
    perhaps: int = 0
    """Further entries it may have: writes of this life whose end nobody knows."""

    @property
    def is_certain(self) -> bool:
        return len(self.possible) == 1


class Oracle:
    """Judge of one store over all its lives. ``complaints`` holds what was wrong while it ran."""

    def __init__(self, history: Path) -> None:
        self._file = history.open("a", encoding="utf-8")
        self.keys: dict[str, Key] = {}
        self.open: dict[int, Operation] = {}
        self.complaints: list[str] = []
        self.counts: Counter[str] = Counter()
        self._acknowledged: dict[int, str] = {}
        self._entries: list[FeedEntry] = []

    def key(self, name: str) -> Key:
        return self.keys.setdefault(name, Key())

    def invoke(self, operation: Operation) -> None:
        self._write("invoke", operation)
        self.key(operation.key).contested |= operation.contested
        self.open[operation.number] = operation

    def ok(self, number: int, serial: int | None = None) -> None:
        """Acknowledged as applied; ``serial`` is that of the feed entry, None where the answer does not say it."""
        operation = self.open.pop(number)
        self._write("ok", operation, serial)
        key = self.key(operation.key)
        if serial is not None and serial in self._acknowledged:
            self.complaints.append(f"serial {serial} given to {self._acknowledged[serial]} and to {operation.key}")
        if operation.contested and key_value(key) is not None:
            self.complaints.append(f"{operation.key} created twice: {key_value(key)}, then {operation.value}")
        if serial is not None:
            self._acknowledged[serial] = operation.key
        key.written += 1
        key.possible = {operation.value}
        key.serial = serial if operation.value is not None else 0

    def fail(self, number: int) -> None:
        """Refused: surely not applied."""
        operation = self.open.pop(number)
        self._write("fail", operation)
        key = self.key(operation.key)
        if (
            not operation.contested
            and key.is_certain
            and operation.expect is not None
            and operation.expect == key.serial
        ):
            self.complaints.append(f"{operation.key} refused although its serial is {key.serial} as expected")
        if operation.expect is None and key.is_certain and None not in key.possible:
            self.complaints.append(f"{operation.key} refused although it is there")

    def unknown(self, number: int) -> None:
        operation = self.open.pop(number)
        self._write("unknown", operation)
        key = self.key(operation.key)
        if operation.contested and key.is_certain and None not in key.possible:
            return  # somebody else surely won, so this one surely lost
        key.perhaps += 1
        key.possible.add(operation.value)
        key.serial = None

    def crashed(self) -> None:
        """Nothing that is still open will ever be answered."""
        for number in list(self.open):
            self.unknown(number)
        self._file.flush()
        os.fsync(self._file.fileno())

    def verify(self, state: Mapping[str, Stored], feed: Iterable[FeedEntry]) -> list[str]:
        """What is wrong with the store as found; afterwards the found states are the only possible ones."""
        entries = list(feed)
        written = Counter(entry.key for entry in entries)
        found = [*self.complaints, *self._verify_feed(entries), *self._verify_history(state, entries)]
        for name, key in self.keys.items():
            if not key.written <= written[name] <= key.written + key.perhaps:
                expected = f"{key.written} to {key.written + key.perhaps}"
                found.append(f"LOST entries of {name}: the feed has {written[name]}, acknowledged were {expected}")
        for name in sorted(state.keys() - self.keys.keys()):
            found.append(f"{name} is there and was never asked for")
        for name, key in self.keys.items():
            stored = state.get(name)
            actual = stored.value if stored else None
            if actual not in key.possible:
                wanted = " or ".join(sorted(map(str, key.possible)))
                found.append(f"LOST {name}: {actual} is there, acknowledged was {wanted}")
            if key.serial is not None and key.serial != (stored.serial if stored else 0):
                found.append(f"{name} has serial {stored.serial if stored else 0}, acknowledged was {key.serial}")
            key.possible, key.serial = {actual}, stored.serial if stored else 0
            key.written, key.perhaps = written[name], 0
        self._entries = entries
        return found

    def _verify_feed(self, entries: list[FeedEntry]) -> Iterable[str]:
        """Contiguous from 1; what was seen before is unchanged; every acknowledged serial is there, for its key."""
        if [entry.serial for entry in entries] != list(range(1, len(entries) + 1)):
            yield f"the feed is not contiguous: {[entry.serial for entry in entries][-5:]} end {len(entries)} entries"
        if entries[: len(self._entries)] != self._entries:
            yield "an entry seen before the crash is gone or changed"
        by_serial = {entry.serial: entry.key for entry in entries}
        for serial, key in self._acknowledged.items():
            if by_serial.get(serial) != key:
                yield f"LOST entry {serial} of {key}: the feed has {by_serial.get(serial)}"

    def _verify_history(self, state: Mapping[str, Stored], entries: list[FeedEntry]) -> Iterable[str]:
        """Creations happen exactly once, and each record is what its last entry says."""
        creations, deletions, last = Counter[str](), Counter[str](), dict[str, FeedEntry]()
        for entry in entries:
            creations[entry.key] += entry.operation == CREATE
            deletions[entry.key] += entry.operation == DELETE
            last[entry.key] = entry
        for name, entry in last.items():
            if creations[name] - deletions[name] != (name in state):
                yield f"{name}: {creations[name]} creations, {deletions[name]} deletions, present is {name in state}"
            if name in self.keys and self.keys[name].contested and creations[name] > 1:
                yield f"{name} was created {creations[name]} times"
            if name in state and state[name].serial != entry.serial:
                yield f"{name} has serial {state[name].serial}, its last entry {entry.serial}"

    def _write(self, event: str, operation: Operation, serial: int | None = None) -> None:
        self.counts[event] += 1
        row = {"event": event, "n": operation.number, "key": operation.key, "value": operation.value, "serial": serial}
        self._file.write(json.dumps(row) + "\n")

    def close(self) -> None:
        self._file.close()


def key_value(key: Key) -> str | None:
    """The value of a certain key."""
    return next(iter(key.possible)) if key.is_certain else None
