"""Every bound of the protocol floor: its unit in its name, its reason beside it.

The first group repeats what the reference's decoder enforces (docs/protocol.md §0), so that nothing we send is
refused there and nothing it may send is refused here.
"""

from __future__ import annotations

from typing import Final

ENVELOPE_OCTETS: Final = 20
HEADER_OCTETS: Final = 24
DATAGRAM_OCTETS_MAX: Final = 512
"""The reference receives into a 512-octet buffer (docs/protocol.md §4.1)."""
FRAGMENT_OCTETS_MAX: Final = DATAGRAM_OCTETS_MAX - ENVELOPE_OCTETS
"""Message octets carried by one datagram: 492."""

MESSAGE_OCTETS_MAX: Final = 262_144
"""All octets after the envelope."""
ARRAY_OCTETS_MAX: Final = 1_048_576
"""Any single counted array; larger than a message, so the message bound decides first."""
HANDLE_OCTETS_MAX: Final = 2_048
VALUES_PER_HANDLE_MAX: Final = 2_048
REFERENCES_PER_VALUE_MAX: Final = 2_048
INDEXES_PER_REQUEST_MAX: Final = 2_048
"""A record has no more values, so a longer list can only repeat itself."""
TYPES_PER_REQUEST_MAX: Final = 2_048
TYPE_OCTETS_MAX: Final = 1_024
"""No registered type comes near; bounds the text a peer can make us decode."""
HANDLES_PER_LIST_MAX: Final = MESSAGE_OCTETS_MAX // 4
"""Each name costs at least its 4-octet length."""
LIST_HANDLES_PER_MESSAGE: Final = 50
"""What the reference sends per list message (docs/protocol.md §3.7)."""

FRAGMENTS_PER_MESSAGE_MAX: Final = -(-MESSAGE_OCTETS_MAX // FRAGMENT_OCTETS_MAX)
"""533."""
REASSEMBLY_OCTETS_MAX: Final = 8 * 1024 * 1024
REASSEMBLY_PER_SOURCE_MAX: Final = 2
REASSEMBLY_AGE_MAX_S: Final = 2.0
"""The reference trusts the first fragment's declared length and keeps it 5 s; that is a memory exhaustion
(one 512-octet datagram reserves 256 KiB), hence octets really received, two sets per source, two seconds."""

SERVERS_PER_SITE_MAX: Final = 1_024
INTERFACES_PER_SERVER_MAX: Final = 64
ATTRIBUTES_PER_SITE_MAX: Final = 1_024
VLIST_MEMBERS_MAX: Final = 4_096
KEY_INTEGER_OCTETS_MAX: Final = 2_049
"""16,384 bits and a sign octet."""

PBKDF2_ITERATIONS_MIN: Final = 1_000
PBKDF2_ITERATIONS_MAX: Final = 100_000
PBKDF2_KEY_BITS: Final = frozenset({160, 256})
PBKDF2_SALT_OCTETS_MIN: Final = 8
PBKDF2_SALT_OCTETS_MAX: Final = 64
"""The answer to a challenge chooses its own cost; these bound it to <= 100 ms of one core."""

DH_PRIME_BITS_MIN: Final = 1_024
DH_PRIME_BITS_MAX: Final = 3_072
DH_EXPONENT_BITS: Final = 256
SESSION_COUNTER_WINDOW: Final = 200
"""How many counters below the highest one may still arrive (docs/protocol.md §5.7)."""
NONCE_OCTETS: Final = 16
JSON_DEPTH_MAX: Final = 32
JSON_OCTETS_MAX: Final = 2 * 1024 * 1024
