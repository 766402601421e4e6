"""Signing at registration: a record leaves every write with a signature of the node over what it now holds.

::

    values decided --> seal() --> the same, the node's old signatures replaced --> one batch, one record

The signature is part of the write that it covers, so no reader meets a record whose signature is of another state. Only
a handle inside the scope of the node's certificate is signed. Signatures of others stay as they are: one over values
that changed is stale, and spoils the record (docs/protocol.md §8.4) until its owner renews it.

**Nothing is signed that was not checked.** The values of the request went through every check of the registry; those
that stay were signed by the node before and are compared with that signature. If one differs, the write is refused:
signing would make somebody else's change the node's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from idnode_protocol.handle import fold_name, to_text
from idnode_protocol.value import HandleValue, Reference
from idnode_registry.crypto import KeyRefused
from idnode_registry.trust.claims import Claims, parse_entity, read_claims
from idnode_registry.trust.digests import DIGEST_ALGORITHMS, DigestBook
from idnode_registry.trust.errors import AlgorithmRefused, ClaimsRefused, JwsRefused, SigningRefused
from idnode_registry.trust.issue import LIFE_S, SIGNATURE_INDEX, Issuer, sign_values
from idnode_registry.trust.judge import SIGNATURE_TYPE, indexes_text, is_signature, needs_signature
from idnode_registry.trust.jws import Jws, read_jws
from idnode_registry.trust.keys import DEFAULT_RULES, JwsKey, KeyRules, key_from_json, verify_jws
from idnode_registry.trust.scopes import covers

VALUES_PER_SIGNATURE: Final = 500
"""What surely fits into one container of 64 KiB; a larger record gets several signatures."""
RENEWED_AFTER: Final = 0.5
"""A write that changes nothing renews the signature once this part of its life is over."""


def _folded(name: Reference) -> tuple[bytes, int]:
    """An entity as it is compared: the prefix without case."""
    return fold_name(name.handle, whole=False), name.index


class Sealer:
    """The node's key with its certificate. Pure: ``now`` in seconds since 1970. Any thread may call it."""

    def __init__(
        self,
        key: JwsKey,
        certificate: bytes,
        chain: Sequence[Reference] = (),
        life_s: float = LIFE_S,
        rules: KeyRules = DEFAULT_RULES,
        replaces: Iterable[Reference] = (),
    ) -> None:
        """``certificate`` is the data of the HS_CERT value about the key; raises TrustError when they do not fit.

        ``replaces``: whose signatures give way to this node's as its own earlier ones do, such as a former holder's.
        """
        claims = read_claims(read_jws(certificate).payload)
        if claims.public_key is None:
            raise KeyRefused("the certificate carries no publicKey; give the HS_CERT of the signing key")
        self._public = key_from_json(claims.public_key, rules)
        if self._public != key_from_json(key.public_json, rules):
            raise KeyRefused(
                f"the certificate of {claims.subject} is about another key than the one given to sign with"
            )
        self.issuer: Final = Issuer(parse_entity(claims.subject), key, tuple(chain))
        self.permissions: Final = claims.permissions
        self.expires: Final = claims.expires
        self._name: Final = claims.subject
        self._replaced: Final = frozenset(map(_folded, (self.issuer.name, *replaces)))
        self.life_s: Final = life_s

    def may_sign(self, handle: bytes) -> bool:
        """Whether the certificate's scope covers a handle."""
        return covers(self.permissions, handle)

    def is_own(self, value: HandleValue) -> bool:
        """Whether a value is a signature in this node's name, or in one it replaces."""
        return is_signature(value) and self._claims(value) is not None

    def without_own(self, values: Sequence[HandleValue]) -> tuple[HandleValue, ...]:
        """The values but the node's own signatures."""
        return tuple(value for value in values if not self.is_own(value))

    def _claims(self, value: HandleValue) -> tuple[Jws, Claims] | None:
        try:
            jws = read_jws(value.data)
            claims = read_claims(jws.payload)
        except (JwsRefused, ClaimsRefused):
            return None
        return (jws, claims) if _folded(parse_entity(claims.issuer)) in self._replaced else None

    def seal(
        self, handle: bytes, before: Sequence[HandleValue], after: Sequence[HandleValue], now: float
    ) -> tuple[HandleValue, ...]:
        """``after`` with the node's signature in place; ``before`` is what is stored (empty for a new record).

        Raises :class:`SigningRefused`: nothing may be written then.
        """
        own = [value for value in before if self.is_own(value)]
        rest = self.without_own(after)
        if not self.may_sign(handle) or not any(needs_signature(handle, value) for value in rest):
            return rest
        if self.expires is not None and now > self.expires:
            raise SigningRefused(f"the certificate of {self._name} has expired; give the node a new one")
        is_fresh = self._check(handle, own, before, after, now)
        if is_fresh and rest == self.without_own(before):
            return tuple(sorted((*rest, *own), key=lambda value: value.index))
        return self._signed(handle, own, rest, now)

    def _check(
        self,
        handle: bytes,
        own: Sequence[HandleValue],
        before: Sequence[HandleValue],
        after: Sequence[HandleValue],
        now: float,
    ) -> bool:
        """Compare the values that stay with the node's earlier signatures; whether these are whole and young enough."""
        book, kept = DigestBook(before), {value.index: value for value in after}
        covered: set[int] = set()
        is_fresh = bool(own)
        for value in own:
            found = self._claims(value)
            if found is None or not self._is_mine(found[0]) or found[1].digests is None:
                is_fresh = False
                continue  # made with an earlier key: it says nothing that could be checked, and is replaced
            claims, digests = found[1], found[1].digests
            if digests.algorithm not in DIGEST_ALGORITHMS:
                is_fresh = False
                continue
            changed = [
                i for i, text in digests.entries if i in book.by_index and book.text(digests.algorithm, i) != text
            ]
            staying = [index for index in changed if kept.get(index) == book.by_index[index]]
            if staying:
                raise SigningRefused(
                    f"{to_text(handle)}: {indexes_text(staying)} is stored otherwise than this node signed it: restore "
                    "the record, or write these values anew"
                )
            is_fresh &= not changed and all(index in book.by_index for index, _ in digests.entries)
            is_fresh &= claims.expires is None or claims.expires - now > RENEWED_AFTER * self.life_s
            covered.update(index for index, _ in digests.entries)
        return is_fresh and all(value.index in covered for value in before if needs_signature(handle, value))

    def _is_mine(self, jws: Jws) -> bool:
        try:
            return verify_jws(jws, self._public)
        except AlgorithmRefused:
            return False

    def _signed(
        self, handle: bytes, own: Sequence[HandleValue], rest: Sequence[HandleValue], now: float
    ) -> tuple[HandleValue, ...]:
        """New signatures, under the indexes of the old ones as far as these are free, else from 400 on."""
        public = [value for value in rest if needs_signature(handle, value)]
        parts = [public[at : at + VALUES_PER_SIGNATURE] for at in range(0, len(public), VALUES_PER_SIGNATURE)]
        taken = {value.index for value in rest}
        wanted = [value.index for value in own] + list(range(SIGNATURE_INDEX, SIGNATURE_INDEX + len(rest) + len(parts)))
        free = list(dict.fromkeys(index for index in wanted if index not in taken))[: len(parts)]
        made = [
            HandleValue(
                index,
                SIGNATURE_TYPE,
                sign_values(handle, part, self.issuer, now, self.life_s),
                timestamp=int(now),
            )
            for index, part in zip(free, parts, strict=True)
        ]
        return tuple(sorted((*rest, *made), key=lambda value: value.index))
