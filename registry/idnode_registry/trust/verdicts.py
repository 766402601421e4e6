"""What a verification can say: kinds in a table, and frozen records of what was found where (docs/protocol.md §8.4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Finding(Enum):
    """About one link, one signature or one value. The text is what is shown."""

    VALID = "valid"
    EXEMPT = "needs no signature"
    NOT_SIGNED = "not signed"
    WRONG_DIGEST = "wrong digest"
    MISSING_VALUE = "signed value is missing"
    UNSOUND = "its signature is not sound"
    WRONG_HANDLE = "signature of another handle"
    NO_DIGESTS = "lists no digests"
    BAD_FORM = "not readable"
    BAD_KEY = "key not acceptable"
    WRONG_ALGORITHM = "algorithm does not fit the key"
    BAD_SIGNATURE = "signature does not verify"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    SCOPE_TOO_SMALL = "scope too small"
    NO_CERTIFICATE = "certificate not found"
    WRONG_SUBJECT = "certificate of somebody else"
    LOOP = "chain runs in a circle"
    TOO_LONG = "chain too long"
    SELF_ISSUED = "self-issued below the root"
    UNTRUSTED_ROOT = "root is not trusted"
    NO_REQUIRED_SIGNER = "no required signer in the chain"
    NOT_CHECKED = "not checked"


HARMLESS: Final = frozenset({Finding.VALID, Finding.SCOPE_TOO_SMALL, Finding.NO_REQUIRED_SIGNER})
"""A signature found so does not spoil the record; only the first of them makes its values count as signed."""


class Outcome(Enum):
    """About a whole record."""

    VALID = "valid"
    NOT_SIGNED = "not signed"
    INVALID = "invalid"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class LinkVerdict:
    """``place`` 0 is the signature itself, 1 its issuer's certificate, and so on; ``where`` is the value's name."""

    place: int
    where: str
    finding: Finding
    reason: str = ""
    issuer: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class SignatureVerdict:
    """One HS_SIGNATURE value. ``links`` from it up to the root, as far as they could be followed.

    ``wrong_values`` are the indexes whose digest differs, or which it lists and the record lacks.
    """

    index: int
    finding: Finding
    reason: str
    links: tuple[LinkVerdict, ...] = ()
    wrong_values: tuple[int, ...] = ()

    @property
    def broken_link(self) -> LinkVerdict | None:
        """The link that is at fault; None when the chain is not."""
        return next((link for link in self.links if link.finding is self.finding), None)


@dataclass(frozen=True, slots=True)
class ValueVerdict:
    """One value, or an index that a signature lists and the record lacks (then ``type`` is empty)."""

    index: int
    type: str
    finding: Finding
    reason: str = ""
    signed_by: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """What a verdict took."""

    signature_checks: int = 0
    parsed_octets: int = 0
    digests: int = 0
    handles_asked: int = 0


@dataclass(frozen=True, slots=True)
class RecordVerdict:
    """The verdict on a record, and everything that led to it. ``reason`` is one sentence for a person."""

    handle: str
    outcome: Outcome
    reason: str
    values: tuple[ValueVerdict, ...] = ()
    signatures: tuple[SignatureVerdict, ...] = ()
    cost: Cost = Cost()

    @property
    def is_valid(self) -> bool:
        return self.outcome is Outcome.VALID

    @property
    def broken_signature(self) -> SignatureVerdict | None:
        """The first signature that is not valid."""
        return next((each for each in self.signatures if each.finding is not Finding.VALID), None)

    @property
    def broken_link(self) -> LinkVerdict | None:
        """The link at fault in the first signature that is not valid."""
        signature = self.broken_signature
        return None if signature is None else signature.broken_link

    def broken_values(self) -> tuple[ValueVerdict, ...]:
        """The values that are at fault, by index."""
        return tuple(each for each in self.values if each.finding not in (Finding.VALID, Finding.EXEMPT))

    def to_json(self) -> dict[str, object]:
        """For ``--json`` and for explanations."""
        return {
            "handle": self.handle,
            "verdict": self.outcome.value,
            "reason": self.reason,
            "values": [
                {
                    "index": v.index,
                    "type": v.type,
                    "verdict": v.finding.value,
                    "reason": v.reason,
                    "signedBy": v.signed_by,
                }
                for v in self.values
            ],
            "signatures": [
                {
                    "index": s.index,
                    "verdict": s.finding.value,
                    "reason": s.reason,
                    "wrongValues": s.wrong_values,
                    "links": [
                        {"place": k.place, "where": k.where, "verdict": k.finding.value, "reason": k.reason}
                        for k in s.links
                    ],
                }
                for s in self.signatures
            ],
            "cost": {
                "signatureChecks": self.cost.signature_checks,
                "parsedOctets": self.cost.parsed_octets,
                "digests": self.cost.digests,
                "handlesAsked": self.cost.handles_asked,
            },
        }

    def lines(self) -> list[str]:
        """For a terminal: the verdict, then what is wrong with what, then the chain of each signature."""
        shown = [f"{self.handle}: {self.outcome.value}: {self.reason}"]
        for value in self.values:
            tail = f": {value.reason}" if value.reason else ""
            shown.append(f"  value {value.index:>6}  {value.type:<14} {value.finding.value}{tail}")
        for signature in self.signatures:
            shown.append(f"  signature {signature.index}: {signature.finding.value}: {signature.reason}")
            for link in signature.links:
                tail = f": {link.reason}" if link.reason else ""
                shown.append(f"    {link.place} {link.where}  {link.finding.value}{tail}")
        return shown
