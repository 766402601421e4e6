"""A node that resolves for others: the reference's way, the Chinese SDK's way, old clients, REST."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from idnode.adapters import SimulatedAdapters, real_adapters, run_simulated
from idnode.cli.main import app
from idnode.client.errors import NoAnswer
from idnode.client.resolver import Answer, Resolver
from idnode.config import NodeConfig, ResolutionConfig
from idnode.node import Node
from idnode.resolution.bootstrap import write_bootstrap
from idnode.resolution.roots import Roots
from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag, ResponseCode
from idnode_protocol.envelope import Envelope
from idnode_protocol.handle import ROOT_HANDLE
from idnode_protocol.header import EXPIRATION_S, Header
from idnode_protocol.message import Message, build
from idnode_protocol.requests import AnyRequest, ResolutionRequest, VerifyRequest, encode_request
from idnode_protocol.responses import ErrorResponse, ReferralResponse, ResolutionResponse, VerifyResponse
from idnode_protocol.value import HandleValue
from idnode_protocol.values.site import SiteInfo
from idnode_protocol.versions import CURRENT, Version
from tests.idnode.resolution.graphs import site_at
from tests.idnode.resolution.tree import SIGNER, Tree, growing, home, site_values, write

NAME = b"99.900/part-1"


def message(
    adapters: SimulatedAdapters,
    request: AnyRequest,
    *,
    opcode: int = OpCode.RESOLUTION,
    flags: int = REQUEST_FLAGS,
    version: Version = CURRENT,
    suggested: Version = CURRENT,
    recursion_count: int = 0,
) -> Message:
    header = Header(
        int(opcode),
        0,
        flags,
        recursion_count=recursion_count,
        expiration=int(adapters.clock.now()) + EXPIRATION_S,
    )
    envelope = Envelope(adapters.rng.request_id(), 0, version, suggested)
    return build(envelope, header, encode_request(request, version))


async def ask(node: Node, asked: Message, transports: tuple[str, ...] = ("udp", "tcp")) -> Answer:
    async with Resolver(str(node.udp_addresses[0]), adapters=node.adapters, transports=transports) as resolver:
        return await resolver.ask(asked)


def simulated(test: Callable[[SimulatedAdapters, Tree, Node], object]) -> None:
    """Run a test against a tree with a recursive node."""

    async def main(adapters: SimulatedAdapters) -> None:
        async with growing(adapters) as tree:
            await test(adapters, tree, await tree.recursive_node())  # type: ignore[misc]

    run_simulated(main, seed=1)


def test_without_rec_nothing_is_resolved_for_others() -> None:
    async def test(adapters: SimulatedAdapters, tree: Tree, node: Node) -> None:
        asked = message(adapters, ResolutionRequest(NAME), flags=REQUEST_FLAGS & ~int(OpFlag.REC))
        assert (await ask(node, asked)).code == ResponseCode.SERVER_NOT_RESPONSIBLE
        assert node.resolution is not None
        assert node.resolution.upstream.counters.packets == 0
        assert (await ask(tree.secondary, message(adapters, ResolutionRequest(b"99.901/x")))).code == 301

    simulated(test)


@pytest.mark.parametrize(("count", "code"), [(0, 1), (10, 1), (11, 6), (255, 6)])
def test_a_recursion_count_above_ten_is_refused(count: int, code: int) -> None:
    async def test(adapters: SimulatedAdapters, tree: Tree, node: Node) -> None:
        answer = await ask(node, message(adapters, ResolutionRequest(NAME), recursion_count=count))
        assert answer.code == code

    simulated(test)


def test_two_recursive_nodes_that_ask_each_other_end() -> None:
    async def test(adapters: SimulatedAdapters, tree: Tree, node: Node) -> None:
        other = await tree.recursive_node(Roots(caching=tuple(site for _, site in node.sites)))
        assert node.resolution is not None
        node.resolution.roots = Roots(caching=tuple(site for _, site in other.sites))
        began = adapters.clock.monotonic()
        with pytest.raises(NoAnswer, match="no server answered"):
            await ask(node, message(adapters, ResolutionRequest(NAME)), ("tcp",))
        assert adapters.clock.monotonic() - began < 6

    simulated(test)


def test_a_digest_and_a_signature_of_the_recursive_nodes_own() -> None:
    async def test(adapters: SimulatedAdapters, tree: Tree, node: Node) -> None:
        async with Resolver(
            str(node.udp_addresses[0]), adapters=adapters, public_key=SIGNER.public_key_octets
        ) as resolver:
            for _ in range(2):
                record = await resolver.resolve(NAME.decode(), certified=True)
                assert record.data("URL") == b"https://example.org/"

    simulated(test)


def test_the_sdks_way_of_asking() -> None:
    """Version 2.10, a bare prefix with type HS_SITE, an empty field behind the types: HS_SITE values, name as asked."""

    async def test(adapters: SimulatedAdapters, tree: Tree, node: Node) -> None:
        request = ResolutionRequest(b"99.900.1", (), ("HS_SITE",), b"\0\0\0\0")
        answer = await ask(node, message(adapters, request, version=Version(2, 10)), ("tcp",))
        assert isinstance(answer.response, ResolutionResponse)
        assert answer.response.handle == b"99.900.1"
        assert [SiteInfo.from_octets(value.data) for value in answer.response.values] == [tree.enterprise.site]

        # The prefix names a service handle only; the SDK follows none, so the node does.
        await write(tree.root, b"0.NA/99.902", HandleValue(1, "HS_SERV", b"99.900/service"))
        await write(tree.secondary, b"99.900/service", *site_values(tree.enterprise))
        request = replace(request, handle=b"99.902")
        answer = await ask(node, message(adapters, request, version=Version(2, 10)), ("tcp",))
        assert isinstance(answer.response, ResolutionResponse)
        assert [SiteInfo.from_octets(value.data) for value in answer.response.values] == [tree.enterprise.site]

    simulated(test)


def test_clients_older_than_2_10_are_not_referred() -> None:
    """The secondary refers derived prefixes with 303; for old clients it follows the referral itself, REC or not."""

    async def test(adapters: SimulatedAdapters, tree: Tree, node: Node) -> None:
        holder = await tree.node(roots=tree.roots)
        await home(holder, ROOT_HANDLE + b"/99.950")
        await home(holder, ROOT_HANDLE + b"/99")
        await write(holder, b"0.NA/99.950", *site_values(tree.enterprise, "HS_SITE.PREFIX"))
        await write(tree.root, b"0.NA/99.950", *site_values(tree.enterprise, "HS_SITE.PREFIX"))
        await home(tree.enterprise, ROOT_HANDLE + b"/99.950")
        await write(tree.enterprise, b"0.NA/99.950.1", *site_values(tree.enterprise))
        request = ResolutionRequest(b"0.NA/99.950.1")
        for flags in (REQUEST_FLAGS, REQUEST_FLAGS & ~int(OpFlag.REC)):
            for transports in (("udp",), ("tcp",)):
                new = await ask(holder, message(adapters, request, flags=flags), transports)
                assert isinstance(new.response, ReferralResponse)
                old = message(adapters, request, flags=flags, version=Version(2, 3), suggested=Version(2, 9))
                answer = await ask(holder, old, transports)
                assert isinstance(answer.response, ResolutionResponse)
                assert [value.type for value in answer.response.values] == ["HS_SITE"]

    simulated(test)


def test_proofs_are_checked_by_the_users_own_server() -> None:
    """Opcode 201 for a user who is not homed here goes to whoever holds the secret key."""

    async def test(adapters: SimulatedAdapters, tree: Tree, node: Node) -> None:
        secret = HandleValue(300, "HS_SECKEY", b"secret", permissions=0x0C)
        await write(tree.secondary, b"99.900/user", secret)
        nonce, digest = b"n" * 16, b"d" * 20
        right = b"\x02" + hashlib.sha1(b"secret" + nonce + digest + b"secret").digest()
        for proof, expected in ((right, True), (b"\x02" + bytes(20), False)):
            request = VerifyRequest(b"99.900/user", 300, nonce, digest, proof)
            answer = await ask(node, message(adapters, request, opcode=OpCode.VERIFY_ANSWER), ("tcp",))
            assert answer.response == VerifyResponse(expected)

    simulated(test)


def test_private_values_are_read_at_their_own_server() -> None:
    async def test(adapters: SimulatedAdapters, tree: Tree, node: Node) -> None:
        await write(tree.secondary, b"99.900/private", HandleValue(1, "URL", b"u", permissions=0x0C))
        flags = REQUEST_FLAGS & ~int(OpFlag.PO)
        answer = await ask(node, message(adapters, ResolutionRequest(b"99.900/private"), flags=flags))
        assert isinstance(answer.response, ErrorResponse)
        assert (answer.code, "own server" in answer.response.text) == (301, True)

    simulated(test)


async def test_rest_on_a_recursive_node() -> None:
    adapters = real_adapters()
    async with growing(adapters, http=True) as tree, aiohttp.ClientSession() as session:
        node = await tree.recursive_node(http=True)
        url = f"http://{node.http_addresses[0]}"
        await write(tree.secondary, b"99.900/now", HandleValue(1, "URL", b"u", ttl=0))
        for path, status in (("99.900/now", 200), ("99.900.1/part-1", 200), ("99.900/none", 404), ("97.1/x", 404)):
            async with session.get(f"{url}/api/handles/{path}") as response:
                body = await response.json()
                assert (response.status, body["handle"]) == (status, path), body
                assert response.headers["Age"] == "0"
                assert "stale" not in body
        async with session.get(f"{url}/api/explain/99.900.1/part-1") as response:
            told = await response.json()
            assert (response.status, told["outcome"]) == (200, "found")
            assert told["steps"][0]["step"] == "cache"
        for form in ("text", "mermaid"):
            async with session.get(f"{url}/api/explain/99.900/part-2?format={form}") as response:
                assert "99.900/part-2" in await response.text()
        page, people = f"{url}/99.900/now?noredirect", {"Accept": "text/html"}
        async with session.get(page, headers=people) as response:
            assert (response.status, "older answer" in await response.text()) == (200, False)
        await tree.secondary.stop()
        async with session.get(page, headers=people) as response:
            assert (response.status, "older answer" in await response.text()) == (200, True)
        async with session.get(f"{url}/api/handles/99.900/now") as response:
            body = await response.json()
            assert (response.status, body["stale"]) == (200, True)
            assert response.headers["Warning"].startswith("110 ")
    adapters.close()


async def test_a_node_reads_its_start_from_its_configuration(tmp_path: Path) -> None:
    adapters = real_adapters()
    async with growing(adapters) as tree:
        (tmp_path / "bootstrap_handles").write_bytes(write_bootstrap({ROOT_HANDLE: site_values(tree.root)}, 0))
        section = ResolutionConfig(client_config=tmp_path, recursion=True)
        config = NodeConfig(listen=tree.root.config.listen, resolution=section, role="recursive")
        async with Node(config, adapters, SIGNER) as node, Resolver.open(tmp_path, adapters=adapters) as walking:
            async with Resolver(str(node.udp_addresses[0]), adapters=adapters) as asking:
                for resolver in (asking, walking):
                    assert (await resolver.resolve("99.900/part-1")).data("URL") == b"https://example.org/"
            at = await walking.at("99.900/part-1")
            assert (await at.site()).servers == tree.secondary.site.servers
            await at.close()
    adapters.close()


def test_explain_from_the_command_line(tmp_path: Path) -> None:
    """No country here: the root does not answer, and the exit code says it."""
    value = HandleValue(1, "HS_SITE", site_at("127.0.0.1").to_octets())
    (tmp_path / "bootstrap_handles").write_bytes(write_bootstrap({ROOT_HANDLE: [value]}, 0))
    result = CliRunner().invoke(app, ["explain", "99.900/x", "--config-dir", str(tmp_path), "--json"])
    assert result.exit_code == 3
    assert json.loads(result.stdout)["steps"]
