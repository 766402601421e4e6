"""What one verification may cost. Every figure replaces an absence of one in the reference, except the chain's 50.

Records and chains come from strangers: a record of 2,048 signatures against a handle of 2,048 keys would be four
million checks if each signature were tried with each key. Here a key is chosen by the name the signature gives, never
by trying, and the bounds below hold whatever the record says. What lies above them is *not checked*, and never *valid*.
"""

from __future__ import annotations

from typing import Final

JWS_OCTETS_MAX: Final = 64 * 1024
"""One container. 700 digests fit, so a record of 2,048 values takes three signatures."""
JSON_OBJECTS_PER_JWS_MAX: Final = 1_024
"""Opening braces and brackets in a payload: what 64 KiB of digests need, and a few. Bounds what is made of 64 KiB."""
SIGNATURE_CHECKS_PER_RECORD_MAX: Final = 8
SIGNATURE_CHECKS_PER_RESOLUTION_MAX: Final = 32
CHAIN_LINKS_MAX: Final = 8
"""The signature, its certificates and the root's own. The reference allows 50; production chains have three."""
HANDLES_PER_RECORD_MAX: Final = 8
"""Handles asked for certificates while one record is judged."""
CERTIFICATES_PER_HANDLE_MAX: Final = 32
"""HS_CERT values opened to find the one about an issuer; a chain that names an index opens just that one."""
PARSED_OCTETS_PER_RECORD_MAX: Final = 256 * 1024
"""Containers opened while one record is judged, in all."""
SIGNATURES_PER_RECORD_MAX: Final = SIGNATURE_CHECKS_PER_RECORD_MAX
"""Each needs a check of its own and all must be sound: a record with more cannot be found valid, so it is not begun."""

RSA_BITS_MIN: Final = 2_048
RSA_BITS_MAX: Final = 4_096
DSA_BITS_MIN: Final = 2_048
"""The reference accepts any size."""
