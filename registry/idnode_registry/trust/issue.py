"""Making signatures and certificates (docs/protocol.md §8.1, §8.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from idnode_protocol.errors import NotEncodable
from idnode_protocol.handle import to_text
from idnode_protocol.value import HandleValue, Reference
from idnode_registry.trust.chain import CERTIFICATE_TYPE
from idnode_registry.trust.claims import Claims, Permission, chain_of, entity_text, write_claims
from idnode_registry.trust.digests import digests_of
from idnode_registry.trust.errors import JwsRefused, SigningRefused
from idnode_registry.trust.judge import SIGNATURE_TYPE, needs_signature
from idnode_registry.trust.jws import compact, signing_input
from idnode_registry.trust.keys import JwsKey

SIGNATURE_INDEX: Final = 400
"""The first index tried for a new HS_SIGNATURE value; the next free one above it is taken."""
BACKDATED_S: Final = 600
"""``nbf`` lies this long before the signing, for readers whose clocks are behind."""
DAY_S: Final = 86_400
LIFE_S: Final = 365 * DAY_S


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs: the name of the key (``301:0.NA/99.900``), the key, and where its certificates are, nearest first."""

    name: Reference
    key: JwsKey
    chain: tuple[Reference, ...] = ()


def sign_claims(claims: Claims, key: JwsKey) -> bytes:
    """The container; raises :class:`SigningRefused` when it would be too long to be read."""
    signed = signing_input(key.algorithm, write_claims(claims))
    try:
        return compact(signed, key.sign(signed))
    except JwsRefused as wrong:
        raise SigningRefused(f"{wrong}; sign the values in several parts") from wrong


def signature_claims(
    handle: bytes, values: Sequence[HandleValue], issuer: Issuer, now: float, life_s: float = LIFE_S
) -> Claims:
    """What a signature of these values says; only values that need a signature are listed."""
    listed = [value for value in values if needs_signature(handle, value)]
    try:
        digests = digests_of(listed)
    except NotEncodable as wrong:
        raise SigningRefused(f"a value cannot be encoded: {wrong}") from wrong
    return Claims(
        issuer=entity_text(issuer.name),
        subject=to_text(handle),
        not_before=float(int(now) - BACKDATED_S),
        expires=float(int(now + life_s)),
        issued_at=float(int(now)),
        digests=digests,
        chain=chain_of(issuer.chain),
    )


def sign_values(
    handle: bytes, values: Sequence[HandleValue], issuer: Issuer, now: float, life_s: float = LIFE_S
) -> bytes:
    """The data of an HS_SIGNATURE value over these values; raises :class:`SigningRefused`."""
    return sign_claims(signature_claims(handle, values, issuer, now, life_s), issuer.key)


def free_index(values: Sequence[HandleValue]) -> int:
    """Where a new HS_SIGNATURE value goes: the first free index from 400 on."""
    taken = {value.index for value in values}
    index = SIGNATURE_INDEX
    while index in taken:
        index += 1
    return index


def sign_record(
    handle: bytes, values: Sequence[HandleValue], issuer: Issuer, now: float, life_s: float = LIFE_S
) -> tuple[HandleValue, ...]:
    """The values and a new HS_SIGNATURE value over them, by index; raises :class:`SigningRefused`."""
    made = HandleValue(
        free_index(values), SIGNATURE_TYPE, sign_values(handle, values, issuer, now, life_s), timestamp=int(now)
    )
    return tuple(sorted((*values, made), key=lambda value: value.index))


def issue_certificate(
    subject: Reference,
    public_key: JwsKey,
    permissions: Sequence[Permission],
    issuer: Issuer,
    now: float,
    life_s: float = 10 * LIFE_S,
) -> bytes:
    """The data of an HS_CERT value; issuer and subject are the same for a root. Raises :class:`SigningRefused`."""
    claims = Claims(
        issuer=entity_text(issuer.name),
        subject=entity_text(subject),
        not_before=float(int(now) - BACKDATED_S),
        expires=float(int(now + life_s)),
        issued_at=float(int(now)),
        permissions=tuple(permissions),
        public_key=public_key.public_json,
        chain=chain_of(issuer.chain),
    )
    return sign_claims(claims, issuer.key)


def certificate_value(index: int, octets: bytes, now: float) -> HandleValue:
    """The HS_CERT value that carries a certificate."""
    return replace(HandleValue(index, CERTIFICATE_TYPE, octets), timestamp=int(now))
