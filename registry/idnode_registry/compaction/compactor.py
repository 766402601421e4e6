"""The templates of one store, and the two verbs of an engine: a record becomes a row, a row becomes the record.

An engine keeps, beside its records, a table of templates (number -> octets). Writing::

    row = compactor.shrink(prefix, suffix, record)          # on the one thread that writes; record already stamped
    for number, octets in compactor.unsaved(): put them     # into the same transaction or batch as the rows
    commit; compactor.saved(those numbers)                  # only when it is durable; else they come again

Reading, from any thread::

    record = compactor.expand(prefix, suffix, row)          # of a row that is_templated(); verified octet for octet

Nothing is lost whatever a record holds: a row is kept only if its slots, put back, gave the record back (and, for the
first row of each layout, only if reading it did); else the row is the record itself. Templates are never changed and
never removed; their number is bounded by :data:`TEMPLATES_MAX`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from struct import Struct
from struct import error as StructError
from typing import Final, TypeAlias

from idnode_registry.compaction.layout import SERIAL_BITS, SPELLING_SHIFT, Layout, Press
from idnode_registry.compaction.learning import Sample, Shape, learn, take_apart
from idnode_registry.compaction.template import TEMPLATE_OCTETS_MAX, Field, Spelling, Template
from idnode_registry.errors import CorruptRecord, CorruptStore, ReadingError
from idnode_registry.format import FORM_PLAIN, FORM_TEMPLATED, HEADER_OCTETS, checksum_change, stamp
from idnode_registry.keys import SUFFIX_PLAIN_OCTETS_MAX

TEMPLATES_MAX: Final = 4_096
SAMPLES: Final = 32
"""Records of one shape that no template fits are kept plain until there are so many to learn the next one from."""
REMEMBERED: Final = 16
"""Samples of earlier learnings that the next one must fit too, so that templates of one shape grow more general."""
SHAPES_MAX: Final = 1_024
PROFIT_OCTETS_MIN: Final = 32
"""A template must save at least so much on the record it was learnt with, the row's own head included."""
ATTEMPTS_MAX: Final = 16
"""Learnings per shape in the life of a process."""
SAMPLE_OCTETS_MAX: Final = 16 * 1024
HELD_OCTETS_MAX: Final = 8 * 1024 * 1024
"""Of records held as samples; beyond it all are forgotten, and learning starts anew."""
LAYOUTS_MAX: Final = 8_192
HINTS_MAX: Final = 65_536
_U4: Final = Struct(">I")
TEMPLATED_START: Final = bytes([FORM_TEMPLATED])
_NO_SERIAL: Final = bytes(8)
_LENGTH_MAX: Final = 0xFFFF
_WIDE: Final = 0x40
_RESERVED: Final = 0x80


def is_templated(row: bytes) -> bool:
    """Whether a row wants :meth:`Compactor.expand`."""
    return row[:1] == TEMPLATED_START


@dataclass(frozen=True, slots=True)
class _Known:
    """A template in use."""

    number: int
    template: Template
    fields: tuple[Field, ...]
    code: int
    """Its number where a row has it: above the flags."""
    steps: dict[tuple[int, int], tuple[tuple[int, int], ...]]
    """By octets of prefix and suffix: (octets up to the next variable field, its octets without the slot)."""

    @classmethod
    def of(cls, number: int, template: Template) -> _Known:
        return cls(number, template, template.fields(), number << 8, {})

    def lengths(self, record: bytes, start: int, sizes: tuple[int, int]) -> list[int]:
        """The lengths of a record's variable slots, found by skipping from field to field.

        Nonsense, or struct.error, for a record that has no such fields.
        """
        steps = self.steps.get(sizes)
        if steps is None:
            steps = self.steps[sizes] = tuple(part.step(*sizes) for part in self.fields)
        lengths = []
        at = start
        for gap, fixed in steps:
            at += gap
            size = _U4.unpack_from(record, at)[0]
            at += 4 + size
            lengths.append(size - fixed)
        return lengths


@dataclass(slots=True)
class _Studied:
    """What was seen of a shape."""

    known: list[_Known] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    remembered: list[Sample] = field(default_factory=list)
    attempts: int = 0

    def learn(self, shape: Shape) -> Template:
        """The template of the samples, which are then remembered in part."""
        samples = self.remembered + self.samples
        self.remembered = samples[:: max(1, len(samples) // REMEMBERED)][:REMEMBERED]
        self.samples = []
        self.attempts += 1
        return learn(shape, samples)


_Fitted: TypeAlias = tuple[int, bytes, bytes]
"""(number and width of the lengths, lengths, slots)."""


class Compactor:
    """``stored``: the engine's table of templates. ``fetch`` (number -> octets or None) is asked for a template that
    came into the table later, written by another process."""

    def __init__(
        self, stored: Iterable[tuple[int, bytes]] = (), fetch: Callable[[int], bytes | None] | None = None
    ) -> None:
        self._octets = dict(stored)
        self._fetch = fetch
        self._known: dict[int, _Known] = {}
        self._ends: dict[bytes, int] = {}
        self._layouts: dict[tuple[bytes, int, int], Layout] = {}
        self._presses: dict[tuple[int, bytes, tuple[int, int]], Press] = {}
        self._hints: dict[tuple[bytes, bytes], _Known] = {}
        self._shapes: dict[Shape, _Studied] | None = None
        self._unsaved: dict[int, bytes] = {}
        self._proven: set[tuple[bytes, int, int]] = set()
        self._held_octets = 0

    # --- the table -----------------------------------------------------------------------------------------------

    def unsaved(self) -> list[tuple[int, bytes]]:
        """The templates that no commit has made durable yet, as (number, octets)."""
        return list(self._unsaved.items())

    def saved(self, numbers: Iterable[int]) -> None:
        """A commit kept these."""
        for number in numbers:
            self._unsaved.pop(number, None)

    def problems(self) -> Iterator[tuple[int, str]]:
        """(number, what is wrong) of every template that cannot be used, and of those that are missing."""
        for number in range(1, max(self._octets, default=0) + 1):
            try:
                self._find(number)
            except CorruptStore as wrong:
                yield number, str(wrong)

    def _find(self, number: int) -> _Known:
        """Raises CorruptStore for a template that is damaged or missing."""
        known = self._known.get(number)
        if known is not None:
            return known
        octets = self._octets.get(number) or (self._fetch(number) if self._fetch is not None else None)
        if octets is None:
            raise CorruptStore(f"template {number} is missing: restore a backup")
        try:
            template = Template.from_octets(octets)
        except CorruptStore as wrong:
            raise CorruptStore(f"template {number} is damaged, {wrong}: restore a backup") from wrong
        self._octets[number] = octets
        known = self._known[number] = _Known.of(number, template)
        return known

    # --- reading -------------------------------------------------------------------------------------------------

    def expand(self, prefix: bytes, suffix: bytes, row: bytes) -> bytes:
        """The plain record of a templated row stored under these folded names; checksum and name hold.

        Raises CorruptRecord, or CorruptStore when the row's template is damaged or missing.
        """
        try:
            layout = self._layouts.get((row[5:8], len(prefix), len(suffix)))
            if layout is None:
                head = row[5 : self._ends.get(row[5:8]) or self._end(row[5:8])]
                layout = self._layouts.get((head, len(prefix), len(suffix)))
                if layout is None:
                    layout = self._lay_out(head, len(prefix), len(suffix))
            if layout.spelling:
                prefix, suffix = _spelled(layout.spelling, prefix, suffix, row[self._ends[row[5:8]] :])
            return layout.expand(prefix, suffix, row)
        except (ValueError, StructError) as wrong:
            raise CorruptRecord(f"a templated row of {len(row)} octets cannot be read: {wrong}") from wrong

    def _end(self, start: bytes) -> int:
        """Where the head of a row ends that begins with these 3 octets; raises ValueError for flags that cannot be."""
        if len(start) != 3:
            raise ValueError("it ends inside its head")
        known, flags = self._find(start[0] << 8 | start[1]), start[2]
        is_idle = flags & _WIDE and not known.fields
        if is_idle or flags & _RESERVED or flags & SERIAL_BITS > 8 or flags >> SPELLING_SHIFT & 3 > Spelling.MIXED:
            raise ValueError(f"flags {flags:#04x}")
        end = self._ends[start] = 8 + len(known.fields) * (2 if flags & _WIDE else 1)
        return end

    def _lay_out(self, head: bytes, prefix_octets: int, suffix_octets: int) -> Layout:
        known = self._find(head[0] << 8 | head[1])
        width = 2 if head[2] & _WIDE else 1
        if len(head) != 3 + width * len(known.fields):
            raise ValueError("it ends inside its lengths")
        lengths = [int.from_bytes(head[at : at + width], "big") for at in range(3, len(head), width)]
        layout = Layout(known.template, head, lengths, (prefix_octets, suffix_octets))
        if len(self._layouts) >= LAYOUTS_MAX:
            self._layouts.clear()
        self._layouts[head, prefix_octets, suffix_octets] = layout
        return layout

    # --- writing -------------------------------------------------------------------------------------------------

    def shrink(self, prefix: bytes, suffix: bytes, record: bytes) -> bytes:
        """The row to store for a plain, stamped record under these folded names; perhaps the record itself.

        A record whose suffix is longer than its key tells (``keys``) stays plain.
        """
        return self._shrink(prefix, suffix, record, record[1:5], record[9:17].lstrip(b"\0")) or record

    def shrink_run(self, prefix: bytes, rows: Sequence[tuple[bytes, bytes, bytes]], serial: int) -> Iterator[bytes]:
        """The rows for a run of (order key, suffix, plain record), each record stamped with ``serial``."""
        for _, suffix, record in rows[:: max(1, len(rows) // (2 * SAMPLES))]:
            self._shrink(prefix, suffix, record, b"", b"")  # so that the first rows of the run profit already
        kept = serial.to_bytes(8, "big").lstrip(b"\0")
        stamps: dict[int, int] = {}
        for _, suffix, record in rows:
            if record[9:17] != _NO_SERIAL:
                record = stamp(record, 0)
            change = stamps.get(len(record))
            if change is None:
                change = stamps[len(record)] = checksum_change(len(record), serial)
            checksum = (int.from_bytes(record[1:5], "big") ^ change).to_bytes(4, "big")
            yield self._shrink(prefix, suffix, record, checksum, kept) or stamp(record, serial)

    def _shrink(self, prefix: bytes, suffix: bytes, record: bytes, checksum: bytes, serial: bytes) -> bytes | None:
        """The row with this checksum and serial, whatever the record says of them; None when there is none."""
        if len(suffix) > SUFFIX_PLAIN_OCTETS_MAX:
            return None
        start = HEADER_OCTETS + 1 + len(prefix) + len(suffix)
        name, names = prefix + b"/" + suffix, (prefix, suffix)
        sizes = len(prefix), len(suffix)
        spelling, bits = 0, b""
        if not record.startswith(name, HEADER_OCTETS):
            spelling, bits = _spelling(name, record[HEADER_OCTETS:start])
            prefix, suffix = record[HEADER_OCTETS : start - 1 - len(suffix)], record[start - len(suffix) : start]
        hint = prefix, record[start : start + 8]
        known = self._hints.get(hint)
        fitted = None if known is None or spelling < 0 else self._fit(known, prefix, suffix, record, start)
        if fitted is None:
            if spelling < 0 or len(record) > SAMPLE_OCTETS_MAX:
                return None
            found = self._search(prefix, suffix, record, start)
            if found is None:
                return None
            if len(self._hints) >= HINTS_MAX:
                self._hints.clear()
            self._hints[hint], fitted = found
        if not checksum:
            return None
        code, lengths, slots = fitted
        head = (code | len(serial) | spelling << SPELLING_SHIFT).to_bytes(3, "big") + lengths
        row = b"".join((TEMPLATED_START, checksum, head, bits, serial, slots))
        return row if (head, *sizes) in self._proven or self._prove(head, names, record, row, serial) else None

    def _prove(self, head: bytes, names: tuple[bytes, bytes], record: bytes, row: bytes, serial: bytes) -> bool:
        """Whether reading gives the record back: asked of the first row of each layout, and of all with mixed spelling.

        Of the others :class:`Press` has seen that their slots, put back, give the value list.
        """
        prefix, suffix = names
        try:
            is_proven = self.expand(prefix, suffix, row) == stamp(record, int.from_bytes(serial, "big"))
        except ReadingError:
            return False
        if is_proven and head[2] >> SPELLING_SHIFT & 3 != Spelling.MIXED:
            if len(self._proven) >= LAYOUTS_MAX:
                self._proven.clear()
            self._proven.add((head, len(prefix), len(suffix)))
        return is_proven

    def _fit(self, known: _Known, prefix: bytes, suffix: bytes, record: bytes, start: int) -> _Fitted | None:
        """What the row of a record says by this template; None unless putting it back gives the record back."""
        sizes = len(prefix), len(suffix)
        code, lengths = known.code, b""
        found: Sequence[int] = ()
        if known.fields:
            try:
                found = known.lengths(record, start, sizes)
                lengths = bytes(found)
            except StructError:
                return None
            except ValueError:
                if min(found) < 0 or max(found) > _LENGTH_MAX:
                    return None
                code, lengths = code | _WIDE, b"".join([length.to_bytes(2, "big") for length in found])
        key = code, lengths, sizes
        press = self._presses.get(key)
        if press is None:
            if len(self._presses) >= LAYOUTS_MAX:
                self._presses.clear()
            press = self._presses[key] = Press(known.template, found, sizes)
        if len(record) != press.record_octets or not record.startswith(press.version, 5) or record[0] != FORM_PLAIN:
            return None
        slots = press.slots(prefix, suffix, record)
        return None if slots is None else (code, lengths, slots)

    def _search(self, prefix: bytes, suffix: bytes, record: bytes, start: int) -> tuple[_Known, _Fitted] | None:
        """Try the templates of the record's shape, newest first; else take it as a sample, and learn from enough."""
        apart = take_apart(record[start:])
        if apart is None:
            return None
        shape, times, data = apart
        studied = self._studied(shape)
        for known in reversed(studied.known):
            fitted = self._fit(known, prefix, suffix, record, start)
            if fitted is not None:
                return known, fitted
        if studied.attempts >= ATTEMPTS_MAX or len(self._octets) >= TEMPLATES_MAX:
            return None
        self._hold(studied, Sample(prefix, suffix, times, data), len(record))
        if len(studied.samples) < SAMPLES:
            return None
        template = studied.learn(shape)
        octets = template.to_octets()
        known = _Known.of(max(self._octets, default=0) + 1, template)
        fitted = self._fit(known, prefix, suffix, record, start)
        if fitted is None or len(fitted[2]) + PROFIT_OCTETS_MIN > len(record) or len(octets) > TEMPLATE_OCTETS_MAX:
            self._forget_layouts()  # the number is free again
            return None
        self._octets[known.number] = self._unsaved[known.number] = octets
        self._known[known.number] = known
        studied.known.append(known)
        return known, fitted

    def _forget_layouts(self) -> None:
        self._presses.clear()
        self._layouts.clear()
        self._ends.clear()
        self._proven.clear()

    def _hold(self, studied: _Studied, sample: Sample, octets: int) -> None:
        self._held_octets += octets
        if self._held_octets > HELD_OCTETS_MAX and self._shapes is not None:
            for other in self._shapes.values():
                other.samples, other.remembered = [], []
            self._held_octets = octets
        studied.samples.append(sample)

    def _studied(self, shape: Shape) -> _Studied:
        if self._shapes is None:
            self._shapes = {}
            for number in sorted(self._octets):
                self._index(number)
        studied = self._shapes.get(shape)
        if studied is None:
            if len(self._shapes) >= SHAPES_MAX:
                self._shapes = {kept: found for kept, found in self._shapes.items() if found.known}
            studied = self._shapes[shape] = _Studied()
        return studied

    def _index(self, number: int) -> None:
        """Put a stored template under its shape; a damaged one serves no new record."""
        try:
            known = self._find(number)
        except CorruptStore:
            return
        apart = take_apart(known.template.example())
        if apart is not None and self._shapes is not None:
            self._shapes.setdefault(apart[0], _Studied()).known.append(known)


def _spelling(name: bytes, handle: bytes) -> tuple[int, bytes]:
    """(spelling, its bits) of a handle that is not spelled as its folded name; -1 when it is another name."""
    if handle == name.lower():
        return Spelling.LOWER, b""
    if len(handle) != len(name):
        return -1, b""
    differ = (int.from_bytes(handle, "big") ^ int.from_bytes(name, "big")).to_bytes(len(name), "big")
    if differ.strip(b"\0\x20"):
        return -1, b""
    bits = int(differ.replace(b"\0", b"0").replace(b"\x20", b"1"), 2)
    return Spelling.MIXED, bits.to_bytes((len(name) + 7) // 8, "big")


def _spelled(spelling: int, prefix: bytes, suffix: bytes, row: bytes) -> tuple[bytes, bytes]:
    """Prefix and suffix as the handle spells them; ``row`` from the bits on."""
    if spelling == Spelling.LOWER:
        return prefix.lower(), suffix.lower()
    size = len(prefix) + 1 + len(suffix)
    bits = int.from_bytes(row[: (size + 7) // 8], "big")
    differ = format(bits, f"0{size}b").encode().replace(b"0", b"\0").replace(b"1", b"\x20")
    name = int.from_bytes(prefix + b"/" + suffix, "big") ^ int.from_bytes(differ[-size:], "big")
    handle = name.to_bytes(size, "big")
    return handle[: len(prefix)], handle[len(prefix) + 1 :]
