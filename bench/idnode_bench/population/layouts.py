"""Value lists as layouts: what is the same for every record of a prefix is encoded once, the rest is filled in.

A layout is a ``bytes`` format with slots of fixed width, so a record costs one ``%`` (docs/protocol.md §2.1 has the
octets of a value). Slots are named; :func:`slots_of` computes all of them for a record.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from operator import itemgetter
from struct import pack
from typing import Final, Literal

from idnode_bench.population.industries import Industry
from idnode_bench.population.numbers import stream_octets
from idnode_protocol.value import HandleValue

Kind = Literal["reference", "small", "templated", "factory"]
CREATED_AT_S: Final = 1_700_000_000
"""The timestamp every value carries, seconds since 1970: loaded populations are reproducible."""
ADMIN_PERMISSIONS: Final = 0x0FFF
ADMIN_INDEX: Final = 100
GROUP_INDEX: Final = 200
ATTRIBUTES_FROM: Final = 2_000
BATCH_RECORDS: Final = 500
"""Serials of one production batch."""
LINES: Final = 12

_DAYS: Final = tuple((date(2026, 1, 1) + timedelta(day)).isoformat().encode() for day in range(365))
_WIDTHS: Final = {
    "serial": 12, "code": 18, "item": 22, "pallet": 22, "measure": 9, "hex": 40, "day": 10, "batch": 8, "line": 2,
}  # fmt: skip
_ORDER: Final = tuple(_WIDTHS)
Slots = tuple[bytes, ...]
Layout = Callable[[Slots], bytes]


def slots_of(seed: int, number: int, serial: int) -> Slots:
    """Every slot of record ``number``, which is serial ``serial`` of its prefix.

    code, item and pallet are 62 characters of base64 and measure nine digits, all from the cryptographic stream:
    62 * 6 + 9 * log2(10) bits = 50.2 octets that nothing compresses.
    """
    drawn = stream_octets(seed, number)
    text = b2a_base64(drawn[:48], newline=False)
    measure = int.from_bytes(drawn[48:56], "big") % 100_000_000
    day = _DAYS[serial // 4_096 % 365]
    return (
        b"%012d" % serial,
        text[:18],
        text[18:40],
        text[40:62],
        b"%04d.%04d" % divmod(measure, 10_000),
        drawn[:20].hex().encode(),
        day,
        b"%08d" % (serial // BATCH_RECORDS % 100_000_000),
        b"%02d" % (serial // BATCH_RECORDS % LINES + 1),
    )


def slot(name: str) -> bytes:
    """What stands in a layout's text where the slot goes: as wide as the slot, and like nothing else."""
    return bytes((0xFE, _ORDER.index(name))) + b"\xff" * (_WIDTHS[name] - 2)


def layout_of(values: Sequence[HandleValue]) -> Layout:
    """The value list of a response body (i4 count, values) with the slots to fill in."""
    octets = pack(">I", len(values)) + b"".join(value.to_octets() for value in values)
    found = sorted((at, name) for name in _ORDER for at in _places(octets, slot(name)))
    pieces, after = [], 0
    for at, name in found:
        pieces.append(octets[after:at].replace(b"%", b"%%"))
        after = at + _WIDTHS[name]
    pieces.append(octets[after:].replace(b"%", b"%%"))
    text = b"%b".join(pieces)
    if not found:
        return lambda _slots: octets
    chosen = [_ORDER.index(name) for _, name in found]
    if len(chosen) == 1:
        only = chosen[0]
        return lambda slots: text % (slots[only],)
    pick = itemgetter(*chosen)
    return lambda slots: text % pick(slots)


def _places(octets: bytes, wanted: bytes) -> list[int]:
    found, at = [], octets.find(wanted)
    while at >= 0:
        found.append(at)
        at = octets.find(wanted, at + len(wanted))
    return found


def values_of(kind: Kind, prefix: bytes, industry: Industry, enterprise: int) -> list[HandleValue]:
    """The values of the records of one prefix, slots in the place of what varies."""
    admin = _admin(prefix)
    if kind == "small":
        url = b"https://id.example.org/" + prefix + b"/" + slot("serial") + b"?lot=" + slot("hex")
        return [_value(1, "URL", url), admin]
    if kind == "templated":
        return [_value(1, "URL", b"https://id.example.org/" + prefix + b"/" + slot("serial")), admin]
    attributes = _attributes(prefix, industry, enterprise)
    if kind == "factory":
        attributes = attributes[: 5 + enterprise % 6] + [(name, text.encode()) for name, text in industry.extra]
    template = prefix + b"/META_" + industry.code.upper().encode()
    return [
        admin,
        _value(1000, "TEMPLATE_ID", template),
        _value(1001, "TEMPLATE", industry.code.encode() + b"-1"),
        *(_value(ATTRIBUTES_FROM + place, name, text) for place, (name, text) in enumerate(attributes)),
    ]


def range_values(prefix: bytes) -> list[HandleValue]:
    """The values of the kind *templated* as a range registers them (docs/ranges.md)."""
    return [_value(1, "URL", b"https://id.example.org/" + prefix + b"/${serial}"), _admin(prefix)]


def _attributes(prefix: bytes, industry: Industry, enterprise: int) -> list[tuple[str, bytes]]:
    """Ten of them; about 250 octets of content with the template's two values."""
    product = industry.products[enterprise % len(industry.products)].encode()
    grade = industry.grades[enterprise % len(industry.grades)].encode()
    return [
        ("SERIAL_NUMBER", slot("code")),
        ("ITEM_ID", slot("item")),
        ("PALLET_ID", slot("pallet")),
        ("MEASURED_VALUE", slot("measure") + b" " + industry.unit.encode()),
        ("PRODUCT_NAME", product + b" EX-%03d" % (enterprise % 1_000)),
        ("MATERIAL_GRADE", grade),
        ("PRODUCTION_BATCH", b"B" + slot("batch")),
        ("PRODUCTION_DATE", slot("day")),
        ("PRODUCTION_LINE", b"L" + slot("line")),
        ("URL", b"https://trace.id.example.org/products/" + prefix + b"/" + slot("serial")),
    ]


def _value(index: int, kind: str, data: bytes) -> HandleValue:
    return HandleValue(index, kind, data, timestamp=CREATED_AT_S)


def _admin(prefix: bytes) -> HandleValue:
    handle = b"0.NA/" + prefix
    return _value(
        ADMIN_INDEX, "HS_ADMIN", pack(">HI", ADMIN_PERMISSIONS, len(handle)) + handle + pack(">I", GROUP_INDEX)
    )
