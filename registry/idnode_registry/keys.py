"""How records sort: the key scheme, version 1.

::

    records   prefix number u4 | suffix                            suffix of 0..448 octets
              prefix number u4 | suffix[:416] | SHA-256(suffix) | 0xff    longer ones: 449 octets after the number
    journal   prefix number u4 | serial u8
    heads     prefix number u4

LMDB keys end at 511 octets. The last octet makes a shortened key one octet longer than any plain one may be: without
it somebody could register the 448-octet name that consists of another's first 416 octets and digest, and the two
would fight for one key.

**Order.** Names sort by this key. That is the octet order of the folded suffix as long as no two names longer than 448
octets share their first 416; those that do sort among each other by digest. Every key is the same for ever, so a scan
that goes on after a key delivers each record once, whatever is written meanwhile.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

KEY_SCHEME: Final = 1
SUFFIX_PLAIN_OCTETS_MAX: Final = 448
SUFFIX_KEPT_OCTETS: Final = 416
LONG_MARK: Final = b"\xff"
ORDER_KEY_OCTETS_MAX: Final = SUFFIX_KEPT_OCTETS + 32 + len(LONG_MARK)
PREFIX_NUMBER_OCTETS: Final = 4
PREFIX_NUMBER_MAX: Final = 2**32 - 1
META_NAME_OCTETS_MAX: Final = 400


def order_key(suffix: bytes) -> bytes:
    """What a record sorts by inside its bucket: the suffix, or its first 416 octets, digest and mark."""
    if len(suffix) <= SUFFIX_PLAIN_OCTETS_MAX:
        return suffix
    return suffix[:SUFFIX_KEPT_OCTETS] + sha256(suffix).digest() + LONG_MARK


def number_key(number: int) -> bytes:
    """The 4 octets all rows of a prefix begin with."""
    return number.to_bytes(PREFIX_NUMBER_OCTETS, "big")


def journal_key(number: bytes, serial: int) -> bytes:
    """The key of one journal entry; ``number`` as :func:`number_key` made it."""
    return number + serial.to_bytes(8, "big")
