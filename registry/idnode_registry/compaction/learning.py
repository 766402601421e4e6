"""From sample records of one shape to the template they share.

Two records are of one shape when their values agree in index, TTL, permissions, type and references. What differs is
in the data (and the times). A data field is cut where the handle's own name stands in it; what lies between is
constant, or a slot of fixed length, or has a common head and tail around a slot of variable length (one per field).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from struct import Struct
from struct import error as StructError
from typing import Final, NamedTuple, TypeAlias

from idnode_registry.compaction.template import VARIABLE, Kind, Length, Piece, Slot, Template, Told

Shape: TypeAlias = tuple[bytes, ...]
"""What all values of a record say apart from times and data: octets that compare equal for equal shapes."""

PREFIX_OCTETS_MIN: Final = 3
SUFFIX_OCTETS_MIN: Final = 4
"""A shorter name would be found in places where it does not stand for itself."""
_CLASSES: Final = (
    (Kind.HEX_LOWER, re.compile(rb"[0-9a-f]+")),
    (Kind.HEX_UPPER, re.compile(rb"[0-9A-F]+")),
    (Kind.ALNUM, re.compile(rb"[A-Za-z0-9+/]+")),
)
_PACKED_OCTETS_MIN: Final = 2
_DIGITS: Final = b"0123456789"
_U4: Final = Struct(">I")
_BEFORE_TYPE: Final = Struct(">4s4s6sI")


class Sample(NamedTuple):
    """A record taken apart; names as its handle spells them."""

    prefix: bytes
    suffix: bytes
    times: list[bytes]
    data: list[bytes]


def take_apart(values: bytes) -> tuple[Shape, list[bytes], list[bytes]] | None:
    """(shape, times, data) of a value list; None when it does not follow the layout."""
    shape: list[bytes] = []
    times: list[bytes] = []
    data: list[bytes] = []
    try:
        (count,) = _U4.unpack_from(values)
        at = 4
        for _ in range(count):
            index, time, settings, octets = _BEFORE_TYPE.unpack_from(values, at)
            kind_end = at + 18 + octets
            (octets,) = _U4.unpack_from(values, kind_end)
            data_end = kind_end + 4 + octets
            end = data_end + 4
            for _ in range(_U4.unpack_from(values, data_end)[0]):
                end += 8 + _U4.unpack_from(values, end)[0]
            if end > len(values):
                return None
            times.append(time)
            data.append(values[kind_end + 4 : data_end])
            shape += (index, settings, values[at + 18 : kind_end], values[data_end:end])
            at = end
    except StructError:
        return None
    return (tuple(shape), times, data) if at == len(values) else None


def learn(shape: Shape, samples: Sequence[Sample]) -> Template:
    """The template of at least one sample of ``shape``; it fits each of them."""
    pieces: list[Piece] = [_U4.pack(len(shape) // 4)]
    sealed = 0
    for place in range(len(shape) // 4):
        index, settings, kind, references = shape[4 * place : 4 * place + 4]
        sealed = _append(pieces, sealed, [index])
        if all(sample.times[place] == sample.times[0] for sample in samples):
            pieces.append(Told.TIME)
        else:
            pieces.append(Slot(Kind.RAW, 4))
        sealed = _append(pieces, sealed, [settings + _U4.pack(len(kind)) + kind])
        inside = _field([(sample.data[place], sample.prefix, sample.suffix) for sample in samples])
        if all(isinstance(piece, bytes) for piece in inside):
            octets = b"".join(piece for piece in inside if isinstance(piece, bytes))
            sealed = _append(pieces, sealed, [_U4.pack(len(octets)) + octets])
        else:
            pieces += [Length(len(inside)), *inside]
            sealed = len(pieces)
        sealed = _append(pieces, sealed, [references])
    return Template(tuple(pieces))


def _append(pieces: list[Piece], sealed: int, added: Sequence[bytes]) -> int:
    """Put constants behind the pieces, joined with a constant before them unless that one is ``sealed``."""
    for octets in added:
        last = pieces[-1] if len(pieces) > sealed else None
        if isinstance(last, bytes):
            pieces[-1] = last + octets
        else:
            pieces.append(octets)
    return sealed


def _field(samples: Sequence[tuple[bytes, bytes, bytes]]) -> list[Piece]:
    """The pieces of one data field of (data, prefix, suffix)."""
    cut = [_cut(*sample) for sample in samples]
    told = [names for _, names in cut]
    if all(names == told[0] for names in told):
        pieces: list[Piece] = []
        for place, name in enumerate([*told[0], None]):
            pieces += _segment([literals[place] for literals, _ in cut])
            if name is not None:
                pieces.append(name)
        if sum(isinstance(piece, Slot) and piece.octets == VARIABLE for piece in pieces) <= 1:
            return pieces
    return _segment([data for data, _, _ in samples])


def _cut(data: bytes, prefix: bytes, suffix: bytes) -> tuple[list[bytes], list[Told]]:
    """(literals, names between them): one literal more than there are names."""
    literals: list[bytes] = []
    names: list[Told] = []
    for number, part in enumerate(data.split(suffix) if len(suffix) >= SUFFIX_OCTETS_MIN else [data]):
        if number:
            names.append(Told.SUFFIX)
        pieces = part.split(prefix) if len(prefix) >= PREFIX_OCTETS_MIN else [part]
        literals += pieces
        names += [Told.PREFIX] * (len(pieces) - 1)
    return literals, names


def _segment(samples: Sequence[bytes]) -> list[Piece]:
    """The pieces of what stands between two names."""
    if all(sample == samples[0] for sample in samples):
        return [samples[0]] if samples[0] else []
    if all(len(sample) == len(samples[0]) for sample in samples):
        return _columns(samples)
    head = _common_head(samples).rstrip(_DIGITS)
    tails = [sample[len(head) :][::-1] for sample in samples]
    tail = _common_head(tails)[::-1].lstrip(_DIGITS)
    middles = [sample[len(head) : len(sample) - len(tail)] for sample in samples]
    pieces: list[Piece] = [head, Slot(_kind(middles), VARIABLE), tail]
    return [piece for piece in pieces if piece]


def _common_head(samples: Sequence[bytes]) -> bytes:
    """What all of them begin with: as much as the least and the greatest share."""
    least, greatest = min(samples), max(samples)
    size = next((at for at, octet in enumerate(least) if octet != greatest[at]), len(least))
    return least[:size]


def _columns(samples: Sequence[bytes]) -> list[Piece]:
    """Constants and slots of samples of one length. A column that varies takes the whole number it stands in along."""
    first = samples[0]
    columns = list(zip(*samples, strict=True))
    varies = [any(octet != column[0] for octet in column) for column in columns]
    digits = [all(octet in _DIGITS for octet in column) for column in columns]
    for places, step in ((range(1, len(first)), 1), (range(len(first) - 2, -1, -1), -1)):
        for place in places:
            if digits[place] and varies[place - step] and digits[place - step]:
                varies[place] = True
    pieces: list[Piece] = []
    start = 0
    for place in range(1, len(first) + 1):
        if place < len(first) and varies[place] == varies[start]:
            continue
        if varies[start]:
            pieces.append(Slot(_kind([sample[start:place] for sample in samples]), place - start))
        else:
            pieces.append(first[start:place])
        start = place
    return pieces


def _kind(slots: Sequence[bytes]) -> Kind:
    """The narrowest kind that holds all of them; short ones stay raw, packing them gains nothing."""
    if max(map(len, slots)) < _PACKED_OCTETS_MIN:
        return Kind.RAW
    for kind, pattern in _CLASSES:
        if all(pattern.fullmatch(slot) or not slot for slot in slots):
            return kind
    return Kind.RAW
