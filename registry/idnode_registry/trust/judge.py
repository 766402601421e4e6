"""The verdict on a record: every value, every signature, every link, with reasons (docs/protocol.md §8.4).

A record is valid when every publicly readable value but its HS_SIGNATURE values is signed, *and* every HS_SIGNATURE in
it is sound by itself: one that is stale spoils the record. A signature whose issuer merely lacks permission does not
count and does not spoil. What could not be checked is never valid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from idnode_protocol.handle import ROOT_HANDLE, from_text, same_name, to_text
from idnode_protocol.value import HandleValue, fold_type
from idnode_registry.crypto import KeyRefused
from idnode_registry.trust.chain import Chain, build_chain, check_chain
from idnode_registry.trust.claims import read_claims, same_entity
from idnode_registry.trust.digests import DIGEST_ALGORITHMS, DigestBook
from idnode_registry.trust.errors import ClaimsRefused, JwsRefused, OverBudget
from idnode_registry.trust.jws import read_jws
from idnode_registry.trust.keys import DEFAULT_RULES, KeyRules, TrustKey, key_from_json
from idnode_registry.trust.limits import SIGNATURES_PER_RECORD_MAX
from idnode_registry.trust.verdicts import (
    HARMLESS,
    Finding,
    LinkVerdict,
    Outcome,
    RecordVerdict,
    SignatureVerdict,
    ValueVerdict,
)
from idnode_registry.trust.work import Answer, Asking, Budget, Opened, Work

SIGNATURE_TYPE: Final = "HS_SIGNATURE"
OLD_SIGNATURE_START: Final = "10320/SIG."
"""Types of the scheme before HS_SIGNATURE; at ``0.NA/0.NA`` they need no signature."""
NAMED_INDEXES_MAX: Final = 5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RequiredSigner:
    """A local certificate that a chain must pass through."""

    subject: str
    key: TrustKey

    @classmethod
    def from_octets(cls, octets: bytes, rules: KeyRules) -> RequiredSigner:
        """Of an HS_CERT's data, which is trusted as it lies; raises TrustError."""
        claims = read_claims(read_jws(octets).payload)
        if claims.public_key is None:
            raise KeyRefused("the required signer's certificate carries no publicKey")
        return cls(claims.subject, key_from_json(claims.public_key, rules))


@dataclass(frozen=True, slots=True)
class Trust:
    """What a verifier believes: root keys, kinds of keys, and certificates that every chain must pass through."""

    roots: tuple[TrustKey, ...]
    rules: KeyRules = DEFAULT_RULES
    required: tuple[RequiredSigner, ...] = ()


@dataclass(frozen=True, slots=True)
class _Signature:
    """A judged signature, and the indexes it lists: ``signed`` are those whose digest is right."""

    verdict: SignatureVerdict
    listed: frozenset[int] = frozenset()
    signed: frozenset[int] = frozenset()


def is_signature(value: HandleValue) -> bool:
    return fold_type(value.type) == SIGNATURE_TYPE


def needs_signature(handle: bytes, value: HandleValue) -> bool:
    """Whether a value must be signed for its record to be valid."""
    if not value.is_publicly_readable or is_signature(value):
        return False
    return not (same_name(handle, ROOT_HANDLE) and fold_type(value.type).startswith(OLD_SIGNATURE_START))


def judge_record(
    handle: bytes, values: Sequence[HandleValue], trust: Trust, now: float, budget: Budget | None = None
) -> Asking[RecordVerdict]:
    """The verdict on a whole record at ``now`` (s since 1970); values selected by type or index cannot be judged."""
    work = Work(handle, values, trust.rules, budget or Budget())
    book = DigestBook(values)
    signatures = sorted(filter(is_signature, values), key=lambda value: value.index)
    early = _early(handle, values, len(book.by_index), len(signatures))
    if early is not None:
        return early
    judged = []
    for value in signatures:
        judged.append((yield from _judge_signature(work, book, handle, value, trust, now)))
    verdicts = tuple(_judge_value(handle, value, judged) for value in sorted(values, key=lambda value: value.index))
    missing = _missing(judged, book)
    outcome, reason = _outcome(verdicts + missing, judged)
    found = tuple(each.verdict for each in judged)
    return RecordVerdict(to_text(handle), outcome, reason, verdicts + missing, found, work.cost(len(book)))


def _early(handle: bytes, values: Sequence[HandleValue], indexes: int, signatures: int) -> RecordVerdict | None:
    """The verdict on a record that need not be looked into."""
    name = to_text(handle)
    if indexes != len(values):
        return RecordVerdict(
            name, Outcome.INVALID, "an index stands twice in the record; nobody can say which is meant"
        )
    if not signatures:
        finding = Finding.NOT_SIGNED
        listed = tuple(
            ValueVerdict(v.index, v.type, finding if needs_signature(handle, v) else Finding.EXEMPT) for v in values
        )
        return RecordVerdict(name, Outcome.NOT_SIGNED, "the record carries no HS_SIGNATURE value", listed)
    if signatures > SIGNATURES_PER_RECORD_MAX:
        text = f"{signatures} signatures, at most {SIGNATURES_PER_RECORD_MAX} are checked for one record"
        return RecordVerdict(name, Outcome.NOT_CHECKED, text)
    return None


def _judge_signature(
    work: Work, book: DigestBook, handle: bytes, value: HandleValue, trust: Trust, now: float
) -> Asking[_Signature]:
    where = f"{value.index}:{to_text(handle)}"
    try:
        opened = work.open(value.data)
    except (JwsRefused, ClaimsRefused, OverBudget) as wrong:
        finding = Finding.NOT_CHECKED if isinstance(wrong, OverBudget) else Finding.BAD_FORM
        link = LinkVerdict(0, where, finding, str(wrong))
        return _Signature(SignatureVerdict(value.index, finding, f"{where}: {wrong}", (link,)))
    chain = yield from build_chain(work, where, opened)
    check_chain(work, chain, handle, trust.roots, now)
    listed = frozenset(() if opened.claims.digests is None else (index for index, _ in opened.claims.digests.entries))
    links, decisive = chain.verdicts(), chain.summary()
    if decisive is not None and decisive.finding not in HARMLESS:
        reason = f"{decisive.where}: {decisive.finding.value}: {decisive.reason}"
        return _Signature(SignatureVerdict(value.index, decisive.finding, reason, links), listed)
    finding, reason, wrong_values, signed = _judge_digests(book, handle, opened)
    if finding is not Finding.VALID:
        chain.links[0].fault(finding, reason)
        links, reason = chain.verdicts(), f"{where}: {finding.value}: {reason}"
    if finding is Finding.VALID and decisive is not None:
        finding, reason = decisive.finding, f"{decisive.where}: {decisive.finding.value}: {decisive.reason}"
    elif finding is Finding.VALID and trust.required and not _passes(work, chain, trust.required):
        finding, reason = Finding.NO_REQUIRED_SIGNER, "the chain passes through none of the required signers"
    return _Signature(SignatureVerdict(value.index, finding, reason, links, wrong_values), listed, signed)


def _passes(work: Work, chain: Chain, required: Sequence[RequiredSigner]) -> bool:
    """Whether a certificate of the chain, all links of which are good, is one of the required signers."""
    certificates = [link.opened for link in chain.links[1:] if link.opened is not None]
    return any(
        same_entity(each.claims.subject, signer.subject) and work.key_of(each) == signer.key
        for each in certificates
        for signer in required
    )


def _judge_digests(
    book: DigestBook, handle: bytes, opened: Opened
) -> tuple[Finding, str, tuple[int, ...], frozenset[int]]:
    """(finding, reason, wrong indexes, right indexes) of a signature whose chain holds."""
    claims = opened.claims
    none: frozenset[int] = frozenset()
    if not same_name(from_text(claims.subject), handle):
        return Finding.WRONG_HANDLE, f"it is a signature of {claims.subject}, not of {to_text(handle)}", (), none
    if claims.digests is None:
        return Finding.NO_DIGESTS, "the payload has no member digests", (), none
    if claims.digests.algorithm not in DIGEST_ALGORITHMS:
        taken = ", ".join(DIGEST_ALGORITHMS)
        text = f"digests by {claims.digests.algorithm[:32]!r}; taken are {taken}"
        return Finding.NO_DIGESTS, text, (), none
    algorithm, right, wrong, missing = claims.digests.algorithm, set(), [], []
    for index, digest in claims.digests.entries:
        if index not in book.by_index:
            missing.append(index)
        elif book.text(algorithm, index) == digest:
            right.add(index)
        else:
            wrong.append(index)
    if wrong:
        text = f"{indexes_text(wrong)} changed after the signature was made"
        return Finding.WRONG_DIGEST, text, tuple(sorted(wrong + missing)), frozenset(right)
    if missing:
        return (
            Finding.MISSING_VALUE,
            f"{indexes_text(missing)} signed, but not in the record",
            tuple(missing),
            frozenset(right),
        )
    return Finding.VALID, f"signed by {claims.issuer}", (), frozenset(right)


def indexes_text(indexes: Sequence[int]) -> str:
    """For a person: the first few of them."""
    listed = ", ".join(map(str, sorted(indexes)[:NAMED_INDEXES_MAX]))
    return (
        ("values " if len(indexes) > 1 else "value ")
        + listed
        + (" and more" if len(indexes) > NAMED_INDEXES_MAX else "")
    )


def _judge_value(handle: bytes, value: HandleValue, judged: Sequence[_Signature]) -> ValueVerdict:
    """From the signatures' verdicts: signed by one that is valid, else the reason nearest to it."""
    index = value.index
    if not needs_signature(handle, value):
        why = "a signature itself" if is_signature(value) else "not publicly readable, or of the old signature scheme"
        return ValueVerdict(index, value.type, Finding.EXEMPT, why)
    signed_by = tuple(
        each.verdict.index for each in judged if index in each.signed and each.verdict.finding in _COUNTING
    )
    if signed_by:
        return ValueVerdict(index, value.type, Finding.VALID, "", signed_by)
    for each in judged:
        if index in each.verdict.wrong_values:
            text = f"its digest in signature {each.verdict.index} differs: it changed after it was signed"
            return ValueVerdict(index, value.type, Finding.WRONG_DIGEST, text)
    if any(each.verdict.finding is Finding.NOT_CHECKED for each in judged):
        return ValueVerdict(index, value.type, Finding.NOT_CHECKED, "a signature could not be checked")
    for each in judged:
        if index in each.listed:
            text = f"signature {each.verdict.index}: {each.verdict.finding.value}"
            return ValueVerdict(index, value.type, Finding.UNSOUND, text)
    return ValueVerdict(index, value.type, Finding.NOT_SIGNED, "no signature lists it")


_COUNTING: Final = frozenset({Finding.VALID, Finding.WRONG_DIGEST, Finding.MISSING_VALUE})
"""A signature whose chain holds signs the values whose digests are right; another that is wrong spoils the record."""


def _missing(judged: Sequence[_Signature], book: DigestBook) -> tuple[ValueVerdict, ...]:
    """One verdict for each index that a signature lists and the record lacks."""
    made = {}
    for each in judged:
        for index in each.verdict.wrong_values:
            if index not in book.by_index:
                text = f"signature {each.verdict.index} lists it, but it is not in the record"
                made[index] = ValueVerdict(index, "", Finding.MISSING_VALUE, text)
    return tuple(made[index] for index in sorted(made))


def _outcome(values: Sequence[ValueVerdict], judged: Sequence[_Signature]) -> tuple[Outcome, str]:
    """The record's verdict and its reason: what spoils it first, then what was not checked, then what is not signed."""
    found = [each.verdict for each in judged]
    unsigned = [value for value in values if value.finding not in (Finding.VALID, Finding.EXEMPT)]
    tail = f"; {indexes_text([value.index for value in unsigned])}: {unsigned[0].finding.value}" if unsigned else ""
    for verdict in found:
        if verdict.finding not in HARMLESS and verdict.finding is not Finding.NOT_CHECKED:
            return Outcome.INVALID, f"signature {verdict.index}: {verdict.reason}{tail}"
    for verdict in found:
        if verdict.finding is Finding.NOT_CHECKED:
            return Outcome.NOT_CHECKED, f"signature {verdict.index}: {verdict.reason}"
    if unsigned:
        chains = [f"signature {each.index}: {each.reason}" for each in found if each.finding is not Finding.VALID]
        return Outcome.INVALID, "; ".join([*chains, f"value {unsigned[0].index}: {unsigned[0].reason}"]) + tail
    signers = ", ".join(str(each.index) for each in found)
    return Outcome.VALID, f"every value is signed (signature {signers}), and every signature is sound"


def run(asking: Asking[T], values_of: Callable[[bytes], Answer]) -> T:
    """Drive a judgement with a plain function from a handle to its values; what that raises passes through."""
    try:
        need = next(asking)
        while True:
            need = asking.send(values_of(need.handle))
    except StopIteration as done:
        result: T = done.value
        return result
