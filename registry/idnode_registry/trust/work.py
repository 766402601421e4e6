"""What a verification has opened, asked for and checked, inside the bounds of :mod:`idnode_registry.trust.limits`.

Everything is remembered for one record: a certificate above several signatures is opened, and its own signature
checked, once. Whatever would exceed a bound raises :class:`OverBudget` before it is begun.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from idnode_protocol.handle import fold_name, to_text
from idnode_protocol.value import HandleValue
from idnode_registry.crypto import KeyRefused
from idnode_registry.trust.claims import Claims, read_claims
from idnode_registry.trust.errors import OverBudget
from idnode_registry.trust.jws import Jws, read_jws
from idnode_registry.trust.keys import KeyRules, TrustKey, key_from_json, verify_jws
from idnode_registry.trust.limits import (
    HANDLES_PER_RECORD_MAX,
    PARSED_OCTETS_PER_RECORD_MAX,
    SIGNATURE_CHECKS_PER_RECORD_MAX,
    SIGNATURE_CHECKS_PER_RESOLUTION_MAX,
)
from idnode_registry.trust.verdicts import Cost

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Need:
    """The generator wants every value of this handle: send them, None when it does not exist, or Unreachable."""

    handle: bytes


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The values could not be had; the reason is shown. What depends on them is *not checked*."""

    reason: str


Answer = Sequence[HandleValue] | Unreachable | None
Asking = Generator[Need, Answer, T]
"""A computation that yields :class:`Need`, is sent an :data:`Answer` each time, and returns T."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A container and what it says; not verified."""

    jws: Jws
    claims: Claims


@dataclass(slots=True)
class Budget:
    """What one resolution may still spend; hand the same one to each of its records."""

    checks_left: int = SIGNATURE_CHECKS_PER_RESOLUTION_MAX


class Work:
    """The state of one record's verification. ``own`` are the record's values: its chain may lead back to it."""

    def __init__(self, handle: bytes, own: Sequence[HandleValue], rules: KeyRules, budget: Budget) -> None:
        self.rules = rules
        self._budget = budget
        self._checks = 0
        self._parsed_octets = 0
        self._asked = 0
        self._values: dict[bytes, Answer] = {fold_name(handle, whole=False): own}
        self._opened: dict[bytes, Opened | Exception] = {}
        self._keys: dict[int, TrustKey | Exception] = {}
        self._checked: dict[tuple[bytes, bytes, TrustKey], bool] = {}

    def cost(self, digests: int) -> Cost:
        """What was spent so far."""
        return Cost(self._checks, self._parsed_octets, digests, self._asked)

    def values(self, handle: bytes) -> Asking[Answer]:
        """Every value of a handle, asked for once."""
        name = fold_name(handle, whole=False)
        if name not in self._values:
            if self._asked >= HANDLES_PER_RECORD_MAX:
                raise OverBudget(f"the chains lead to more than {HANDLES_PER_RECORD_MAX} handles ({to_text(handle)})")
            self._asked += 1
            self._values[name] = yield Need(handle)
        return self._values[name]

    def open(self, octets: bytes) -> Opened:
        """The container in a value's data; raises JwsRefused, ClaimsRefused, OverBudget."""
        found = self._opened.get(octets)
        if found is None:
            if self._parsed_octets + len(octets) > PARSED_OCTETS_PER_RECORD_MAX:
                raise OverBudget(f"more than {PARSED_OCTETS_PER_RECORD_MAX} octets of signatures and certificates")
            self._parsed_octets += len(octets)
            try:
                jws = read_jws(octets)
                found = Opened(jws, read_claims(jws.payload))
            except Exception as wrong:
                found = wrong
            self._opened[octets] = found
        if isinstance(found, Exception):
            raise found
        return found

    def key_of(self, certificate: Opened) -> TrustKey:
        """The key a certificate is about; raises KeyRefused."""
        name = id(certificate)  # opened certificates live as long as this object
        found = self._keys.get(name)
        if found is None:
            try:
                if certificate.claims.public_key is None:
                    raise KeyRefused("it carries no publicKey")
                found = key_from_json(certificate.claims.public_key, self.rules)
            except KeyRefused as wrong:
                found = wrong
            self._keys[name] = found
        if isinstance(found, Exception):
            raise found
        return found

    def is_signed_by(self, child: Opened, key: TrustKey) -> bool:
        """Whether the key made the signature; raises AlgorithmRefused, and OverBudget before a check too many."""
        name = child.jws.signing_input, child.jws.signature, key
        found = self._checked.get(name)
        if found is None:
            if self._checks >= SIGNATURE_CHECKS_PER_RECORD_MAX:
                raise OverBudget(f"more than {SIGNATURE_CHECKS_PER_RECORD_MAX} signatures to check for one record")
            if self._budget.checks_left <= 0:
                raise OverBudget("the signature checks of this resolution are used up")
            self._checks += 1
            self._budget.checks_left -= 1
            found = self._checked[name] = verify_jws(child.jws, key)
        return found
