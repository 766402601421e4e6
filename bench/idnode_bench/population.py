"""The small-record population: what a target is filled with and what every reply is compared against.

A *small record* is HS_ADMIN and one URL; its answer is one fragment of about 260 octets. Record ``n`` is a pure
function of ``(seed, n)``, so Python, the C programs (by the file of :func:`to_file_octets`) and a node hold the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from struct import pack

from idnode_protocol.value import HandleValue

PREFIX = b"99.900"
COUNT_DEFAULT = 100_000
COUNT_MAX = 10_000_000
"""Suffixes are ``B`` and seven digits."""
FILE_VERSION = 1
CREATED_AT_S = 1_700_000_000
"""The timestamp every value carries, seconds since 1970: loaded populations are reproducible."""

_ADMIN_HANDLE = b"0.NA/99.900"
_ADMIN_INDEX = 200
_PERMISSIONS_ALL = 0x0FFF
_CONTENT_OCTETS = 40


@dataclass(frozen=True, slots=True)
class BenchRecord:
    """A handle as written, and its value list as it follows the handle in a response body (i4 count, values)."""

    suffix: bytes
    values: bytes

    @property
    def handle(self) -> bytes:
        return PREFIX + b"/" + self.suffix


@dataclass(frozen=True, slots=True)
class Population:
    """``count`` small records drawn from ``seed``; iterating yields them sorted by suffix."""

    count: int = COUNT_DEFAULT
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.count <= COUNT_MAX:
            raise ValueError(f"a population has 1 to {COUNT_MAX} records, not {self.count}")

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[BenchRecord]:
        before, after = _constant_slices()
        for number in range(self.count):
            suffix = b"B%07d" % number
            yield BenchRecord(suffix, before + _url(suffix, self.seed, number) + after)


def to_file_octets(population: Population) -> Iterator[bytes]:
    """What the C programs read: ``"IDBP" | u32 version | u64 count | count x (u32, handle, u32, value list)``."""
    head = b"IDBP" + pack(">IQ", FILE_VERSION, population.count)
    rows = (
        b"".join((pack(">I", len(r.handle)), r.handle, pack(">I", len(r.values)), r.values)) for r in iter(population)
    )
    return chain((head,), rows)


def _url(suffix: bytes, seed: int, number: int) -> bytes:
    content = sha256(pack(">QQ", seed, number)).hexdigest()[:_CONTENT_OCTETS].encode()
    return b"https://id.example.org/99.900/" + suffix + b"?part=%07d&lot=" % (number % 9973) + content


def _constant_slices() -> tuple[bytes, bytes]:
    """What stands before and after the URL in every value list: the same octets for each record, so encoded once."""
    placeholder = _url(b"B0000000", 0, 0)
    admin = pack(">HI", _PERMISSIONS_ALL, len(_ADMIN_HANDLE)) + _ADMIN_HANDLE + pack(">I", _ADMIN_INDEX)
    values = (
        HandleValue(1, "URL", placeholder, timestamp=CREATED_AT_S),
        HandleValue(100, "HS_ADMIN", admin, timestamp=CREATED_AT_S),
    )
    octets = pack(">I", len(values)) + b"".join(value.to_octets() for value in values)
    before, after = octets.split(placeholder)
    return before, after
