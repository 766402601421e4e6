"""A recursive node with trust.verify: what it tells, what it withholds, what it may cost."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from idnode.adapters import Adapters, SimulatedAdapters, real_adapters, run_simulated
from idnode.client.errors import NoAnswer
from idnode.client.resolver import Answer, Resolver
from idnode.config import NodeConfig, ResolutionConfig, TrustConfig
from idnode.node import Node
from idnode.resolution.roots import Roots
from idnode.trust.verification import RecordNotTrusted, trust_of
from idnode.trust.verifier import NOT_CHECKED_S, VERDICT_S, VERIFY_S_MAX
from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag, ResponseCode
from idnode_protocol.handle import ROOT_HANDLE
from idnode_protocol.requests import ResolutionRequest
from idnode_protocol.responses import ResolutionResponse
from idnode_protocol.value import HandleValue
from idnode_registry.trust.errors import NoTrustRoot
from idnode_registry.trust.issue import Issuer, sign_record
from tests.idnode.resolution.graphs import site_at
from tests.idnode.resolution.tree import SIGNER, Tree, growing, home, site_values, write
from tests.registry.trust.trust_world import AUTHORITY, EVERYTHING, PREFIX, ROOT, UNDER_PREFIX, World, key

NAMES = {"valid": b"99.900/whole", "invalid": b"99.900/broken", "not signed": b"99.900/part-1"}
NOBODY = "127.0.1.99"
VALUES = (
    HandleValue(1, "URL", b"https://example.org/whole", ttl=600),
    HandleValue(2, "DESC", b"a fictional part", ttl=600),
)


@dataclass
class Signed:
    """A tree with signed records, and a recursive node that verifies in front of it."""

    tree: Tree
    node: Node
    issuer: Issuer

    def verdicts(self) -> dict[str, int]:
        """Verdict -> how often it was made, from the metrics."""
        found = self.node.metrics.exposition().decode().splitlines()
        lines = [line for line in found if line.startswith("hdl_verdicts_total{")]
        return {line.split('"')[1].replace("_", " "): int(float(line.split()[-1])) for line in lines}

    @property
    def packets(self) -> int:
        assert self.node.resolution is not None
        return self.node.resolution.upstream.counters.packets


async def signed(tree: Tree, verify: str, *, http: bool = False, limits: dict[str, Any] | None = None) -> Signed:
    now = tree.adapters.clock.now()
    world = World()
    world.certify(ROOT, key(0), Issuer(ROOT, key(0)), EVERYTHING, now)
    world.certify(AUTHORITY, key(1), Issuer(ROOT, key(0)), EVERYTHING, now)
    world.certify(PREFIX, key(2), Issuer(AUTHORITY, key(1)), UNDER_PREFIX, now)
    issuer = Issuer(PREFIX, key(2), (PREFIX, AUTHORITY, ROOT))
    await home(tree.root, b"0.NA/0.0")
    await write(tree.root, b"0.0/0.0", *world.handles[ROOT.handle])
    await write(tree.root, ROOT_HANDLE, *site_values(tree.root), *world.handles[AUTHORITY.handle])
    delegation = (*site_values(tree.secondary), *site_values(tree.secondary, "HS_SITE.PREFIX", 11))
    await write(tree.root, b"0.NA/99.900", *delegation, *world.handles[PREFIX.handle])
    whole = sign_record(NAMES["valid"], VALUES, issuer, now)
    await write(tree.secondary, NAMES["valid"], *whole)
    broken = sign_record(NAMES["invalid"], VALUES, issuer, now)
    await write(tree.secondary, NAMES["invalid"], replace(broken[0], data=b"https://example.net/"), *broken[1:])
    trust = TrustConfig(verify=verify)  # type: ignore[arg-type]
    roots = replace(tree.roots, keys=(key(0).signer.public_key_octets,))
    sections: dict[str, Any] = {"role": "recursive", "resolution": ResolutionConfig(recursion=True), "trust": trust}
    return Signed(tree, await tree.node(http=http, roots=roots, **sections, **(limits or {})), issuer)


def simulated(verify: str, test: Callable[[Signed], Awaitable[None]]) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with growing(adapters) as tree:
            await test(await signed(tree, verify))

    run_simulated(main, seed=1)


async def ask(
    node: Node,
    name: bytes,
    types: Sequence[str] = (),
    indexes: Sequence[int] = (),
    flags: int = REQUEST_FLAGS,
    transports: Sequence[str] = ("udp", "tcp"),
) -> Answer:
    async with Resolver(str(node.udp_addresses[0]), adapters=node.adapters, transports=transports) as resolver:
        request = ResolutionRequest(name, tuple(indexes), tuple(types))
        message = resolver.request(OpCode.RESOLUTION, request, flags)
        return await resolver.ask(message)


async def refused(node: Node, name: bytes, types: Sequence[str] = ()) -> str:
    """The text with which code 2 is given."""
    with pytest.raises(NoAnswer) as told:
        await ask(node, name, types)
    return str(told.value)


def values_of(answer: Answer) -> list[bytes]:
    assert isinstance(answer.response, ResolutionResponse)
    return [value.to_octets() for value in answer.response.values]


def test_report_changes_no_octet_and_counts_each_verdict() -> None:
    async def test(world: Signed) -> None:
        plain = await world.tree.recursive_node()
        for name in NAMES.values():
            for types, indexes in (((), ()), (("URL",), ()), ((), (2,)), (("HS_SIGNATURE", "X"), (1,)), (("X",), ())):
                for flags in (REQUEST_FLAGS, REQUEST_FLAGS & ~int(OpFlag.PO), REQUEST_FLAGS | int(OpFlag.AT)):
                    reported = await ask(world.node, name, types, indexes, flags)
                    expected = await ask(plain, name, types, indexes, flags)
                    assert reported.message.body == expected.message.body
                    assert reported.message.header.response_code == expected.message.header.response_code
        assert world.verdicts() == dict.fromkeys(NAMES, 1)

    simulated("report", test)


def test_require_gives_what_is_valid_and_says_why_it_withholds_the_rest() -> None:
    async def test(world: Signed) -> None:
        for types in ((), ("URL",)):
            assert (await ask(world.node, NAMES["valid"], types)).code == ResponseCode.SUCCESS
            assert "withheld, its signatures are invalid: signature 400" in await refused(
                world.node, NAMES["invalid"], types
            )
            assert "value 1 changed after the signature was made" in await refused(world.node, NAMES["invalid"], types)
            text = await refused(world.node, NAMES["not signed"], types)
            assert "withheld, its signatures are not signed: the record carries no HS_SIGNATURE value" in text
        assert (await ask(world.node, b"99.900/none")).code == ResponseCode.HANDLE_NOT_FOUND
        assert (await ask(world.node, NAMES["valid"], ("X",))).code == ResponseCode.VALUES_NOT_FOUND

    simulated("require", test)


def test_a_verdict_is_remembered_for_a_minute_and_then_made_anew() -> None:
    """A certificate that is withdrawn is noticed then, though the record itself is still remembered."""

    async def test(world: Signed) -> None:
        for _ in range(5):
            assert (await ask(world.node, NAMES["valid"])).code == ResponseCode.SUCCESS
        assert world.verdicts() == {"valid": 1}
        await write(world.tree.root, b"0.NA/99.900", *site_values(world.tree.secondary))
        assert world.node.resolution is not None
        world.node.resolution.note_change(b"0.NA/99.900", everything=True)
        packets = world.packets
        assert (await ask(world.node, NAMES["valid"])).code == ResponseCode.SUCCESS, "answered without a packet"
        assert (world.verdicts(), world.packets) == ({"valid": 1}, packets)
        await world.tree.adapters.clock.sleep(VERDICT_S + 1)
        assert "has no HS_CERT value" in await refused(world.node, NAMES["valid"])
        assert world.verdicts() == {"valid": 1, "invalid": 1}

    simulated("require", test)


def test_what_could_not_be_checked_is_tried_again_soon() -> None:
    async def test(world: Signed) -> None:
        elsewhere = Issuer(replace(PREFIX, handle=b"0.NA/99.990"), key(2), (replace(PREFIX, handle=b"99.990/cert"),))
        name = b"99.900/unreachable"
        await write(world.tree.secondary, name, *sign_record(name, VALUES, elsewhere, world.tree.adapters.clock.now()))
        await write(world.tree.root, b"0.NA/99.990", HandleValue(1, "HS_SITE", site_at(NOBODY).to_octets()))
        assert "not checked: signature 400: 301:99.990/cert: not checked" in await refused(world.node, name)
        await refused(world.node, name)
        assert world.verdicts() == {"not checked": 1}
        await world.tree.adapters.clock.sleep(NOT_CHECKED_S + 1)
        await refused(world.node, name)
        assert world.verdicts() == {"not checked": 2}

    simulated("require", test)


def test_an_answer_out_of_several_records_is_no_record() -> None:
    """The Chinese SDK's question, answered out of service handles' records."""

    async def test(world: Signed) -> None:
        await write(world.tree.root, b"0.NA/99.902", HandleValue(1, "HS_SERV", b"99.900/service"))
        await write(world.tree.secondary, b"99.900/service", *site_values(world.tree.enterprise))
        text = await refused(world.node, b"99.902", ("HS_SITE",))
        assert "not checked: put together out of several records" in text

    simulated("require", test)


def test_one_account_for_the_walk_and_all_certificates() -> None:
    """Eight signatures whose issuers lie under as many prefixes, each behind service handles of its own."""

    async def test(world: Signed) -> None:
        now, name = world.tree.adapters.clock.now(), b"99.900/costly"
        values: tuple[HandleValue, ...] = VALUES
        for number in range(8):
            prefix = f"99.98{number}".encode()
            services = [f"99.900/service-{number}-{step}".encode() for step in range(4)]
            await write(world.tree.root, b"0.NA/" + prefix, HandleValue(1, "HS_SERV", services[0]))
            for here, there in pairwise(services):
                await write(world.tree.secondary, here, HandleValue(1, "HS_SERV", there))
            await write(world.tree.secondary, services[-1], *site_values(world.tree.secondary))
            above = replace(PREFIX, handle=prefix + b"/cert")
            values = sign_record(name, values, Issuer(above, key(2), (above,)), now)
        await write(world.tree.secondary, name, *values)
        packets = world.packets
        assert (await ask(world.node, name)).code == ResponseCode.SUCCESS
        assert world.packets - packets == 32
        assert world.verdicts() == {"not checked": 1}
        # What the costly record spent is no failure of the prefix at which nothing was left.
        for number in range(8):
            assert (await ask(world.node, f"99.98{number}/cert".encode())).code == ResponseCode.SERVER_NOT_RESPONSIBLE

    simulated("report", test)


def test_a_verification_ends_when_servers_do_not_answer() -> None:
    async def test(world: Signed) -> None:
        now, name = world.tree.adapters.clock.now(), b"99.900/slow"
        values: tuple[HandleValue, ...] = VALUES
        for number in range(8):
            prefix = f"99.98{number}".encode()
            site = site_at(f"127.0.1.{number + 1}")
            await write(world.tree.root, b"0.NA/" + prefix, HandleValue(1, "HS_SITE", site.to_octets()))
            above = replace(PREFIX, handle=prefix + b"/cert")
            values = sign_record(name, values, Issuer(above, key(2), (above,)), now)
        await write(world.tree.secondary, name, *values)
        began = world.tree.adapters.clock.monotonic()
        assert (await ask(world.node, name)).code == ResponseCode.SUCCESS
        assert world.tree.adapters.clock.monotonic() - began <= VERIFY_S_MAX + 0.5
        assert world.verdicts() == {"not checked": 1}

    simulated("report", test)


def test_a_selection_is_of_the_record_that_was_judged() -> None:
    """A client that does not set PO has answers of its own remembered; one of them is older than the record."""

    async def test(world: Signed) -> None:
        name, flags = NAMES["valid"], REQUEST_FLAGS & ~int(OpFlag.PO)
        before = values_of(await ask(world.node, name, ("DESC",), flags=flags))
        changed = (VALUES[0], replace(VALUES[1], data=b"another part"))
        await write(world.tree.secondary, name, *sign_record(name, changed, world.issuer, 1_800_000_000.0))
        await ask(world.node, name, flags=REQUEST_FLAGS | int(OpFlag.AT))
        with pytest.raises(NoAnswer, match="the record changed while it was asked for; ask again"):
            await ask(world.node, name, ("DESC",), flags=flags, transports=("tcp",))
        after = values_of(await ask(world.node, name, ("DESC",), flags=flags))
        assert before != after
        assert [value.endswith(b"another part\0\0\0\0") for value in after] == [True]

    simulated("require", test)


async def test_rest_the_log_and_explain_tell_the_verdict(caplog: pytest.LogCaptureFixture) -> None:
    async with growing(real_adapters()) as tree:
        world = await signed(tree, "report", http=True)
        url = f"http://{world.node.http_addresses[0]}/api"
        async with aiohttp.ClientSession() as session:
            for verdict, name in NAMES.items():
                async with session.get(f"{url}/handles/{name.decode()}?type=URL") as answer:
                    body = await answer.json()
                    assert (answer.status, body["signatures"]["verdict"]) == (200, verdict)
                    assert len(body["values"]) == 1
            async with session.get(f"{url}/explain/{NAMES['invalid'].decode()}?type=URL") as answer:
                told = await answer.json()
            async with session.get(f"{url}/explain/{NAMES['valid'].decode()}?format=text") as answer:
                text = await answer.text()
        assert told["signatures"]["verdict"] == "invalid"
        (signature,) = [step for step in told["steps"] if step["step"] == "signature"]
        assert (signature["subject"], signature["verdict"]) == ("400:99.900/broken", "wrong digest")
        assert [(link["subject"], link["verdict"]) for link in signature["steps"]] == [
            ("400:99.900/broken", "wrong digest"),
            ("301:0.NA/99.900", "valid"),
            ("301:0.NA/0.NA", "valid"),
            ("301:0.0/0.0", "valid"),
        ]
        assert "signature 400:99.900/whole: verdict valid" in text
        lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "idnode"]
        judged = [line for line in lines if line["event"] == "not-valid"]
        assert {(line["handle"], line["verdict"], line["withheld"]) for line in judged} == {
            ("99.900/broken", "invalid", False)
        }


async def test_rest_withholds_with_the_reason() -> None:
    async with growing(real_adapters()) as tree:
        world = await signed(tree, "require", http=True)
        url = f"http://{world.node.http_addresses[0]}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/api/handles/{NAMES['invalid'].decode()}") as answer:
                body = await answer.json()
                assert (answer.status, body["responseCode"], body["signatures"]["verdict"]) == (500, 2, "invalid")
                assert "values" not in body
            async with session.get(f"{url}/{NAMES['invalid'].decode()}?noredirect") as answer:
                assert "withheld" in await answer.text()
            async with session.get(f"{url}/api/handles/{NAMES['valid'].decode()}") as answer:
                assert answer.status == 200


async def test_a_node_that_cannot_verify_does_not_start() -> None:
    async def start(adapters: Adapters, roots: Roots | None) -> None:
        Node(NodeConfig(trust=TrustConfig(verify="report")), adapters, SIGNER, roots=roots)

    async with growing(real_adapters()) as tree:
        with pytest.raises(NoTrustRoot, match=r"resolution\.client_config"):
            await start(tree.adapters, None)
        with pytest.raises(NoTrustRoot, match=r"trust\.root_files"):
            await start(tree.adapters, tree.roots)


def test_a_client_judges_every_record_on_the_way_on_one_account() -> None:
    """Aliases of aliases. A record of five signatures costs eight checks, so four and the last one exceed 32."""

    async def test(world: Signed) -> None:
        now = world.tree.adapters.clock.now()
        for at, to in (("e", "a"), ("a", "b"), ("b", "c"), ("c", "whole")):
            values: tuple[HandleValue, ...] = (HandleValue(1, "HS_ALIAS", f"99.900/{to}".encode()),)
            for age_s in range(5):
                values = sign_record(f"99.900/{at}".encode(), values, world.issuer, now - age_s)
            await write(world.tree.secondary, f"99.900/{at}".encode(), *values)
        await write(world.tree.secondary, b"99.900/d", HandleValue(1, "HS_ALIAS", NAMES["valid"]))
        trust = trust_of([key(0).signer.public_key_octets])
        async with Resolver(roots=world.tree.roots, adapters=world.tree.adapters, trust=trust) as resolver:
            found = {}
            for name in ("c", "a", "e", "d"):
                record = await resolver.resolve(f"99.900/{name}", follow_aliases=True, verify="report")
                assert (record.handle, record.verdict is None) == ("99.900/whole", False)
                assert record.verdict is not None
                found[name] = (record.verdict.handle, record.verdict.outcome.value)
            assert found == {
                "c": ("99.900/whole", "valid"),
                "a": ("99.900/whole", "valid"),
                "e": ("99.900/whole", "not checked"),
                "d": ("99.900/d", "not signed"),
            }
            with pytest.raises(RecordNotTrusted, match=r"99\.900/d is withheld: not signed"):
                await resolver.resolve("99.900/d", follow_aliases=True, verify="require")
            told = await resolver.explain("99.900/d", follow_aliases=True)
            assert told.signatures is not None
            assert told.signatures.handle == "99.900/d"
            assert [step.subject for step in told.steps if step.kind == "verify"] == ["99.900/d"]

    simulated("off", test)
