"""The verdict on a record: what is valid, what spoils it, what does not count, what it costs (docs/protocol.md §8)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from idnode_protocol.value import HandleValue, Reference
from idnode_registry.trust.claims import Permission
from idnode_registry.trust.digests import digest_text
from idnode_registry.trust.issue import Issuer, certificate_value, issue_certificate, sign_record, sign_values
from idnode_registry.trust.judge import RequiredSigner, Trust, judge_record, run
from idnode_registry.trust.keys import DEFAULT_RULES, key_from_json
from idnode_registry.trust.scopes import covers
from idnode_registry.trust.verdicts import Finding, Outcome
from idnode_registry.trust.work import Budget, Unreachable
from tests.registry.trust.trust_world import (
    AUTHORITY,
    HANDLE,
    NOW,
    PREFIX,
    ROOT,
    UNDER_PREFIX,
    VALUES,
    World,
    key,
    signed_record,
    small_world,
)


def changed(values: tuple[HandleValue, ...], index: int, **fields: object) -> tuple[HandleValue, ...]:
    changes: dict = fields
    return tuple(replace(value, **changes) if value.index == index else value for value in values)


def test_digest_of_a_real_value(repository: Path) -> None:
    vector = json.loads((repository / "tests/vectors/handle_protocol.json").read_text())["record_digest"]
    value = HandleValue.from_octets(bytes.fromhex(vector["hex"]))
    assert digest_text(value) == vector["sha256_base64"]
    assert digest_text(replace(value, ttl=1)) != vector["sha256_base64"]


def test_a_signed_record_is_valid() -> None:
    world, _, values = signed_record()
    verdict = world.verdict(values)
    assert verdict.outcome is Outcome.VALID, verdict.lines()
    assert [(each.index, each.finding) for each in verdict.values] == [
        (1, Finding.VALID),
        (2, Finding.VALID),
        (300, Finding.EXEMPT),
        (400, Finding.EXEMPT),
    ]
    (signature,) = verdict.signatures
    assert [link.where for link in signature.links] == [
        "400:99.900/part-1",
        "301:0.NA/99.900",
        "301:0.NA/0.NA",
        "301:0.0/0.0",
    ]
    assert verdict.cost.signature_checks == 4
    assert verdict.cost.handles_asked == 3


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"timestamp": 1}, Outcome.VALID),
        ({"data": b"https://evil.example/"}, Outcome.INVALID),
        ({"ttl": 1}, Outcome.INVALID),
        ({"type": "EMAIL"}, Outcome.INVALID),
        ({"permissions": 0x0F}, Outcome.INVALID),
        ({"references": (Reference(b"99.900/x", 1),)}, Outcome.INVALID),
    ],
)
def test_everything_but_the_timestamp_is_bound(fields: dict[str, object], outcome: Outcome) -> None:
    world, _, values = signed_record()
    verdict = world.verdict(changed(values, 1, **fields))
    assert verdict.outcome is outcome
    if outcome is Outcome.INVALID:
        assert [(each.index, each.finding) for each in verdict.broken_values()] == [(1, Finding.WRONG_DIGEST)]


def test_unsigned_added_and_missing_values() -> None:
    world, _, values = signed_record()
    assert world.verdict(VALUES).outcome is Outcome.NOT_SIGNED
    added = world.verdict((*values, HandleValue(7, "URL", b"https://example.org/7")))
    assert (added.outcome, [v.index for v in added.broken_values()]) == (Outcome.INVALID, [7])
    missing = world.verdict(tuple(value for value in values if value.index != 2))
    assert (missing.outcome, missing.broken_values()[0].finding) == (Outcome.INVALID, Finding.MISSING_VALUE)
    twice = world.verdict((*values, HandleValue(1, "URL", b"https://evil.example/")))
    assert twice.outcome is Outcome.INVALID
    assert "twice" in twice.reason


def test_a_stale_signature_spoils_one_without_permission_does_not() -> None:
    world, issuer, values = signed_record()
    stale = sign_values(HANDLE, changed(VALUES, 2, data=b"as it was"), issuer, NOW - 100)
    spoiled = world.verdict((*values, HandleValue(401, "HS_SIGNATURE", stale)))
    assert spoiled.outcome is Outcome.INVALID
    assert (spoiled.signatures[1].finding, spoiled.signatures[1].wrong_values) == (Finding.WRONG_DIGEST, (2,))
    other = Reference(b"0.NA/99.901", 301)
    world.certify(other, key(3), Issuer(AUTHORITY, key(1)), [Permission("0.NA/99.901", "handlesUnderThisPrefix")])
    foreign = sign_values(HANDLE, VALUES, Issuer(other, key(3), (other, AUTHORITY, ROOT)), NOW)
    beside = world.verdict((*values, HandleValue(401, "HS_SIGNATURE", foreign)))
    assert beside.outcome is Outcome.VALID
    alone = world.verdict((*VALUES, HandleValue(401, "HS_SIGNATURE", foreign)))
    assert alone.outcome is Outcome.INVALID
    assert alone.signatures[0].finding is Finding.SCOPE_TOO_SMALL
    assert alone.broken_link is not None
    assert alone.broken_link.where == "301:0.NA/99.901"
    assert [v.finding for v in alone.broken_values()] == [Finding.UNSOUND, Finding.UNSOUND]


def test_the_latest_certificate_about_the_issuer_is_taken_when_no_index_is_named() -> None:
    world, _ = small_world()
    certificate = issue_certificate(PREFIX, key(3), UNDER_PREFIX, Issuer(AUTHORITY, key(1)), NOW + 5)
    world.handles[PREFIX.handle] += (certificate_value(302, certificate, NOW),)
    by_new = sign_record(HANDLE, VALUES, Issuer(PREFIX, key(3)), NOW)
    by_old = sign_record(HANDLE, VALUES, Issuer(PREFIX, key(2)), NOW)
    named = sign_record(HANDLE, VALUES, Issuer(PREFIX, key(2), (PREFIX,)), NOW)
    found = [world.verdict(values, now=NOW + 10) for values in (by_new, by_old, named)]
    assert [verdict.outcome for verdict in found] == [Outcome.VALID, Outcome.INVALID, Outcome.VALID]
    assert found[1].signatures[0].finding is Finding.BAD_SIGNATURE


def test_required_signers() -> None:
    world, _, values = signed_record()
    roots = (key_from_json(key(0).public_json, DEFAULT_RULES),)
    certificate = issue_certificate(AUTHORITY, key(1), (), Issuer(AUTHORITY, key(1)), NOW)
    through = RequiredSigner.from_octets(certificate, DEFAULT_RULES)
    stranger = replace(through, key=key_from_json(key(3).public_json, DEFAULT_RULES))
    assert world.verdict(values, trust=Trust(roots, required=(stranger, through))).is_valid
    without = world.verdict(values, trust=Trust(roots, required=(stranger,)))
    assert without.outcome is Outcome.INVALID
    assert without.signatures[0].finding is Finding.NO_REQUIRED_SIGNER


def test_what_cannot_be_had_is_not_checked_and_never_valid() -> None:
    world, _, values = signed_record()
    trust = Trust((key_from_json(key(0).public_json, DEFAULT_RULES),))

    def values_of(handle: bytes) -> tuple[HandleValue, ...] | Unreachable | None:
        return Unreachable("no answer within 5 s") if handle == AUTHORITY.handle else world.handles.get(handle)

    verdict = run(judge_record(HANDLE, values, trust, NOW), values_of)
    assert verdict.outcome is Outcome.NOT_CHECKED
    assert "no answer within 5 s" in verdict.reason
    broken = run(judge_record(HANDLE, changed(values, 1, data=b"x"), trust, NOW), values_of)
    assert broken.outcome is Outcome.NOT_CHECKED, "a digest in a signature that was not checked proves nothing"


def test_budgets_are_kept_and_exceeding_them_is_not_checked() -> None:
    world, issuer, values = signed_record()
    assert world.verdict(values, budget=Budget(4)).is_valid
    assert world.verdict(values, budget=Budget(3)).outcome is Outcome.NOT_CHECKED
    shared = Budget(8)
    assert [world.verdict(values, budget=shared).outcome for _ in range(3)] == [
        Outcome.VALID,
        Outcome.VALID,
        Outcome.NOT_CHECKED,
    ]
    several = [HandleValue(401 + n, "HS_SIGNATURE", sign_values(HANDLE, VALUES, issuer, NOW - n - 1)) for n in range(5)]
    full = world.verdict((*values, *several[:4]))
    assert (full.outcome, full.cost.signature_checks) == (Outcome.VALID, 8), "the certificates are checked once"
    over = world.verdict((*values, *several))
    assert (over.outcome, over.cost.signature_checks) == (Outcome.NOT_CHECKED, 8)


def _loop(world: World, issuer: Issuer) -> Issuer:
    a, b = Reference(b"0.NA/99.900", 310), Reference(b"0.NA/99.900", 311)
    world.certify(a, key(2), Issuer(b, key(3), (b,)))
    world.certify(b, key(3), Issuer(a, key(2), (a,)))
    return Issuer(a, key(2), (a,))


def _long(world: World, issuer: Issuer) -> Issuer:
    above = Issuer(PREFIX, key(2))
    names: list[Reference] = [PREFIX]
    for number in range(8):
        name = Reference(b"0.NA/99.900", 310 + number)
        world.certify(name, key(2), Issuer(above.name, key(2), tuple(reversed(names))), UNDER_PREFIX)
        above = Issuer(name, key(2))
        names.append(name)
    return Issuer(above.name, key(2), tuple(reversed(names)))


def _nobody(world: World, issuer: Issuer) -> Issuer:
    return replace(issuer, name=replace(PREFIX, index=999), chain=())


def _self_issued(world: World, issuer: Issuer) -> Issuer:
    world.certify(PREFIX, key(2), Issuer(PREFIX, key(2)))
    return issuer


def _other_root(world: World, issuer: Issuer) -> Issuer:
    world.roots = (key(3),)
    return issuer


def _other_key(world: World, issuer: Issuer) -> Issuer:
    return replace(issuer, key=key(3))


def _wrong_subject(world: World, issuer: Issuer) -> Issuer:
    return replace(issuer, name=Reference(b"0.NA/99.900", 777))


@pytest.mark.parametrize(
    ("defect", "finding", "where"),
    [
        (_loop, Finding.LOOP, "310:0.NA/99.900"),
        (_long, Finding.TOO_LONG, "310:0.NA/99.900"),
        (_nobody, Finding.NO_CERTIFICATE, "0.NA/99.900"),
        (_self_issued, Finding.SELF_ISSUED, "301:0.NA/99.900"),
        (_other_root, Finding.UNTRUSTED_ROOT, "301:0.0/0.0"),
        (_other_key, Finding.BAD_SIGNATURE, "400:99.900/part-1"),
        (_wrong_subject, Finding.WRONG_SUBJECT, "301:0.NA/99.900"),
    ],
)
def test_broken_chains(defect: Callable[[World, Issuer], Issuer], finding: Finding, where: str) -> None:
    world, issuer = small_world()
    verdict = world.verdict(sign_record(HANDLE, VALUES, defect(world, issuer), NOW))
    assert verdict.outcome is Outcome.INVALID
    assert verdict.broken_link is not None, verdict.lines()
    assert (verdict.broken_link.finding, verdict.broken_link.where) == (finding, where), verdict.lines()


@pytest.mark.parametrize(
    ("after_s", "finding"),
    [(0, Finding.VALID), (365 * 86_400 + 1, Finding.EXPIRED), (-601, Finding.NOT_YET_VALID)],
)
def test_dates(after_s: float, finding: Finding) -> None:
    world, _, values = signed_record()
    assert world.verdict(values, now=NOW + after_s).signatures[0].finding is finding


NAMES = (
    "99.1/a 99.1/A 0.NA/99.1 0.na/99.1 0.NA/99.1.2 99.1.2/x 99.1 99.10/x 99.1/ 0.NA/99 0.NA/99.10 0.0/0.0 "
    "0.NA/0.NA 99.A/b 99.a/B 0.NA/99.A.b"
).split()


@pytest.mark.parametrize(
    ("kind", "scope", "covered"),
    [
        ("thisHandle", "99.1/a", "99.1/a"),
        ("thisHandle", "99.a/b", "99.A/b"),
        ("thisHandle", "0.na/99.1", "99.1/a 99.1/A 0.NA/99.1 0.na/99.1 99.1/"),
        ("derivedPrefixes", "0.NA/99.1", "0.NA/99.1.2 99.1.2/x"),
        ("handlesUnderThisPrefix", "0.na/99.1", "99.1/a 99.1/A 99.1/"),
        ("handlesUnderThisPrefix", "0.NA/99.a", "99.A/b 99.a/B"),
        (
            "handlesUnderThisPrefix",
            "0.NA/0.NA",
            "0.NA/99.1 0.na/99.1 0.NA/99.1.2 0.NA/99 0.NA/99.10 0.NA/0.NA 0.NA/99.A.b",
        ),
        ("handlesUnderThisPrefix", "99.1", ""),
        ("derivedPrefixes", "99.1", ""),
        ("Everything", "0.NA/99.1", ""),
        ("everything", "", " ".join(NAMES)),
    ],
)
def test_scopes_are_the_references(kind: str, scope: str, covered: str) -> None:
    """The right column is what the reference's own verifier says of the same names."""
    assert [name for name in NAMES if covers([Permission(scope, kind)], name.encode())] == covered.split()
