"""The templates of one store, and the two verbs of an engine: a record becomes a row, a row becomes the record.

An engine keeps, beside its records, a table of templates (number -> octets). Writing::

    row = compactor.shrink(prefix, suffix, record)          # on the one thread that writes; record already stamped
    for number, octets in compactor.unsaved(): put them     # into the same transaction or batch as the rows
    commit; compactor.saved(those numbers)                  # only when it is durable; else they come again

Reading, from any thread::

    record = compactor.expand(prefix, suffix, row)          # of a row that is_templated(); verified octet for octet

Nothing is lost whatever a record holds: a row is kept only if expanding it gave the record back, else the row is the
record itself. Templates are never changed and never removed; their number is bounded by :data:`TEMPLATES_MAX`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

from idnode_registry.compaction.layout import Layout
from idnode_registry.compaction.learning import Sample, Shape, learn, take_apart
from idnode_registry.compaction.template import TEMPLATE_OCTETS_MAX, Field, Spelling, Template
from idnode_registry.errors import CorruptRecord, CorruptStore
from idnode_registry.format import FORM_PLAIN, FORM_TEMPLATED, HEADER_OCTETS
from idnode_registry.keys import SUFFIX_PLAIN_OCTETS_MAX

TEMPLATES_MAX: Final = 4_096
SAMPLES: Final = 32
"""Records of one shape that no template fits are kept plain until there are so many to learn the next one from."""
REMEMBERED: Final = 16
"""Samples of earlier learnings that the next one must fit too, so that templates of one shape grow more general."""
SHAPES_MAX: Final = 1_024
ATTEMPTS_MAX: Final = 16
"""Learnings per shape in the life of a process."""
SAMPLE_OCTETS_MAX: Final = 16 * 1024
LAYOUTS_MAX: Final = 8_192
HINTS_MAX: Final = 65_536
_PLAIN_START: Final = bytes([FORM_PLAIN])
_WIDE: Final = 0x40
_RESERVED: Final = 0x80


def is_templated(row: bytes) -> bool:
    """Whether a row wants :meth:`Compactor.expand`."""
    return row[0] == FORM_TEMPLATED if row else False


@dataclass(slots=True)
class _Known:
    """A template in use."""

    number: int
    template: Template
    variables: int
    fields: tuple[Field, ...]


@dataclass(slots=True)
class _Studied:
    """What was seen of a shape."""

    known: list[_Known] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    remembered: list[Sample] = field(default_factory=list)
    attempts: int = 0


class Compactor:
    """``stored``: the engine's table of templates. ``fetch`` (number -> octets or None) is asked for a template that
    came into the table later, written by another process."""

    def __init__(
        self, stored: Iterable[tuple[int, bytes]] = (), fetch: Callable[[int], bytes | None] | None = None
    ) -> None:
        self._octets = dict(stored)
        self._fetch = fetch
        self._known: dict[int, _Known] = {}
        self._variables: dict[int, int] = {}
        self._layouts: dict[tuple[bytes, int, int], Layout] = {}
        self._hints: dict[tuple[bytes, bytes], _Known] = {}
        self._shapes: dict[Shape, _Studied] | None = None
        self._unsaved: dict[int, bytes] = {}

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
        return self._take(number, template)

    def _take(self, number: int, template: Template) -> _Known:
        fields = template.fields()
        known = _Known(number, template, len(fields), fields)
        self._variables[number] = len(fields)
        self._known[number] = known
        return known

    # --- reading -------------------------------------------------------------------------------------------------

    def expand(self, prefix: bytes, suffix: bytes, row: bytes) -> bytes:
        """The plain record of a templated row stored under these folded names; checksum and name hold.

        Raises CorruptRecord, or CorruptStore when the row's template is damaged or missing.
        """
        try:
            number = row[5] << 8 | row[6]
            variables = self._variables.get(number)
            if variables is None:
                variables = self._find(number).variables
            head = row[5 : 8 + (variables << 1 if row[7] & _WIDE else variables)]
            layout = self._layouts.get((head, len(prefix), len(suffix)))
            if layout is None:
                layout = self._lay_out(head, len(prefix), len(suffix))
            if layout.spelling:
                prefix, suffix = _spelled(layout.spelling, prefix, suffix, row[5 + len(head) :])
            body = layout.assemble(prefix, suffix, row)
        except (ValueError, IndexError) as wrong:
            raise CorruptRecord(f"a templated row of {len(row)} octets cannot be read: {wrong}") from wrong
        checksum = row[1:5]
        if crc32(body, FORM_PLAIN) != int.from_bytes(checksum, "big"):
            raise CorruptRecord(f"checksum of a record of {len(body) + 5} octets does not hold")
        return _PLAIN_START + checksum + body

    def _lay_out(self, head: bytes, prefix_octets: int, suffix_octets: int) -> Layout:
        """The layout a row's head asks for; raises ValueError for one that cannot be."""
        known = self._find(head[0] << 8 | head[1])
        flags = head[2]
        width = 2 if flags & _WIDE else 1
        is_idle = width == 2 and not known.variables
        if is_idle or flags & _RESERVED or flags & 0x0F > 8 or flags >> 4 & 3 > Spelling.MIXED:
            raise ValueError(f"flags {flags:#04x}")
        if len(head) != 3 + width * known.variables:
            raise ValueError("it ends inside its lengths")
        lengths = [int.from_bytes(head[at : at + width], "big") for at in range(3, len(head), width)]
        layout = Layout(known.template, head, flags & 0x0F, flags >> 4 & 3, lengths, (prefix_octets, suffix_octets))
        if len(self._layouts) >= LAYOUTS_MAX:
            self._layouts.clear()
        self._layouts[head, prefix_octets, suffix_octets] = layout
        return layout

    # --- writing -------------------------------------------------------------------------------------------------

    def shrink(self, prefix: bytes, suffix: bytes, record: bytes) -> bytes:
        """The row to store for a plain, stamped record under these folded names; perhaps the record itself.

        A record whose suffix is longer than its key tells (``keys``) stays plain.
        """
        if len(suffix) > SUFFIX_PLAIN_OCTETS_MAX or len(record) > SAMPLE_OCTETS_MAX or record[0] != FORM_PLAIN:
            return record
        start = HEADER_OCTETS + len(prefix) + 1 + len(suffix)
        handle = record[HEADER_OCTETS:start]
        name = prefix + b"/" + suffix
        if handle == name:
            spelling, bits, names = 0, b"", (prefix, suffix)
        else:
            spelling, bits = _spelling(name, handle)
            names = handle[: len(prefix)], handle[len(prefix) + 1 :]
        if spelling < 0:
            return record
        hint = prefix, record[start : start + 8]
        known = self._hints.get(hint)
        row = None if known is None else self._fit(known, spelling, bits, names, record, start)
        if row is not None:
            return row
        known, row = self._search(spelling, bits, names, record, start)
        if known is None or row is None:
            return record
        if len(self._hints) >= HINTS_MAX:
            self._hints.clear()
        self._hints[hint] = known
        return row

    def _fit(
        self, known: _Known, spelling: int, bits: bytes, names: tuple[bytes, bytes], record: bytes, start: int
    ) -> bytes | None:
        """The record's row by this template; None unless expanding it gives the record back."""
        prefix, suffix = names
        head = _head(known, spelling, record, start, len(prefix), len(suffix))
        if head is None:
            return None
        layout = self._layouts.get((head, len(prefix), len(suffix))) or self._lay_out(head, len(prefix), len(suffix))
        if layout.record_octets != len(record):
            return None
        row = layout.row(bits, record)
        return row if row is not None and layout.assemble(prefix, suffix, row) == record[5:] else None

    def _search(
        self, spelling: int, bits: bytes, names: tuple[bytes, bytes], record: bytes, start: int
    ) -> tuple[_Known | None, bytes | None]:
        """Try the templates of the record's shape, newest first; else take it as a sample, and learn from enough."""
        apart = take_apart(record[start:])
        if apart is None:
            return None, None
        shape, times, data = apart
        studied = self._studied(shape)
        for known in reversed(studied.known):
            row = self._fit(known, spelling, bits, names, record, start)
            if row is not None:
                return known, row
        if studied.attempts >= ATTEMPTS_MAX or len(self._octets) >= TEMPLATES_MAX:
            return None, None
        studied.samples.append(Sample(*names, times, data))
        if len(studied.samples) < SAMPLES:
            return None, None
        samples = studied.remembered + studied.samples
        studied.remembered = samples[:: max(1, len(samples) // REMEMBERED)][:REMEMBERED]
        studied.samples = []
        studied.attempts += 1
        template = learn(shape, samples)
        known = self._take(max(self._octets, default=0) + 1, template)
        row = self._fit(known, spelling, bits, names, record, start)
        octets = template.to_octets()
        if row is None or len(row) >= len(record) or len(octets) > TEMPLATE_OCTETS_MAX:
            del self._known[known.number], self._variables[known.number]
            self._layouts.clear()
            return None, None
        self._octets[known.number] = self._unsaved[known.number] = octets
        studied.known.append(known)
        return known, row

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


def _head(known: _Known, spelling: int, record: bytes, start: int, prefix: int, suffix: int) -> bytes | None:
    """Template number, flags and lengths of a record's row; None when its fields cannot be this template's."""
    flags = 8 - len(record[9:17]) + len(record[9:17].lstrip(b"\0")) | spelling << 4
    if not known.variables:
        return (known.number << 8 | flags).to_bytes(3, "big")
    lengths = []
    at = start
    for part in known.fields:
        at += part.gap + part.gap_prefixes * prefix + part.gap_suffixes * suffix
        size = int.from_bytes(record[at : at + 4], "big")
        length = size - part.fixed - part.prefixes * prefix - part.suffixes * suffix
        at += 4 + size
        if length < 0 or at > len(record):
            return None
        lengths.append(length)
    if max(lengths) < 256:
        return (known.number << 8 | flags).to_bytes(3, "big") + bytes(lengths)
    if max(lengths) > 0xFFFF:
        return None
    wide = b"".join([length.to_bytes(2, "big") for length in lengths])
    return (known.number << 8 | flags | _WIDE).to_bytes(3, "big") + wide


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
