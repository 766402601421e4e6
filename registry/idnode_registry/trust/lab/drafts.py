"""A chain before it is signed: everything a defect may want to alter, and how it becomes handles with values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from idnode_protocol.json_key import public_key_from_json
from idnode_protocol.value import HandleValue, Reference
from idnode_registry.trust.claims import Claims, DigestList, Permission, entity_text
from idnode_registry.trust.digests import digests_of
from idnode_registry.trust.issue import BACKDATED_S, LIFE_S, certificate_value, sign_claims
from idnode_registry.trust.judge import SIGNATURE_TYPE, needs_signature
from idnode_registry.trust.keys import JwsKey
from idnode_registry.trust.verdicts import Finding, Outcome

Handles = dict[bytes, list[HandleValue]]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the verdict must be. ``place`` is the link at fault in signature ``signature`` (None: no link is).

    ``values`` are the indexes at fault. ``reference_differs`` says why the reference's verifier judges otherwise.
    """

    outcome: Outcome
    finding: Finding = Finding.VALID
    signature: int | None = None
    place: int | None = None
    values: tuple[int, ...] = ()
    reference_differs: str = ""


WHOLE = Expected(Outcome.VALID)


@dataclass(frozen=True, slots=True)
class Sample:
    """One case: a record, every handle on the way, root keys (HS_PUBKEY octets), the time, and what must be found."""

    name: str
    text: str
    handle: bytes
    values: tuple[HandleValue, ...]
    handles: dict[bytes, tuple[HandleValue, ...]]
    roots: tuple[bytes, ...]
    now: float
    expected: Expected


@dataclass(eq=False, slots=True)
class Certificate:
    """``subject`` is also where it lies; ``claims`` is what it says instead. ``issuer`` None = itself.

    ``signing_key`` None = the issuer's. ``shift_s``: how much later than the draft's time it was issued.
    """

    subject: Reference
    key: JwsKey
    permissions: tuple[Permission, ...]
    issuer: Certificate | None = None
    signing_key: JwsKey | None = None
    claims: str = ""
    shift_s: float = 0.0
    life_s: float = 10 * LIFE_S
    chain: tuple[str, ...] = ()


@dataclass(slots=True)
class Signing:
    """What goes into one HS_SIGNATURE value."""

    index: int
    issuer: Certificate
    subject: str = ""
    signing_key: JwsKey | None = None
    shift_s: float = 0.0
    life_s: float = LIFE_S
    digests: DigestList | None = None
    chain: tuple[str, ...] = ()


@dataclass(slots=True)
class Draft:
    """A record, its certificates (root first, the signer last), its signature; ``late`` alters what was signed."""

    handle: bytes
    values: list[HandleValue]
    certificates: list[Certificate]
    signing: Signing
    now: float
    new_key: Callable[[], JwsKey]
    names_chain: bool
    """Whether the signature names the whole chain; else each certificate is looked for at its issuer's handle."""
    roots: list[JwsKey] = field(default_factory=list)
    more: list[Signing] = field(default_factory=list)
    late: list[Callable[[Handles], None]] = field(default_factory=list)

    @property
    def signer(self) -> Certificate:
        return self.signing.issuer

    @property
    def signed_indexes(self) -> tuple[int, ...]:
        """The indexes that need a signature."""
        return tuple(sorted(value.index for value in self.values if needs_signature(self.handle, value)))

    def place_of(self, certificate: Certificate) -> int:
        """How many links above the signature it stands."""
        place, above = 1, self.signer
        while above is not certificate:
            assert above.issuer is not None
            place, above = place + 1, above.issuer
        return place

    def path(self) -> tuple[str, ...]:
        """The places of the certificates from the signer up, at most one more than a chain may have."""
        names, above = [entity_text(self.signer.subject)], self.signer
        while above.issuer is not None and len(names) <= 8:
            above = above.issuer
            names.append(entity_text(above.subject))
        return tuple(names)

    def build(self, name: str, text: str, expected: Expected) -> Sample:
        """Sign everything, then alter what is to be altered afterwards."""
        handles: Handles = {}
        for certificate in self.certificates:
            value = certificate_value(certificate.subject.index, self._certify(certificate), self.now)
            handles.setdefault(certificate.subject.handle, []).append(value)
        own = handles.setdefault(self.handle, [])
        own += self.values
        own += [self.signature(each) for each in (self.signing, *self.more)]
        for alter in self.late:
            alter(handles)
        frozen = {name: tuple(sorted(values, key=lambda v: v.index)) for name, values in handles.items()}
        record = frozen.pop(self.handle)
        roots = tuple(root_octets(root) for root in self.roots or [self.certificates[0].key])
        return Sample(name, text, self.handle, record, frozen, roots, self.now, expected)

    def _certify(self, certificate: Certificate) -> bytes:
        issuer = certificate.issuer or certificate
        start = self.now + certificate.shift_s
        claims = Claims(
            issuer=entity_text(issuer.subject),
            subject=certificate.claims or entity_text(certificate.subject),
            not_before=float(int(start) - BACKDATED_S),
            expires=float(int(start + certificate.life_s)),
            issued_at=float(int(start)),
            permissions=certificate.permissions,
            public_key=certificate.key.public_json,
            chain=certificate.chain,
        )
        return sign_claims(claims, certificate.signing_key or issuer.key)

    def signature(self, signing: Signing) -> HandleValue:
        """The HS_SIGNATURE value."""
        start = self.now + signing.shift_s
        listed = [value for value in self.values if needs_signature(self.handle, value)]
        claims = Claims(
            issuer=entity_text(signing.issuer.subject),
            subject=signing.subject or self.handle.decode("utf-8"),
            not_before=float(int(start) - BACKDATED_S),
            expires=float(int(start + signing.life_s)),
            issued_at=float(int(start)),
            digests=signing.digests or digests_of(listed),
            chain=signing.chain or (self.path() if self.names_chain else ()),
        )
        octets = sign_claims(claims, signing.signing_key or signing.issuer.key)
        return HandleValue(signing.index, SIGNATURE_TYPE, octets, timestamp=int(self.now))


def root_octets(root: JwsKey) -> bytes:
    """A root key as the HS_PUBKEY octets a configuration holds."""
    return public_key_from_json(root.public_json).to_octets()
