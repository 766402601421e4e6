"""The reference's verifier (net.handle.hdllib.trust) beside ours: the laboratory's cases, and each other's records."""

from __future__ import annotations

import base64
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from idnode.adapters import real_adapters
from idnode.client.errors import NoAnswer
from idnode.client.resolver import Resolver
from idnode.country.country import Country
from idnode.country.nodes import Habits
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
from tests.idnode.resolution.tree import growing, write
from tests.idnode.trust.test_verifying_node import signed
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


async def test_the_reference_verifies_what_signing_nodes_wrote_over_the_wire(
    java_class_path: str, tmp_path: Path
) -> None:
    """Records made by protocol and by REST, taken with their certificates from a recursive node that requires them."""
    habits = Habits(("127.0.0.1",), trust="require")
    async with Country.start("minimal", habits=habits) as country, aiohttp.ClientSession() as session:
        for prefix in ("99", "99.900", "99.900.1001"):
            holder = country.node(prefix)
            await country.register(f"{prefix}/by-protocol", [*VALUES[:2], HandleValue(3, "标识", "数据".encode())])
            async with country.administrator(prefix) as admin:
                await admin.modify(f"{prefix}/by-protocol", [HandleValue(2, "DESC", b"changed after it was signed")])
            user = f"{quote(f'300:{holder.administrator}', safe='/')}:{holder.secret}"
            headers = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()}
            body = [{"index": 1, "type": "URL", "data": "https://example.org/"}]
            url = f"{holder.http}/api/handles/{prefix}/by-rest"
            async with session.put(url, json=body, headers=headers) as answer:
                assert answer.status == 201, await answer.text()
        names = [f"{prefix}/{way}" for prefix in ("99", "99.900", "99.900.1001") for way in ("by-protocol", "by-rest")]
        records = {name: (await country.resolve(name)).values for name in names}
        signers = [f"0.ADMIN/SIGNER.{name}" for name in ("top", "demo", "enterprise")]
        above = {name: (await country.resolve(name)).values for name in (*signers, "0.0/0.0")}
        root = country.root.node.signer.public_key_octets.hex()
    commands = []
    for name, values in records.items():
        damaged = tuple(replace(value, data=value.data + b"!") if value.index == 1 else value for value in values)
        for judged in (values, damaged):
            case = {"op": "verify", "handle": name, "values": [value.to_octets().hex() for value in judged]}
            handles = {at: [value.to_octets().hex() for value in found] for at, found in above.items()}
            commands.append({**case, "handles": handles, "roots": [root]})
    answers = ask_java(java_class_path, tmp_path, commands)
    assert [answer["valid"] for answer in answers] == [True, False] * len(records), answers


async def test_a_node_that_requires_signatures_takes_the_references(java_class_path: str, tmp_path: Path) -> None:
    async with growing(real_adapters()) as tree:
        world = await signed(tree, "require")
        now = tree.adapters.clock.now()
        values = (VALUES[0], VALUES[1])
        (answer,) = ask_java(java_class_path, tmp_path, [_signing(b"99.900/java", values, world.issuer, now)])
        signature = HandleValue(400, "HS_SIGNATURE", answer["jws"].encode())
        await write(tree.secondary, b"99.900/java", *values, signature)
        await write(tree.secondary, b"99.900/other", *values, signature)
        async with Resolver(str(world.node.tcp_addresses[0]), transports=("tcp",)) as resolver:
            assert (await resolver.resolve("99.900/java")).data("HS_SIGNATURE") == signature.data
            with pytest.raises(NoAnswer, match=r"it is a signature of 99\.900/java, not of 99\.900/other"):
                await resolver.resolve("99.900/other")


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
