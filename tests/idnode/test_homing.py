"""Homing, referrals and a site of two servers on real nodes, natively and by REST (docs/protocol.md §1.3, §6)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from idnode.adapters import real_adapters
from idnode.client.administrator import Administrator as Client
from idnode.client.errors import Refused
from idnode.client.resolver import Resolver
from idnode.config import AuthenticationConfig, ListenConfig, NodeConfig
from idnode.demo import Administrator, seed_administrator, seed_prefix
from idnode.node import Node
from idnode_protocol.codes import OpCode, ResponseCode
from idnode_protocol.json_form import value_to_json
from idnode_protocol.json_site import site_to_json
from idnode_protocol.requests import ValuesRequest, VerifyRequest
from idnode_protocol.responses import ReferralResponse
from idnode_protocol.value import HandleValue
from idnode_protocol.values.site import HashOption, SiteInfo
from idnode_registry.ask import Ask
from idnode_registry.crypto import Signer
from idnode_registry.place import Place

SIGNERS = (Signer.generate(), Signer.generate())
SECRET = b"a fictional secret"
NAMES = [f"99.900/part-{number}" for number in range(20)]
URL = HandleValue(1, "URL", b"https://example.org/")


@pytest.fixture
async def nodes() -> AsyncIterator[list[Node]]:
    """Two nodes with the same prefix and the same administrator, who may home prefixes; sites of one server each."""
    adapters = real_adapters()
    listen = ListenConfig(addresses=("127.0.0.1",), udp_port=0, tcp_port=0, http_port=0)
    rulers = AuthenticationConfig(server_admins=("300:99.900/ADMIN",))
    administrator = Administrator(b"99.900/ADMIN", SECRET, SIGNERS[0].public_key_octets)
    async with AsyncExitStack() as stack:
        running = []
        for signer in SIGNERS:
            node = Node(NodeConfig(prefixes=("99.900",), listen=listen, authentication=rulers), adapters, signer)
            running.append(await stack.enter_async_context(node))
            seed_prefix(node.registry, b"99.900", administrator, node.sites, adapters.clock.now())
            seed_administrator(node.registry, administrator, adapters.clock.now())
        yield running
    adapters.close()


async def rest(node: Node, method: str, path: str) -> tuple[int, Any]:
    """(status, body) of a call by the administrator."""
    credentials = aiohttp.encode_basic_auth("300%3A99.900/ADMIN", SECRET.decode())
    async with (
        aiohttp.ClientSession(headers={"Authorization": credentials}) as session,
        session.request(method, f"http://{node.http_addresses[0]}{path}") as answer,
    ):
        return answer.status, await answer.json()


async def code_of(node: Node, handle: str) -> int:
    """What a stranger gets by UDP, the second time too, when the answer is a kept one."""
    codes = []
    for _ in range(2):
        async with Resolver(str(node.tcp_addresses[0])) as resolver:
            try:
                await resolver.resolve(handle)
                codes.append(1)
            except Refused as refused:
                codes.append(refused.code)
    assert len(set(codes)) == 1
    return codes[0]


@pytest.mark.parametrize("way", ["protocol", "REST"])
async def test_homing_and_unhoming(nodes: list[Node], way: str) -> None:
    node = nodes[0]
    homings = len(node.store.feed(b"*HOMED", 0, 0, 100))

    async def change(*, is_on: bool) -> None:
        if way == "REST":
            method = "POST" if is_on else "DELETE"
            assert (await rest(node, method, "/api/prefixes/0.NA/99.901"))[0] == 200
            return
        async with Resolver(str(node.tcp_addresses[0])) as resolver:
            client = Client(resolver, "99.900/ADMIN", 300, secret=SECRET)
            await (client.home if is_on else client.unhome)("0.NA/99.901")

    found = [await code_of(node, "99.901/x")]
    for is_on in (True, False, True):
        await change(is_on=is_on)
        found.append(await code_of(node, "99.901/x"))
    assert found == [301, 100, 301, 100]
    assert len(node.store.feed(b"*HOMED", 0, 0, 100)) == homings + 3
    assert "0.NA/99.901" in (await rest(node, "GET", "/api/prefixes"))[1]["prefixes"]
    assert list(node.registry.check()) == []


async def test_only_those_the_settings_list_may_home(nodes: list[Node]) -> None:
    url = f"http://{nodes[0].http_addresses[0]}/api/prefixes/0.NA/99.901"
    async with aiohttp.ClientSession() as session, session.post(url) as answer:
        assert answer.status == 401
    key = HandleValue(305, "HS_SECKEY", SECRET, permissions=0x0C)
    assert (await nodes[0].ask(Ask(OpCode.ADD_VALUES, ValuesRequest(b"99.900/ADMIN", (key,))))).is_success
    async with Resolver(str(nodes[0].tcp_addresses[0])) as resolver:
        client = Client(resolver, "99.900/ADMIN", 305, secret=SECRET)
        with pytest.raises(Refused) as refused:
            await client.home("0.NA/99.901")
    assert refused.value.code == ResponseCode.INVALID_ADMIN
    assert await code_of(nodes[0], "99.901/x") == 301


async def test_a_referral_by_every_transport_and_as_json(nodes: list[Node]) -> None:
    site = nodes[1].sites[0][1].to_octets()
    delegation = HandleValue(7, "HS_SITE.PREFIX", site, permissions=0x0E)
    assert (await nodes[0].ask(Ask(OpCode.ADD_VALUES, ValuesRequest(b"0.NA/99.900", (delegation,))))).is_success
    async with Resolver(str(nodes[0].tcp_addresses[0]), http_url=f"http://{nodes[0].http_addresses[0]}") as resolver:
        proof = VerifyRequest(b"0.NA/99.900.1", 300, bytes(16), bytes(32), b"\x03" + bytes(32))
        for transport in ("udp", "tcp", "http"):
            for opcode, request in ((OpCode.VERIFY_ANSWER, proof), (OpCode.CREATE_HANDLE, values_request())):
                answer = await resolver.ask(resolver.request(opcode, request), [transport])
                if transport == "udp" and opcode == OpCode.CREATE_HANDLE:
                    assert answer.code == ResponseCode.PROTOCOL_ERROR  # the interface is for queries only
                    continue
                assert answer.code == ResponseCode.PREFIX_REFERRAL
                assert isinstance(answer.response, ReferralResponse)
                assert answer.response.handle == b""
                assert [value.data for value in answer.response.values or ()] == [site]
    status, body = await rest(nodes[0], "GET", "/api/handles/0.NA/99.900.1")
    stored = [value for value in nodes[0].registry.values(b"0.NA/99.900") or () if value.index == 7]
    expected = {"responseCode": 303, "handle": "0.NA/99.900.1", "values": [value_to_json(stored[0])]}
    assert (status, body) == (300, expected)
    assert (await rest(nodes[0], "GET", "/api/handles/0.NA/99.900.1?doNotRefer"))[0] == 404


def values_request() -> ValuesRequest:
    return ValuesRequest(b"0.NA/99.900.1", (URL,))


def common_site(nodes: list[Node]) -> SiteInfo:
    """One record for both nodes."""
    servers = [replace(node.site.servers[0], server_id=number + 1) for number, node in enumerate(nodes)]
    return replace(nodes[0].site, servers=tuple(servers), serial=7)


async def test_a_site_of_two_servers_shares_its_names(nodes: list[Node]) -> None:
    before = [await code_of(node, NAMES[0]) for node in nodes]
    site = common_site(nodes)
    for number, node in enumerate(nodes):
        await node.join_site(site, number + 1)
        assert (await rest(node, "GET", "/api/site"))[1]["site"]["serialNumber"] == 7
    holders: list[list[int]] = [[await code_of(node, name) for node in nodes] for name in NAMES]
    assert before == [100, 100]
    assert {tuple(codes) for codes in holders} == {(100, 301), (301, 100)}
    for name, codes in zip(NAMES, holders, strict=True):
        for node, code in zip(nodes, codes, strict=True):
            async with Resolver(str(node.tcp_addresses[0])) as resolver:
                client = Client(resolver, "99.900/ADMIN", 300, secret=SECRET)
                if code == 100:
                    assert await client.create(name, [URL, client.admin_value()]) == name
                else:
                    with pytest.raises(Refused, match="of the 2 of this site"):
                        await client.create(name, [URL])
    listed = []
    for node in nodes:
        async with Resolver(str(node.tcp_addresses[0])) as resolver:
            client = Client(resolver, "99.900/ADMIN", 300, secret=SECRET)
            listed.append({name async for name in client.list("0.NA/99.900")} - {"99.900/ADMIN"})
    assert listed[0] | listed[1] == set(NAMES)
    assert not listed[0] & listed[1]


async def test_a_record_that_describes_somebody_else_is_refused(nodes: list[Node]) -> None:
    site, before = common_site(nodes), nodes[0].site
    with pytest.raises(ValueError, match="server 2 of the site record has another key than this node"):
        await nodes[0].join_site(site, 2)
    with pytest.raises(ValueError, match="no server with id 3"):
        await nodes[0].join_site(site, 3)
    assert nodes[0].site == before


@pytest.mark.parametrize("form", ["octets", "json"])
async def test_the_site_record_in_a_file(nodes: list[Node], tmp_path: Path, form: str) -> None:
    site = common_site(nodes)
    octets = site.to_octets() if form == "octets" else json.dumps(site_to_json(site)).encode()
    (tmp_path / "site").write_bytes(octets)
    config = nodes[1].config.model_copy(update={"site_file": tmp_path / "site", "server_id": 2})
    async with Node(config, nodes[1].adapters, SIGNERS[1]) as node:
        assert node.site == site
        assert node.registry.place == Place(2, 1, 2, HashOption.WHOLE)


@pytest.mark.parametrize("octets", [b"", b"{", b'{"servers": 1}', b"\0\1\2\13"])
async def test_a_file_without_a_site_record(nodes: list[Node], tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "site").write_bytes(octets)
    config = nodes[1].config.model_copy(update={"site_file": tmp_path / "site"})
    node = Node(config, nodes[1].adapters, SIGNERS[1])
    with pytest.raises(ValueError, match="holds no site record"):
        await node.start()
    assert not node.is_running
