"""The ways to break a chain, a table of them: each alters a draft and says what the verdict must be."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from idnode_protocol.value import HandleValue, Reference
from idnode_registry.trust.claims import DigestList, Permission, entity_text, read_claims, write_claims
from idnode_registry.trust.digests import digests_of
from idnode_registry.trust.issue import DAY_S
from idnode_registry.trust.jws import read_jws, signing_input, to_base64url
from idnode_registry.trust.keys import HandleKey
from idnode_registry.trust.lab.drafts import Certificate, Draft, Expected, Handles, Sample, Signing
from idnode_registry.trust.lab.making import EVERYTHING, permissions_of
from idnode_registry.trust.lab.seeded import Dice, seeded_key
from idnode_registry.trust.limits import CHAIN_LINKS_MAX
from idnode_registry.trust.verdicts import Finding, Outcome

WEAK_BITS: Final = 1_024

Break = Callable[[Draft, Dice], Expected]


@dataclass(frozen=True, slots=True)
class Defect:
    """``text`` is the line that ``--list`` prints."""

    name: str
    text: str
    apply: Break


# --- values -------------------------------------------------------------------------------------------------------


def _late(draft: Draft, alter: Callable[[list[HandleValue]], list[HandleValue]]) -> None:
    """Alter the record's values after everything was signed."""

    def altered(handles: Handles) -> None:
        handles[draft.handle] = alter(handles[draft.handle])

    draft.late.append(altered)


def _invalid(draft: Draft, finding: Finding, place: int | None, *values: int, differs: str = "") -> Expected:
    """At fault is a link of the record's own signature; without ``values`` all that it should sign."""
    return Expected(
        Outcome.INVALID, finding, draft.signing.index, place, values or draft.signed_indexes, reference_differs=differs
    )


def _wrong_digest(draft: Draft, dice: Dice) -> Expected:
    index = dice.pick(draft.signed_indexes)
    _late(draft, lambda values: [replace(v, data=v.data + b"!") if v.index == index else v for v in values])
    return _invalid(draft, Finding.WRONG_DIGEST, 0, index)


def _ttl_changed(draft: Draft, dice: Dice) -> Expected:
    index = dice.pick(draft.signed_indexes)
    _late(draft, lambda values: [replace(v, ttl=v.ttl + 1) if v.index == index else v for v in values])
    return _invalid(draft, Finding.WRONG_DIGEST, 0, index)


def _digest_left_out(draft: Draft, dice: Dice) -> Expected:
    index = dice.pick(draft.signed_indexes)
    draft.signing.digests = digests_of(
        [v for v in draft.values if v.index in draft.signed_indexes and v.index != index]
    )
    return Expected(Outcome.INVALID, Finding.NOT_SIGNED, values=(index,))


def _value_added(draft: Draft, dice: Dice) -> Expected:
    index = 100 + dice.below(100)
    _late(draft, lambda values: [*values, HandleValue(index, "URL", b"https://evil.example/")])
    return Expected(Outcome.INVALID, Finding.NOT_SIGNED, values=(index,))


def _value_removed(draft: Draft, dice: Dice) -> Expected:
    index = dice.pick(draft.signed_indexes)
    _late(draft, lambda values: [v for v in values if v.index != index])
    return _invalid(draft, Finding.MISSING_VALUE, 0, index)


def _index_moved(draft: Draft, dice: Dice) -> Expected:
    index, other = dice.pick(draft.signed_indexes), 100 + dice.below(100)
    _late(draft, lambda values: [replace(v, index=other) if v.index == index else v for v in values])
    return _invalid(draft, Finding.MISSING_VALUE, 0, index, other)


def _stale_signature(draft: Draft, dice: Dice) -> Expected:
    index, extra = dice.pick(draft.signed_indexes), draft.signing.index + 1
    before = [replace(v, data=b"as it was") if v.index == index else v for v in draft.values]
    old = digests_of([v for v in before if v.index in draft.signed_indexes])
    draft.more.append(Signing(extra, draft.signer, shift_s=-DAY_S, digests=old))
    return Expected(Outcome.INVALID, Finding.WRONG_DIGEST, extra, 0, (index,))


def _sha1_digests(draft: Draft, dice: Dice) -> Expected:
    listed = [v for v in draft.values if v.index in draft.signed_indexes]
    entries = [(v.index, base64.b64encode(hashlib.sha1(v.signed_octets).digest()).decode("ascii")) for v in listed]
    draft.signing.digests = DigestList("SHA-1", tuple(entries))
    return _invalid(draft, Finding.NO_DIGESTS, 0, differs="it takes every digest its Java knows, SHA-1 too")


# --- claims -------------------------------------------------------------------------------------------------------


def _middle(draft: Draft, dice: Dice) -> Certificate:
    """Any certificate but the root's."""
    return dice.pick(draft.certificates[1:])


def _with_scope(*made: Callable[[Draft], Permission]) -> Break:
    def narrow(draft: Draft, dice: Dice) -> Expected:
        draft.signer.permissions = tuple(make(draft) for make in made)
        return _invalid(draft, Finding.SCOPE_TOO_SMALL, 1)

    return narrow


def _prefix(draft: Draft) -> str:
    return "0.NA/" + draft.handle.partition(b"/")[0].decode("ascii")


def _middle_scope(draft: Draft, dice: Dice) -> Expected:
    certificate = _middle(draft, dice)
    certificate.permissions = permissions_of(b"99.0")
    return _invalid(draft, Finding.SCOPE_TOO_SMALL, draft.place_of(certificate))


def _link_expired(draft: Draft, dice: Dice) -> Expected:
    certificate = dice.pick(draft.certificates)
    certificate.shift_s, certificate.life_s = -9.0 * DAY_S, 8.0 * DAY_S
    return _invalid(draft, Finding.EXPIRED, draft.place_of(certificate))


def _link_early(draft: Draft, dice: Dice) -> Expected:
    certificate = dice.pick(draft.certificates)
    certificate.shift_s = 1.0 * DAY_S
    return _invalid(draft, Finding.NOT_YET_VALID, draft.place_of(certificate))


def _signature_expired(draft: Draft, dice: Dice) -> Expected:
    draft.signing.shift_s, draft.signing.life_s = -9.0 * DAY_S, 8.0 * DAY_S
    return _invalid(draft, Finding.EXPIRED, 0)


def _signature_early(draft: Draft, dice: Dice) -> Expected:
    draft.signing.shift_s = 1.0 * DAY_S
    return _invalid(draft, Finding.NOT_YET_VALID, 0)


def _wrong_subject(draft: Draft, dice: Dice) -> Expected:
    draft.signing.subject = draft.handle.decode("utf-8") + "0"
    return _invalid(draft, Finding.WRONG_HANDLE, 0)


# --- chains -------------------------------------------------------------------------------------------------------


def _self_issued(draft: Draft, dice: Dice) -> Expected:
    certificate = _middle(draft, dice)
    certificate.issuer = None
    certificate.permissions = EVERYTHING
    return _invalid(draft, Finding.SELF_ISSUED, draft.place_of(certificate))


def _too_long(draft: Draft, dice: Dice) -> Expected:
    """Certificates of the authority's other keys, one issued by the other, until the signature is the ninth link."""
    authority = draft.certificates[1]
    following = draft.certificates[2]
    above = authority
    for number in range(CHAIN_LINKS_MAX - len(draft.certificates)):
        name = replace(authority.subject, index=400 + number)
        above = Certificate(name, authority.key, EVERYTHING, above)
        draft.certificates.insert(2 + number, above)
    following.issuer = above
    draft.names_chain = True  # several certificates of one handle: by the handle's name alone they would be a loop
    text = f"its limit is 50 links, ours {CHAIN_LINKS_MAX}"
    return _invalid(draft, Finding.TOO_LONG, CHAIN_LINKS_MAX, differs=text)


def _loop(draft: Draft, dice: Dice) -> Expected:
    """The signer's certificate is issued by another of the same handle, which the signer issued."""
    signer = draft.signer
    other = Certificate(replace(signer.subject, index=350), draft.new_key(), EVERYTHING, signer)
    signer.issuer = other
    draft.certificates.append(other)
    return _invalid(draft, Finding.LOOP, 3 if draft.names_chain else 2)


def _key_rotated(draft: Draft, dice: Dice) -> Expected:
    """The issuer got a new certificate for a new key; what the old key signed was left as it was."""
    certificate = _middle(draft, dice)
    place = draft.place_of(certificate)
    children: list[Certificate | Signing] = [c for c in draft.certificates if c.issuer is certificate]
    for child in children or [draft.signing]:
        child.signing_key = certificate.key
    certificate.key = draft.new_key()
    return _invalid(draft, Finding.BAD_SIGNATURE, place - 1)


def _issuer_mismatch(draft: Draft, dice: Dice) -> Expected:
    """Where the chain says the issuer's certificate is, lies one about somebody else."""
    certificate = _middle(draft, dice)
    certificate.claims = entity_text(replace(certificate.subject, index=certificate.subject.index + 50))
    draft.names_chain = True
    return _invalid(draft, Finding.WRONG_SUBJECT, draft.place_of(certificate))


def _untrusted_root(draft: Draft, dice: Dice) -> Expected:
    draft.roots = [draft.new_key()]
    return _invalid(draft, Finding.UNTRUSTED_ROOT, draft.place_of(draft.certificates[0]))


def _certificate_missing(draft: Draft, dice: Dice) -> Expected:
    certificate = dice.pick(draft.certificates)
    place = draft.place_of(certificate)
    draft.roots = [draft.certificates[0].key]
    draft.certificates.remove(certificate)
    return _invalid(draft, Finding.NO_CERTIFICATE, place)


def _weak_key(draft: Draft, dice: Dice) -> Expected:
    certificate = _middle(draft, dice)
    certificate.key = HandleKey(seeded_key(dice.octets, WEAK_BITS))
    return _invalid(draft, Finding.BAD_KEY, draft.place_of(certificate), differs="it takes RSA keys of every size")


# --- containers ---------------------------------------------------------------------------------------------------


def _rewrite(draft: Draft, at: Reference, change: Callable[[bytes], bytes]) -> None:
    """Alter the text of a signature or certificate after it was signed."""

    def altered(handles: Handles) -> None:
        handles[at.handle] = [replace(v, data=change(v.data)) if v.index == at.index else v for v in handles[at.handle]]

    draft.late.append(altered)


def _some_link(draft: Draft, dice: Dice) -> tuple[Reference, int]:
    """The signature or a certificate, and its place."""
    certificate = dice.pick([None, *draft.certificates])
    if certificate is None:
        return Reference(draft.handle, draft.signing.index), 0
    return certificate.subject, draft.place_of(certificate)


def _broken_base64(draft: Draft, dice: Dice) -> Expected:
    draft.names_chain = True
    at, place = _some_link(draft, dice)
    _rewrite(draft, at, lambda octets: octets.replace(b".", b"*.", 1))
    return _invalid(draft, Finding.BAD_FORM, place)


def _payload_altered(draft: Draft, dice: Dice) -> Expected:
    """A certificate's owner gives himself another scope."""
    certificate = dice.pick(draft.certificates)

    def widen(octets: bytes) -> bytes:
        header, _, signature = octets.split(b".")
        claims = replace(read_claims(read_jws(octets).payload), permissions=(*EVERYTHING, Permission("x/y", "all")))
        return b".".join((header, to_base64url(write_claims(claims)), signature))

    _rewrite(draft, certificate.subject, widen)
    return _invalid(draft, Finding.BAD_SIGNATURE, draft.place_of(certificate))


def _with_header(header: bytes, finding: Finding, differs: str = "") -> Break:
    """The signature under another header, properly signed by its key."""

    def break_it(draft: Draft, dice: Dice) -> Expected:
        key = draft.signer.key

        def change(octets: bytes) -> bytes:
            signed = to_base64url(header) + b"." + octets.split(b".")[1]
            return signed + b"." + to_base64url(key.sign(signed))

        _rewrite(draft, Reference(draft.handle, draft.signing.index), change)
        return _invalid(draft, finding, 0, differs=differs)

    return break_it


def _algorithm_confusion(draft: Draft, dice: Dice) -> Expected:
    """HS256 with the issuer's public key, which everybody has, as the secret."""
    key = draft.signer.key
    assert isinstance(key, HandleKey)
    secret = key.signer.public_key_octets

    def change(octets: bytes) -> bytes:
        signed = signing_input("HS256", read_jws(octets).payload)
        return signed + b"." + to_base64url(hmac.new(secret, signed, "sha256").digest())

    _rewrite(draft, Reference(draft.handle, draft.signing.index), change)
    return _invalid(draft, Finding.WRONG_ALGORITHM, 0)


_TWICE: Final = "its reader takes the last of two members with one name"
_BROUGHT: Final = "it does not look at other members of the header"

DEFECTS: Final[dict[str, Defect]] = {
    each.name: each
    for each in (
        Defect("wrong-digest", "a value's data changed after it was signed", _wrong_digest),
        Defect("ttl-changed", "a value's TTL changed after it was signed", _ttl_changed),
        Defect("digest-left-out", "the signature does not list one of the values", _digest_left_out),
        Defect("value-added", "a value was added after the record was signed", _value_added),
        Defect("value-removed", "a signed value is gone", _value_removed),
        Defect("index-moved", "a signed value lies under another index", _index_moved),
        Defect("stale-signature", "an old signature of an earlier state stands beside the good one", _stale_signature),
        Defect("sha1-digests", "the digests are SHA-1", _sha1_digests),
        Defect(
            "scope-this-handle",
            "the signer may sign one handle only, another one",
            _with_scope(lambda draft: Permission(draft.handle.decode("utf-8") + "0", "thisHandle")),
        ),
        Defect(
            "scope-derived-prefixes",
            "the signer may sign under derived prefixes only, not under the prefix itself",
            _with_scope(lambda draft: Permission(_prefix(draft), "derivedPrefixes")),
        ),
        Defect(
            "scope-under-prefix",
            "the signer may sign under another prefix, whose name begins alike",
            _with_scope(lambda draft: Permission(_prefix(draft) + "0", "handlesUnderThisPrefix")),
        ),
        Defect("scope-none", "the signer's certificate permits nothing", _with_scope()),
        Defect("scope-middle", "a certificate above permits another prefix only", _middle_scope),
        Defect("link-expired", "a certificate has expired", _link_expired),
        Defect("link-not-yet-valid", "a certificate is not valid yet", _link_early),
        Defect("signature-expired", "the record's signature has expired", _signature_expired),
        Defect("signature-not-yet-valid", "the record's signature is not valid yet", _signature_early),
        Defect("wrong-subject", "the signature was made for another handle", _wrong_subject),
        Defect("self-issued", "a certificate below the root certifies itself", _self_issued),
        Defect("chain-too-long", f"the chain has more than {CHAIN_LINKS_MAX} links", _too_long),
        Defect("loop", "two certificates certify each other", _loop),
        Defect("key-rotated", "an issuer has a new key, what the old one signed stayed", _key_rotated),
        Defect("issuer-mismatch", "where the issuer's certificate should be lies another's", _issuer_mismatch),
        Defect("untrusted-root", "the chain ends in a root that is not configured", _untrusted_root),
        Defect("certificate-missing", "a certificate of the chain is gone", _certificate_missing),
        Defect("weak-key", "an issuer's key has 1,024 bits", _weak_key),
        Defect("broken-base64", "a signature or certificate is not base64url", _broken_base64),
        Defect("payload-altered", "a certificate was given a wider scope after it was signed", _payload_altered),
        Defect("algorithm-confusion", "the public key serves as an HMAC secret", _algorithm_confusion),
        Defect(
            "algorithm-none",
            "the header says that nothing is signed",
            _with_header(b'{"alg":"none"}', Finding.WRONG_ALGORITHM),
        ),
        Defect(
            "member-twice",
            "the header names two algorithms",
            _with_header(b'{"alg":"none","alg":"RS256"}', Finding.BAD_FORM, _TWICE),
        ),
        Defect(
            "embedded-key",
            "the header brings a key along",
            _with_header(b'{"alg":"RS256","jku":"https://evil.example/keys"}', Finding.BAD_FORM, _BROUGHT),
        ),
    )
}


def broken(draft: Draft, name: str, dice: Dice) -> Sample:
    """The draft with one defect, built. KeyError for a name that is not in the table."""
    defect = DEFECTS[name]
    expected = defect.apply(draft, dice)
    return draft.build(defect.name, defect.text, expected)
