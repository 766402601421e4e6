"""Our own administration client against a real node: both kinds of key, every transport, with and without sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from idnode.adapters import SimulatedAdapters, real_adapters, run_simulated
from idnode.client.administrator import Administrator
from idnode.client.errors import HandleNotFound, NoSession, Refused, SessionLost, Untrusted
from idnode.client.resolver import Resolver
from idnode.node import Node
from idnode_protocol.codes import OpCode, ResponseCode
from idnode_protocol.envelope import Envelope
from idnode_protocol.message import build, decode_message
from idnode_protocol.responses import SessionSetupResponse, decode_response, encode_response
from idnode_protocol.session_keys import decode_exchange, encode_exchange
from idnode_protocol.value import HandleValue
from tests.idnode.client.hostile_relay import ADMIN_SIGNER, SECRET, SIGNER, Relay, node_with, relayed

URL = HandleValue(1, "URL", b"https://example.org/1")
PRIVATE = HandleValue(7, "EMAIL", b"private@example.org", permissions=0x0C)
KEYS: dict[str, dict[str, Any]] = {"seckey": {"secret": SECRET}, "pubkey": {"signer": ADMIN_SIGNER}}
INDEXES = {"seckey": 300, "pubkey": 301}


def counted(node: Node, name: str, **labels: str) -> int:
    """The sum over the series of a counter that carry these labels."""
    return int(
        sum(
            sample.value
            for family in node.metrics.registry.collect()
            for sample in family.samples
            if sample.name == f"{name}_total" and labels.items() <= sample.labels.items()
        )
    )


def administrator(resolver: Resolver, method: str, **more: Any) -> Administrator:
    return Administrator(resolver, "99.900/ADMIN", INDEXES[method], **KEYS[method], **more)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    adapters = real_adapters()
    async with node_with(adapters) as running:
        yield running
    adapters.close()


@pytest.fixture
async def relay(node: Node) -> AsyncIterator[tuple[Relay, str]]:
    async with relayed(node) as both:
        yield both


@pytest.mark.parametrize("session", [True, False], ids=["session", "without"])
@pytest.mark.parametrize("transport", ["tcp", "http", "udp"])
@pytest.mark.parametrize("method", ["seckey", "pubkey"])
async def test_the_life_of_a_handle(node: Node, method: str, transport: str, session: bool) -> None:
    server = f"http://{node.http_addresses[0]}" if transport == "http" else str(node.tcp_addresses[0])
    async with Resolver(server, transports=(transport,), public_key=SIGNER.public_key_octets) as resolver:
        async with administrator(resolver, method, transports=(transport,), session=session) as admin:
            assert await admin.create("99.900/part", [URL, PRIVATE, admin.admin_value()]) == "99.900/part"
            await admin.modify("99.900/part", [HandleValue(1, "URL", b"https://example.org/2")])
            await admin.add("99.900/part", [HandleValue(2, "EMAIL", b"part@example.org")])
            await admin.remove("99.900/part", [2])
            record = await admin.resolve("99.900/part")
            assert [value.index for value in record.values] == [1, 7, 100]
            assert record.data("EMAIL") == b"private@example.org"
            with pytest.raises(Refused) as there:
                await admin.create("99.900/part", [URL])
            assert there.value.code == ResponseCode.HANDLE_ALREADY_EXISTS
            if transport != "udp":
                assert [name async for name in admin.list("99.900")] == ["99.900/ADMIN", "99.900/part"]
            await admin.delete("99.900/part")
            live = len(node.sessions)
        with pytest.raises(HandleNotFound):
            await resolver.resolve("99.900/part")
    proofs, requests = counted(node, "hdl_auth", method=method, result="ok"), 7 if transport == "udp" else 8
    macs = counted(node, "hdl_auth", method="session", result="ok")
    in_session = counted(node, "hdl_session_requests", transport=transport)
    encrypted = counted(node, "hdl_session_requests", encrypted="yes", op="100")
    setups = counted(node, "hdl_auth", method="session setup", result="ok")
    # In a session the first request is challenged: its answer makes two, the end of the session one more, and the one
    # create that brought a private value was encrypted. Without, all are challenged but the one that said 101.
    expected = (1, requests, requests + 2, 1, 1, 1) if session else (requests - 1, 0, 0, 0, 0, 0)
    assert (proofs, macs, in_session, encrypted, setups, live) == expected
    assert counted(node, "hdl_auth", result="refused") == 0
    assert len(node.sessions) == 0


async def test_many_at_once_share_one_session_and_one_proof(node: Node, relay: tuple[Relay, str]) -> None:
    """The first alone, since it proves the session; the others together."""
    async with Resolver(relay[1]) as resolver, administrator(resolver, "seckey") as admin:
        await asyncio.gather(*(admin.create(f"99.900/p{number}", [URL]) for number in range(4)))
        assert relay[0].under_way_max >= 2
        await asyncio.gather(*(admin.create(f"99.900/q{number}", [URL]) for number in range(20)))
        names = [name async for name in admin.list("99.900")]
    assert len(names) == 25
    assert counted(node, "hdl_auth", method="session setup") == 1
    assert counted(node, "hdl_auth", method="seckey") == 1


async def test_a_list_may_be_used_while_it_runs(node: Node) -> None:
    """Also when the list is the session's first request: its turn ends before the caller gets a name."""
    async with Resolver(str(node.tcp_addresses[0])) as resolver:
        async with administrator(resolver, "seckey") as admin:
            await asyncio.gather(
                *(admin.create(f"99.900/p{number:03}", [URL, admin.admin_value()]) for number in range(60))
            )
        async with administrator(resolver, "seckey") as admin, asyncio.timeout(20):
            async for name in admin.list("99.900"):
                if name != "99.900/ADMIN":
                    await admin.delete(name)
            assert [name async for name in admin.list("99.900")] == ["99.900/ADMIN"]


@pytest.mark.parametrize("where", [-1, 44, 100], ids=["MAC", "body", "credential"])
async def test_a_changed_answer_is_not_believed(node: Node, relay: tuple[Relay, str], where: int) -> None:
    def flip(octets: bytes) -> bytes:
        changed = bytearray(octets)
        changed[where] ^= 1
        return bytes(changed)

    async with Resolver(relay[1]) as resolver, administrator(resolver, "seckey", transports=("tcp",)) as admin:
        await admin.create("99.900/part", [URL, admin.admin_value()])
        relay[0].reply = flip
        with pytest.raises(Untrusted):
            await admin.resolve("99.900/part")
        relay[0].reply = lambda octets: octets
        assert (await admin.resolve("99.900/part")).data("URL") == URL.data


async def test_an_answer_without_a_mac_is_not_believed(node: Node, relay: tuple[Relay, str]) -> None:
    def bare(octets: bytes) -> bytes:
        envelope = Envelope.from_octets(octets)
        body = int.from_bytes(octets[40:44], "big")
        kept = octets[:16] + (24 + body + 4).to_bytes(4, "big") + octets[20 : 44 + body] + bytes(4)
        assert envelope.session_id
        return kept

    async with Resolver(relay[1]) as resolver, administrator(resolver, "seckey", transports=("tcp",)) as admin:
        await admin.create("99.900/part", [URL, admin.admin_value()])
        relay[0].reply = bare
        with pytest.raises(Untrusted, match="no MAC"):
            await admin.delete("99.900/part")
        relay[0].reply = lambda octets: octets


async def test_a_repeated_counter_is_refused_at_both_ends(node: Node, relay: tuple[Relay, str]) -> None:
    carrier = relay[0]
    async with Resolver(relay[1]) as resolver, administrator(resolver, "seckey", transports=("tcp",)) as admin:
        await admin.create("99.900/part", [URL, admin.admin_value()])
        await admin.modify("99.900/part", [HandleValue(1, "URL", b"https://example.org/2")])
        request, reply = carrier.requests[-1], carrier.replies[-1]
        carrier.reply = lambda _: reply
        with pytest.raises(Untrusted, match="repeats counter"):
            await admin.modify("99.900/part", [HandleValue(1, "URL", b"https://example.org/3")])
        carrier.reply = lambda octets: octets
        # The old request once more: the node refuses its counter, and what it says is no answer to the new request.
        carrier.request = lambda octets: request
        with pytest.raises(Untrusted, match="another request id"):
            await admin.modify("99.900/part", [HandleValue(1, "URL", b"https://example.org/4")])
        carrier.request = lambda octets: octets
        record = await resolver.resolve("99.900/part")
    assert record.data("URL") == b"https://example.org/3"
    assert counted(node, "hdl_auth", method="session", result="refused") == 1


async def test_the_set_up_is_signed_by_the_servers_key(node: Node) -> None:
    address = str(node.tcp_addresses[0])
    async with (
        Resolver(address, public_key=ADMIN_SIGNER.public_key_octets) as resolver,
        administrator(resolver, "seckey") as admin,
    ):
        with pytest.raises(Untrusted, match="not signed by the server's key"):
            await admin.create("99.900/part", [URL])
    assert node.registry.record(b"99.900/part") is None


async def test_somebody_who_changes_the_servers_half_is_found_out(node: Node, relay: tuple[Relay, str]) -> None:
    """With the server's key at once; without it by the first MAC."""

    def other_half(octets: bytes) -> bytes:
        message = decode_message(octets)
        if message.header.opcode != OpCode.SESSION_SETUP:
            return octets
        digest, response = decode_response(message.header, message.body, message.envelope.version)
        assert isinstance(response, SessionSetupResponse)
        algorithm, key = decode_exchange(response.data)
        changed = replace(response, data=encode_exchange(algorithm, replace(key, y=key.y ^ 1)))
        body = encode_response(changed, digest)
        return build(message.envelope, message.header, body, message.credential).to_octets()

    relay[0].reply = other_half
    for key, said in (
        (SIGNER.public_key_octets, "not signed by the server's key"),
        (None, "not of this session's key"),
    ):
        async with Resolver(relay[1], public_key=key) as resolver:
            with pytest.raises(Untrusted, match=said):
                await administrator(resolver, "seckey", transports=("tcp",)).create("99.900/part", [URL])
    assert node.registry.record(b"99.900/part") is None


async def test_no_session_is_an_error_and_never_a_silent_way_around(node: Node, relay: tuple[Relay, str]) -> None:
    """Somebody (or an old server) talks the version down to 2.6, where there are no sessions."""
    relay[0].request = lambda octets: b"\2\6\2\6" + octets[4:]
    async with Resolver(relay[1]) as resolver:
        with pytest.raises(NoSession, match="session=False"):
            await administrator(resolver, "seckey", transports=("tcp",)).create("99.900/part", [URL])
    async with Resolver(relay[1], public_key=SIGNER.public_key_octets) as resolver:
        with pytest.raises(Untrusted):
            await administrator(resolver, "seckey", transports=("tcp",)).create("99.900/part", [URL])
    assert node.registry.record(b"99.900/part") is None
    assert counted(node, "hdl_auth", result="ok") == 0


@pytest.mark.parametrize("method", ["seckey", "pubkey"])
async def test_a_wrong_key_is_refused_and_the_session_stays_usable_for_nothing(node: Node, method: str) -> None:
    wrong: dict[str, Any] = {"secret": b"wrong"} if method == "seckey" else {"signer": SIGNER}
    async with Resolver(str(node.tcp_addresses[0])) as resolver:
        admin = Administrator(resolver, "99.900/ADMIN", INDEXES[method], **wrong)
        for _ in range(2):
            with pytest.raises(Refused) as refused:
                await admin.create("99.900/part", [URL])
            assert refused.value.code == ResponseCode.AUTHENTICATION_FAILED
        await admin.close()
    assert counted(node, "hdl_auth", method="session", result="ok") == 0
    assert counted(node, "hdl_auth", method="session setup") == 1


async def test_the_server_forgot_the_session(node: Node) -> None:
    """In clear the server challenges anew, encrypted it says 500; both lead to one new session."""
    async with Resolver(str(node.tcp_addresses[0])) as resolver, administrator(resolver, "seckey") as admin:
        await admin.create("99.900/part", [URL, admin.admin_value()])
        for setups, work in (
            (2, lambda: admin.modify("99.900/part", [URL])),
            (3, lambda: admin.add("99.900/part", [PRIVATE])),
            (4, lambda: anext(admin.list("99.900"))),
        ):
            for session in list(node.sessions._authenticated):
                node.sessions.drop(session)
            await work()
            assert counted(node, "hdl_auth", method="session setup") == setups
    assert counted(node, "hdl_requests", op="104", code="402") >= 1


async def test_a_server_that_keeps_no_session_is_not_asked_for_ever(node: Node, relay: tuple[Relay, str]) -> None:
    def forgetful(octets: bytes) -> bytes:
        for session in [*node.sessions._anonymous, *node.sessions._authenticated]:
            if int.from_bytes(octets[20:24], "big") != OpCode.SESSION_SETUP:
                node.sessions.drop(session)
        return octets

    relay[0].request = forgetful
    async with Resolver(relay[1]) as resolver:
        with pytest.raises(SessionLost, match="two sessions in a row"):
            await administrator(resolver, "seckey", transports=("tcp",)).create("99.900/part", [URL])
    assert counted(node, "hdl_auth", method="session setup") == 2


def test_sessions_expire_and_come_again_in_virtual_time() -> None:
    """Idle for 900 s at the server, and for a day at the client: two days of one administrator, one create an hour."""

    async def main(adapters: SimulatedAdapters) -> tuple[int, int, int]:
        async with node_with(adapters, http=False) as node:
            resolver = Resolver(str(node.tcp_addresses[0]), adapters=adapters, public_key=SIGNER.public_key_octets)
            admin = administrator(resolver, "seckey")
            for hour in range(48):
                await admin.create(f"99.900/h{hour}", [*[URL, PRIVATE][: 1 + hour % 2], admin.admin_value()])
                await admin.modify(f"99.900/h{hour}", [URL])
                await adapters.clock.sleep(3_600.0)
            await adapters.clock.sleep(86_400.0)
            before = counted(node, "hdl_requests", op="100")
            await admin.create("99.900/late", [URL])
            asked = counted(node, "hdl_requests", op="100") - before
            await admin.close()
            await resolver.close()
            setups = counted(node, "hdl_auth", method="session setup", result="ok")
            return setups, counted(node, "hdl_auth", method="seckey", result="ok"), asked

    setups, proofs, asked = run_simulated(main, seed=11)
    assert (setups, proofs) == (49, 49)
    # After a day the client knows by itself, so no create is spent on finding out: one challenge, answered by op 200.
    assert asked == 1
