"""JSON Web Signatures as records carry them: read strictly, written plainly (docs/protocol.md §8.1; RFC 7515).

::

    base64url(header) . base64url(payload) . base64url(signature)        compact
    {"payload": .., "signatures": [{"protected": .., "signature": ..}]}    general; its first signature only

What is signed is text, so the received octets are kept and nothing is ever encoded again to be compared. Whatever has
two readings is refused: base64url with padding or stray bits, members that stand twice, headers that bring a key.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from idnode_protocol.errors import InvalidText
from idnode_protocol.json_members import JsonObject, parse_json
from idnode_registry.trust.errors import JwsRefused
from idnode_registry.trust.limits import JSON_OBJECTS_PER_JWS_MAX, JWS_OCTETS_MAX

REFUSED_MEMBERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "crit": "demands extensions that are not known here",
        "b64": "changes what is signed",
        "zip": "wants the payload inflated",
        "jwk": "brings its own key",
        "jku": "points to a key",
        "x5c": "brings its own certificate",
        "x5u": "points to a certificate",
    }
)
"""Header member -> why it is refused. Keys come from HS_CERT values and the configured roots, from nowhere else."""

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@dataclass(frozen=True, slots=True)
class Jws:
    """One signature, not verified. ``signing_input`` = header "." payload, both as received."""

    algorithm: str
    signing_input: bytes
    payload: bytes
    signature: bytes
    header: Mapping[str, object] = field(compare=False)


def to_base64url(octets: bytes) -> bytes:
    """Without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


def from_base64url(text: bytes, what: str) -> bytes:
    """The octets behind the one spelling they have (RFC 4648 §3.5, §5); raises :class:`JwsRefused`."""
    if text.translate(None, _ALPHABET) or len(text) % 4 == 1:
        raise JwsRefused(f"the {what} is not base64url without padding")
    octets = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if to_base64url(octets) != text:
        raise JwsRefused(f"the {what} has bits set behind its last octet")
    return octets


def parse_bounded(octets: bytes, what: str) -> JsonObject:
    """A JSON object from a stranger: few objects, no member twice, bounded depth; raises :class:`JwsRefused`."""
    if octets.count(b"{") + octets.count(b"[") > JSON_OBJECTS_PER_JWS_MAX:
        raise JwsRefused(f"the {what} holds more than {JSON_OBJECTS_PER_JWS_MAX} objects and arrays")
    try:
        parsed = parse_json(octets)
    except InvalidText as wrong:
        raise JwsRefused(f"the {what} is refused: {wrong}") from wrong
    if not isinstance(parsed, dict):
        raise JwsRefused(f"the {what} is not a JSON object")
    return parsed


def read_jws(octets: bytes) -> Jws:
    """The signature in the data of a value; raises :class:`JwsRefused`."""
    if len(octets) > JWS_OCTETS_MAX:
        raise JwsRefused(f"{len(octets)} octets are too many for a signature, at most {JWS_OCTETS_MAX} are read")
    parts = _general(octets) if octets[:1] == b"{" else octets.split(b".")
    if len(parts) != 3 or not all(parts[::2]):
        raise JwsRefused("a signature has three parts with dots between them: header, payload, signature")
    protected, payload, signature = parts
    header = parse_bounded(from_base64url(protected, "header"), "header")
    for name, why in REFUSED_MEMBERS.items():
        if name in header:
            raise JwsRefused(f"the header's member {name} is refused: it {why}")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise JwsRefused("the header names no algorithm")
    return Jws(
        algorithm,
        protected + b"." + payload,
        from_base64url(payload, "payload"),
        from_base64url(signature, "signature"),
        header,
    )


def _general(octets: bytes) -> list[bytes]:
    """The three parts of the general form's first signature; a header outside the signature counts for nothing here."""
    outer = parse_bounded(octets, "signature")
    signatures = outer.get("signatures")
    if not isinstance(signatures, list) or not signatures or not isinstance(signatures[0], dict):
        raise JwsRefused("the JSON form of a signature needs its array signatures")
    first = signatures[0]
    if "header" in first:
        raise JwsRefused("the signature has a header that it does not protect")
    parts = [first.get("protected"), outer.get("payload"), first.get("signature")]
    return [_ascii(part) for part in parts]


def _ascii(part: object) -> bytes:
    if not isinstance(part, str) or not part.isascii():
        raise JwsRefused("protected, payload and signature must be base64url text")
    return part.encode("ascii")


def signing_input(algorithm: str, payload: bytes) -> bytes:
    """What is to be signed: the header the reference writes, and the payload."""
    header = json.dumps({"alg": algorithm}, separators=(",", ":")).encode("ascii")
    return to_base64url(header) + b"." + to_base64url(payload)


def compact(signed: bytes, signature: bytes) -> bytes:
    """The compact form; ``signed`` as :func:`signing_input` made it. Raises :class:`JwsRefused` when it is too long."""
    octets = signed + b"." + to_base64url(signature)
    if len(octets) > JWS_OCTETS_MAX:
        raise JwsRefused(f"the signature would take {len(octets)} octets, at most {JWS_OCTETS_MAX} are read")
    return octets
