"""Records of two makes for tests and measurements of storage: nothing but the name and 48 octets or a name vary."""

from __future__ import annotations

from hashlib import sha512
from struct import pack

from idnode_protocol.value import HandleValue, values_to_octets
from idnode_registry import format as record_format

LOADED_AT_S = 1_795_392_000


def _admin(prefix: bytes) -> bytes:
    handle = b"0.NA/" + prefix
    return pack(">HI", 0x0FFF, len(handle)) + handle + pack(">I", 300)


def reference_record(prefix: bytes, number: int) -> tuple[bytes, bytes, bytes]:
    """(prefix, suffix, record): HS_ADMIN, values 1000 and 1001, ten attributes; 58 octets of a hash in them."""
    draw = sha512(b"%d" % number).digest()
    suffix = b"SN2026-%012d" % number
    reading = int.from_bytes(draw[48:52], "big")
    attributes = {
        "serialNumber": draw[:8].hex().encode(),
        "batchId": draw[8:28].hex().encode(),
        "traceId": draw[28:48].hex().encode(),
        "diameterMm": b"%d.%03d" % (reading % 40, reading % 997),
        "product": b"Seamless steel tube Q345B",
        "producedAt": b"2026-11-%02dT%02d:%02d:%02dZ"
        % (1 + draw[52] % 28, draw[53] % 24, draw[54] % 60, draw[55] % 60),
        "line": b"line-%02d" % (draw[56] % 12),
        "inspector": (b"Wang Lei", b"Li Na", b"Zhang Wei")[draw[57] % 3],
        "standard": b"GB/T 8162-2018",
        "unit": b"mm",
    }
    time = LOADED_AT_S + number % 86_400
    values = [
        HandleValue(100, "HS_ADMIN", _admin(prefix), timestamp=time),
        HandleValue(1000, "1000", b"\x01", timestamp=time),
        HandleValue(1001, "1001", b"99.900.META/tube-2026", timestamp=time),
    ]
    values += [HandleValue(2000 + at, kind, data, timestamp=time) for at, (kind, data) in enumerate(attributes.items())]
    return prefix, suffix, record_format.pack(prefix + b"/" + suffix, 1, values_to_octets(values))


def small_record(prefix: bytes, number: int) -> tuple[bytes, bytes, bytes]:
    """(prefix, suffix, record): HS_ADMIN and a URL in which nothing but the handle varies."""
    suffix = b"SN2026-%012d" % number
    time = LOADED_AT_S + number % 86_400
    values = [
        HandleValue(1, "URL", b"https://id.example.org/" + prefix + b"/" + suffix + b"?view=full", timestamp=time),
        HandleValue(100, "HS_ADMIN", _admin(prefix), timestamp=time),
    ]
    return prefix, suffix, record_format.pack(prefix + b"/" + suffix, 1, values_to_octets(values))
