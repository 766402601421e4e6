"""Keys as JSON Web Keys: base64url without padding, unsigned big-endian (docs/protocol.md §7.3; RFC 7518 §6.3)."""

from __future__ import annotations

import base64
import binascii

from idnode_protocol.errors import InvalidText, NotEncodable
from idnode_protocol.json_members import JsonObject, Members
from idnode_protocol.limits import KEY_INTEGER_OCTETS_MAX
from idnode_protocol.values.keys import (
    DhPublicKey,
    DsaPrivateKey,
    DsaPublicKey,
    PrivateKey,
    PublicKey,
    RsaPrivateCrtKey,
    RsaPrivateKey,
    RsaPublicKey,
)


def integer_to_text(value: int) -> str:
    """base64url of the shortest unsigned form; zero is one zero octet."""
    octets = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def _integer(members: Members, name: str) -> int:
    text, where = members.text(name), members.where(name)
    try:
        octets = base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as wrong:
        raise InvalidText(f"{where} must be base64url") from wrong
    if not octets or len(octets) >= KEY_INTEGER_OCTETS_MAX:
        raise InvalidText(f"{where} must hold a number of 1 to {8 * (KEY_INTEGER_OCTETS_MAX - 1)} bits")
    return int.from_bytes(octets, "big")


def public_key_to_json(key: PublicKey) -> JsonObject:
    """Raises :class:`NotEncodable` for a Diffie-Hellman key, which has no JSON form."""
    if isinstance(key, DhPublicKey):
        raise NotEncodable("a Diffie-Hellman key has no JSON form")
    if isinstance(key, DsaPublicKey):
        return {"kty": "DSA", **{name: integer_to_text(getattr(key, name)) for name in ("y", "p", "q", "g")}}
    return {"kty": "RSA", "n": integer_to_text(key.n), "e": integer_to_text(key.e)}


def public_key_from_json(item: object, path: str = "key") -> PublicKey:
    """The key with the flags and tail octets the reference writes; raises :class:`InvalidText`."""
    members = Members(item, path)
    if _key_type(members) == "RSA":
        return RsaPublicKey(_integer(members, "e"), _integer(members, "n"))
    q, p, g, y = (_integer(members, name) for name in ("q", "p", "g", "y"))
    return DsaPublicKey(q, p, g, y)


_CRT_MEMBERS = {"n": "n", "e": "e", "d": "d", "p": "p", "q": "q", "dp": "dp", "dq": "dq", "qi": "q_inverse"}
"""JWK member -> field, in the order of the binary form."""


def private_key_to_json(key: PrivateKey) -> JsonObject:
    """For local files; never sent."""
    if isinstance(key, DsaPrivateKey):
        return {"kty": "DSA", **{name: integer_to_text(getattr(key, name)) for name in ("x", "p", "q", "g")}}
    if isinstance(key, RsaPrivateKey):
        return {"kty": "RSA", "n": integer_to_text(key.n), "d": integer_to_text(key.d)}
    return {"kty": "RSA", **{name: integer_to_text(getattr(key, field)) for name, field in _CRT_MEMBERS.items()}}


def private_key_from_json(item: object, path: str = "key") -> PrivateKey:
    """An RSA key with ``p`` is a CRT key, one with ``n`` and ``d`` alone a plain one; raises :class:`InvalidText`."""
    members = Members(item, path)
    if _key_type(members) == "DSA":
        x, p, q, g = (_integer(members, name) for name in ("x", "p", "q", "g"))
        return DsaPrivateKey(x, p, q, g)
    if members.get("p") is None:
        return RsaPrivateKey(_integer(members, "n"), _integer(members, "d"))
    return RsaPrivateCrtKey(*(_integer(members, name) for name in _CRT_MEMBERS))


def _key_type(members: Members) -> str:
    kind = members.text("kty")
    if kind not in ("RSA", "DSA"):
        raise InvalidText(f"{members.where('kty')} must be RSA or DSA")
    return kind
