"""From a signature to its root: the links, and what is wrong with each (docs/protocol.md §8.3).

::

    place 0  HS_SIGNATURE   iss 301:0.NA/99.900 ----.
    place 1  HS_CERT        sub 301:0.NA/99.900 <---'  its publicKey verifies place 0, its perms must cover the handle
             iss 301:0.NA/0.NA ---------------------.
    place 2  HS_CERT        sub 301:0.NA/0.NA <-----'
             ...
    last     HS_CERT        iss = sub = 301:0.0/0.0    its publicKey verifies itself and is a configured root

A certificate is found by the name the signature or its ``chain`` gives, never by trying keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from idnode_protocol.handle import fold_name, same_name, to_text
from idnode_protocol.value import HandleValue, Reference, fold_type
from idnode_registry.crypto import KeyRefused
from idnode_registry.trust.claims import entity_text, parse_entity, same_entity
from idnode_registry.trust.errors import AlgorithmRefused, ClaimsRefused, JwsRefused, OverBudget
from idnode_registry.trust.keys import TrustKey
from idnode_registry.trust.limits import CERTIFICATES_PER_HANDLE_MAX, CHAIN_LINKS_MAX
from idnode_registry.trust.scopes import covers, scope_text
from idnode_registry.trust.verdicts import HARMLESS, Finding, LinkVerdict
from idnode_registry.trust.work import Asking, Opened, Unreachable, Work

CERTIFICATE_TYPE: Final = "HS_CERT"
ROOT_OWNER: Final = b"0.0/0.0"


@dataclass(slots=True)
class Link:
    """``opened`` is None for a certificate that was looked for and not found or not readable."""

    where: str
    opened: Opened | None
    finding: Finding = Finding.VALID
    reason: str = ""

    def fault(self, finding: Finding, reason: str) -> None:
        """Keep the first thing found wrong; something harmless gives way to something that is not."""
        if self.finding is Finding.VALID or (self.finding in HARMLESS and finding not in HARMLESS):
            self.finding, self.reason = finding, reason

    def verdict(self, place: int) -> LinkVerdict:
        claims = None if self.opened is None else self.opened.claims
        return LinkVerdict(
            place,
            self.where,
            self.finding,
            self.reason,
            "" if claims is None else claims.issuer,
            "" if claims is None else claims.subject,
        )


class _Broken(Exception):
    """The chain cannot be followed: the link that ends it."""

    def __init__(self, link: Link) -> None:
        self.link = link
        super().__init__(link.reason)


@dataclass(slots=True)
class Chain:
    """The links from a signature upwards. ``is_whole``: the last one is self-issued."""

    links: list[Link]
    is_whole: bool = False
    visited: set[tuple[bytes, int]] = field(default_factory=set)

    def verdicts(self) -> tuple[LinkVerdict, ...]:
        return tuple(link.verdict(place) for place, link in enumerate(self.links))

    def summary(self) -> Link | None:
        """The link that decides: the nearest at fault, else the nearest not checked, else the nearest harmless one."""
        faulty = [link for link in self.links if link.finding is not Finding.VALID]
        ordered = sorted(faulty, key=lambda link: _rank(link.finding))  # stable: the nearest of a rank comes first
        return ordered[0] if ordered else None


def _rank(finding: Finding) -> int:
    if finding is Finding.NOT_CHECKED:
        return 1
    return 2 if finding in HARMLESS else 0


def build_chain(work: Work, where: str, signature: Opened) -> Asking[Chain]:
    """Follow the issuers up to a self-issued certificate. A chain that breaks ends with the link at fault."""
    chain = Chain([Link(where, signature)])
    inherited: tuple[str, ...] = ()
    current = signature
    while not current.claims.is_self_issued:
        in_force = inherited or current.claims.chain or (_handle_text(current.claims.issuer),)
        try:
            parent = yield from _parent(work, chain, parse_entity(in_force[0]), current.claims.issuer)
        except _Broken as broken:
            chain.links.append(broken.link)
            return chain
        chain.links.append(parent)
        assert parent.opened is not None
        if not same_entity(parent.opened.claims.subject, current.claims.issuer):
            parent.fault(
                Finding.WRONG_SUBJECT,
                f"it is about {parent.opened.claims.subject}, but {current.claims.issuer} signed the link below",
            )
            return chain
        inherited, current = in_force[1:], parent.opened
    chain.is_whole = True
    return chain


def _handle_text(entity: str) -> str:
    return to_text(parse_entity(entity).handle)


def _parent(work: Work, chain: Chain, name: Reference, issuer: str) -> Asking[Link]:
    """The next link; raises :class:`_Broken`."""
    where = entity_text(name)
    if len(chain.links) >= CHAIN_LINKS_MAX:
        text = f"the chain has more than {CHAIN_LINKS_MAX} links and has not reached a root"
        raise _Broken(Link(where, None, Finding.TOO_LONG, text))
    try:
        values = yield from work.values(name.handle)
        if isinstance(values, Unreachable):
            raise _Broken(Link(where, None, Finding.NOT_CHECKED, f"{where} cannot be had: {values.reason}"))
        if values is None:
            raise _Broken(
                Link(where, None, Finding.NO_CERTIFICATE, f"the handle {to_text(name.handle)} does not exist")
            )
        chosen = _named(values, name.index) if name.index else _about(work, values, issuer)
        if chosen is None:
            which = f"with index {name.index}" if name.index else f"about {issuer}"
            text = f"{to_text(name.handle)} has no HS_CERT value {which}"
            raise _Broken(Link(where, None, Finding.NO_CERTIFICATE, text))
        owner = fold_name(name.handle, whole=False)
        where = f"{chosen.index}:{to_text(name.handle)}"
        # Two certificates of one handle need their indexes named; the reference takes the bare name for a repetition.
        if {(owner, name.index), (owner, chosen.index)} & chain.visited:
            raise _Broken(Link(where, None, Finding.LOOP, f"the chain comes to {entity_text(name)} a second time"))
        chain.visited |= {(owner, name.index), (owner, chosen.index)}
        return Link(where, work.open(chosen.data))
    except OverBudget as wrong:
        raise _Broken(Link(where, None, Finding.NOT_CHECKED, str(wrong))) from wrong
    except (JwsRefused, ClaimsRefused) as wrong:
        raise _Broken(Link(where, None, Finding.BAD_FORM, str(wrong))) from wrong


def is_certificate(value: HandleValue) -> bool:
    return fold_type(value.type) == CERTIFICATE_TYPE


def _named(values: Sequence[HandleValue], index: int) -> HandleValue | None:
    return next((value for value in values if value.index == index and is_certificate(value)), None)


def _about(work: Work, values: Sequence[HandleValue], issuer: str) -> HandleValue | None:
    """The HS_CERT value about the issuer, as a string, that was issued last; unreadable ones are about nobody."""
    candidates = [value for value in values if is_certificate(value)]
    if len(candidates) > CERTIFICATES_PER_HANDLE_MAX:
        raise OverBudget(
            f"{len(candidates)} certificates to choose from, more than {CERTIFICATES_PER_HANDLE_MAX}: "
            "name the index in the signature's chain"
        )
    best: HandleValue | None = None
    latest = float("-inf")
    for value in candidates:
        try:
            claims = work.open(value.data).claims
        except (JwsRefused, ClaimsRefused):
            continue
        issued_at = claims.issued_at or 0.0
        if claims.subject == issuer and issued_at > latest:
            best, latest = value, issued_at
    return best


def check_chain(work: Work, chain: Chain, handle: bytes, roots: Sequence[TrustKey], now: float) -> None:
    """Write into each link what is wrong with it: signature, dates, key, scope, root."""
    for place, child in enumerate(chain.links):
        if child.opened is None:
            continue
        _check_dates(child, now)
        is_last = place + 1 == len(chain.links)
        if is_last and not chain.is_whole:
            continue  # nobody above it was found
        issuer = child if is_last else chain.links[place + 1]
        if issuer.opened is None or issuer.finding is Finding.WRONG_SUBJECT:
            continue
        _check_signature(work, child, issuer)
        if not covers(issuer.opened.claims.permissions, handle):
            may = scope_text(issuer.opened.claims.permissions)
            issuer.fault(Finding.SCOPE_TOO_SMALL, f"its holder may sign {may}, which does not cover {to_text(handle)}")
    if chain.is_whole:
        _check_root(work, chain.links[-1], roots)


def _check_dates(link: Link, now: float) -> None:
    assert link.opened is not None
    claims = link.opened.claims
    if claims.expires is not None and now > claims.expires:
        link.fault(Finding.EXPIRED, f"it was valid until {moment(claims.expires)}")
    if claims.not_before is not None and now < claims.not_before:
        link.fault(Finding.NOT_YET_VALID, f"it is valid from {moment(claims.not_before)} on")


def moment(seconds: float) -> str:
    """ISO 8601 for a person; the bare number where no calendar reaches."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g} s since 1970"


def _check_signature(work: Work, child: Link, issuer: Link) -> None:
    assert child.opened is not None
    assert issuer.opened is not None
    try:
        key = work.key_of(issuer.opened)
    except KeyRefused as wrong:
        issuer.fault(Finding.BAD_KEY, str(wrong))
        return
    try:
        if not work.is_signed_by(child.opened, key):
            child.fault(Finding.BAD_SIGNATURE, f"the key in {issuer.where} did not make this signature")
    except AlgorithmRefused as wrong:
        child.fault(Finding.WRONG_ALGORITHM, str(wrong))
    except OverBudget as wrong:
        child.fault(Finding.NOT_CHECKED, str(wrong))


def _check_root(work: Work, last: Link, roots: Sequence[TrustKey]) -> None:
    assert last.opened is not None
    subject = last.opened.claims.subject
    if not same_name(parse_entity(subject).handle, ROOT_OWNER):
        last.fault(Finding.SELF_ISSUED, f"{subject} certifies itself; only {to_text(ROOT_OWNER)} may")
        return
    try:
        if work.key_of(last.opened) not in roots:
            last.fault(Finding.UNTRUSTED_ROOT, f"the key of {subject} is none of the {len(roots)} configured root keys")
    except KeyRefused as wrong:
        last.fault(Finding.BAD_KEY, str(wrong))
