"""Bounds of this floor that more than one room has to keep."""

from __future__ import annotations

from typing import Final

from idnode_protocol.limits import HEADER_OCTETS, MESSAGE_OCTETS_MAX

DIGEST_OCTETS_MAX: Final = 1 + 32
CREDENTIAL_OCTETS_MAX: Final = 4 + 1_024
"""A signature by a key of 4,096 bits takes 512 and a few names and numbers."""
ENCRYPTION_OCTETS_MAX: Final = 16 + 16
RECORD_BODY_OCTETS_MAX: Final = (
    MESSAGE_OCTETS_MAX - HEADER_OCTETS - DIGEST_OCTETS_MAX - CREDENTIAL_OCTETS_MAX - ENCRYPTION_OCTETS_MAX
)
"""The longest resolution body that still fits into a message with digest, signature and encryption: 261,027."""
