"""The reference's verifier (net.handle.hdllib.trust) beside ours: the laboratory's cases, and each other's records."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from idnode_protocol.handle import to_text
from idnode_protocol.value import HandleValue
from idnode_registry.trust.claims import Permission, entity_text
from idnode_registry.trust.issue import Issuer, sign_record
from idnode_registry.trust.keys import HandleKey
from idnode_registry.trust.lab.defects import DEFECTS
from idnode_registry.trust.lab.drafts import Sample
from idnode_registry.trust.lab.vectors import judge_sample, samples_to_json
from idnode_registry.trust.scopes import covers
from tests.campaigns.results import Result
from tests.clients.java_trust import ask_java
from tests.registry.trust.test_trust_lab import check, pair_of
from tests.registry.trust.trust_world import AUTHORITY, HANDLE, PREFIX, ROOT, UNDER_PREFIX, VALUES, key, small_world

pytestmark = [pytest.mark.serial, pytest.mark.timeout(600)]

CHAINS = {"test": 10, "fuzz": 20, "prove": 100}
"""Random chains for each defect; ours alone meets 100."""
SCOPES = ("everything", "thisHandle", "derivedPrefixes", "handlesUnderThisPrefix", "Everything")
NAMES = (
    "99.1/a 99.1/A 99.a/B 99.A/b 0.NA/99.1 0.na/99.1 0.NA/99.1.2 99.1.2/x 99.10/x 0.NA/99.10 0.0/0.0 0.NA/0.NA".split()
)


def command_of(sample: Sample) -> dict[str, Any]:
    cases: Any = samples_to_json([sample])["cases"]
    return {"op": "verify", **cases[0]}


def test_the_reference_agrees_about_every_case(
    java_class_path: str, tmp_path: Path, seed: int, campaign: str, result: Result
) -> None:
    """Its verdict is ours, but for the defects that say why it differs; those must really differ."""
    now = time.time()
    samples = []
    for name in DEFECTS:
        for number in range(CHAINS[campaign]):
            whole, broken = pair_of(name, f"{seed} java {name} {number}", now)
            samples += [broken, whole] if number == 0 else [broken]
    answers = ask_java(java_class_path, tmp_path, [command_of(sample) for sample in samples])
    differing: Counter[str] = Counter()
    wrong = []
    for sample, answer in zip(samples, answers, strict=True):
        verdict = judge_sample(sample)
        check(sample, verdict)
        if bool(sample.expected.reference_differs) is (answer.get("valid") is verdict.is_valid):
            wrong.append(f"{sample.name}: ours {verdict.reason}; the reference {answer}")
        differing[sample.name] += answer.get("valid") is not verdict.is_valid
    differs = {name: n for name, n in differing.items() if n}
    result.write("java-trust-verdicts", cases=len(samples), reference_differs=differs, wrong=wrong[:20])
    print(f"{len(samples)} cases; the reference differs on", differs)
    assert wrong == []


def test_the_reference_verifies_what_we_signed_and_we_what_it_signed(java_class_path: str, tmp_path: Path) -> None:
    now = time.time()
    world, issuer = small_world()
    for name, number, above, permissions in (
        (ROOT, 0, (ROOT, 0), (Permission("", "everything"),)),
        (AUTHORITY, 1, (ROOT, 0), (Permission("", "everything"),)),
        (PREFIX, 2, (AUTHORITY, 1), UNDER_PREFIX),
    ):
        world.certify(name, key(number), Issuer(above[0], key(above[1])), permissions, now)
    ours = sign_record(HANDLE, VALUES, issuer, now)
    signing = _signing(HANDLE, ours[:-1], issuer, now)
    certifying = {
        **signing,
        "op": "certify",
        "subject": entity_text(PREFIX),
        "public": key(2).signer.public_key_octets.hex(),
        "issuer": entity_text(AUTHORITY),
        "key": key(1).signer.private_octets().hex(),
        "perms": [{"handle": "0.NA/99.900", "perm": "handlesUnderThisPrefix"}],
        "chain": [entity_text(AUTHORITY), entity_text(ROOT)],
    }
    verifying = {
        "op": "verify",
        "handle": to_text(HANDLE),
        "values": [value.to_octets().hex() for value in ours],
        "handles": {to_text(n): [v.to_octets().hex() for v in values] for n, values in world.handles.items()},
        "roots": [key(0).signer.public_key_octets.hex()],
    }
    verified, signed, certified = ask_java(java_class_path, tmp_path, [verifying, signing, certifying])
    assert verified == {"valid": True, "message": verified["message"]}, verified
    theirs = (*ours[:-1], HandleValue(400, "HS_SIGNATURE", signed["jws"].encode()))
    # Everything the reference was given it signed, the secret value too; what is not public need not be there.
    assert world.verdict(theirs, now=now).is_valid, world.verdict(theirs, now=now).lines()
    world.handles[PREFIX.handle] = (HandleValue(PREFIX.index, "HS_CERT", certified["jws"].encode()),)
    by_their_certificate = world.verdict(theirs, now=now)
    assert by_their_certificate.is_valid, by_their_certificate.lines()


def _signing(handle: bytes, values: tuple[HandleValue, ...], issuer: Issuer, now: float) -> dict[str, Any]:
    assert isinstance(issuer.key, HandleKey)
    return {
        "op": "sign",
        "handle": to_text(handle),
        "values": [value.to_octets().hex() for value in values],
        "issuer": entity_text(issuer.name),
        "key": issuer.key.signer.private_octets().hex(),
        "chain": [entity_text(name) for name in issuer.chain],
        "from": int(now) - 60,
        "until": int(now) + 3_600,
    }


def test_scopes_as_the_reference_reads_them(java_class_path: str, tmp_path: Path) -> None:
    cases = [(perm, scope, name) for perm in SCOPES for scope in NAMES for name in NAMES]
    commands = [{"op": "covers", "perm": perm, "scope": scope, "handle": name} for perm, scope, name in cases]
    answers = ask_java(java_class_path, tmp_path, commands)
    ours = [covers([Permission(scope, perm)], name.encode()) for perm, scope, name in cases]
    theirs = [answer["covers"] for answer in answers]
    assert [case for case, a, b in zip(cases, ours, theirs, strict=True) if a is not b] == []
    assert any(theirs)
    assert not all(theirs)
