"""UDP retry, challenge expiry and session expiry through 48 simulated hours, in under a second of real time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.client.administrator import Administrator as AdminClient
from idnode.client.errors import NoAnswer
from idnode.client.resolver import Resolver
from idnode.client.transports import UdpTransport
from idnode.config import ListenConfig, NodeConfig
from idnode.demo import Administrator, seed_administrator, seed_prefix
from idnode.node import Node
from idnode_protocol.codes import OpCode, ResponseCode
from idnode_protocol.envelope import Envelope
from idnode_protocol.requests import ChallengeAnswerRequest, SessionSetupRequest, ValuesRequest
from idnode_protocol.session_keys import DhGroup, dh_public_key
from idnode_protocol.value import HandleValue
from idnode_registry.crypto import Signer

SIGNER = Signer.generate(1024)
SECRET = b"a fictional secret"
GROUP_P = int(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404ddef9519b3cd3a431b"
    "302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe6"
    "49286651ece65381ffffffffffffffff",
    16,
)
HOUR_S = 3_600.0


@asynccontextmanager
async def running(adapters: SimulatedAdapters, config: NodeConfig | None = None) -> AsyncIterator[Node]:
    default = NodeConfig(prefixes=("99.900",), listen=ListenConfig(addresses=("127.0.0.1",), http_port=None))
    async with Node(config or default, adapters, SIGNER) as node:
        administrator = Administrator(b"99.900/ADMIN", SECRET, SIGNER.public_key_octets)
        seed_prefix(node.registry, b"99.900", administrator, node.sites, adapters.clock.now())
        seed_administrator(node.registry, administrator, adapters.clock.now())
        yield node


async def challenged(resolver: Resolver, name: bytes) -> int:
    """Provoke a challenge; its number."""
    request = ValuesRequest(name, (HandleValue(1, "URL", b"https://example.org/"),))
    answer = await resolver.ask(resolver.request(OpCode.CREATE_HANDLE, request), ("tcp",))
    assert answer.code == ResponseCode.AUTHENTICATION_NEEDED
    return answer.message.envelope.session_id


async def answered_with(resolver: Resolver, number: int) -> int:
    """The code for an answer with a wrong proof: 405 only when the challenge is gone."""
    request = ChallengeAnswerRequest("HS_SECKEY", b"99.900/ADMIN", 300, b"\x02" + bytes(20))
    answer = await resolver.ask(resolver.request(OpCode.CHALLENGE_ANSWER, request, session_id=number), ("tcp",))
    return answer.code


async def new_session(resolver: Resolver) -> int:
    peer = dh_public_key(12_345 << 200 | 77, DhGroup(GROUP_P, 2))
    request = SessionSetupRequest(4, 86_400, b"99.900/ADMIN", 300, peer.to_octets())
    answer = await resolver.ask(resolver.request(OpCode.SESSION_SETUP, request), ("tcp",))
    assert answer.code == ResponseCode.SUCCESS
    return answer.message.envelope.session_id


def test_two_days_of_retries_challenges_and_sessions() -> None:
    """Each hour: a UDP request into the void, a challenge answered too late, a session left idle too long."""

    async def main(adapters: SimulatedAdapters) -> float:
        clock = adapters.clock
        started = clock.monotonic()
        async with running(adapters) as node:
            resolver = Resolver(str(node.tcp_addresses[0]), adapters=adapters)
            admin = AdminClient(resolver, "99.900/ADMIN", 300, secret=SECRET)
            await admin.create("99.900/part", [HandleValue(1, "URL", b"https://example.org/")])
            for hour in range(1, 49):
                sent_at = clock.monotonic()
                with pytest.raises(NoAnswer):
                    async for _ in UdpTransport(adapters, "127.0.0.1", 9).exchange(bytes(20)):
                        pass
                assert clock.monotonic() - sent_at == pytest.approx(3.0, abs=0.2) or hour == 0

                number = await challenged(resolver, b"99.900/late-%d" % hour)
                await clock.sleep(29.0)
                assert node.challenges.pending(number, clock.now())
                await clock.sleep(1.5)
                assert await answered_with(resolver, number) == ResponseCode.AUTHENTICATION_TIMEOUT

                session = await new_session(resolver)
                await clock.sleep(890.0)
                assert node.sessions.get(session, clock.now()) is not None
                await clock.sleep(11.0)
                assert node.sessions.get(session, clock.now()) is None

                record = await resolver.resolve("99.900/part")
                assert record.data("URL") == b"https://example.org/"
                await clock.sleep(started + hour * HOUR_S - clock.monotonic())
            await resolver.close()
        return clock.monotonic() - started

    assert run_simulated(main, seed=7) >= 48 * HOUR_S


def test_a_request_is_sent_again_on_the_references_schedule() -> None:
    """Sent at 0, 0.5 and 1.5 s with one request id; the whole exchange gives up at 3 s."""

    async def main(adapters: SimulatedAdapters) -> tuple[list[float], set[bytes]]:
        times: list[float] = []
        ids: set[bytes] = set()
        sock = adapters.net.udp_bind("127.0.0.1", 2641)

        def heard() -> None:
            for octets, _ in sock.receive_batch():
                times.append(adapters.clock.monotonic())
                ids.add(octets[8:12])

        sock.add_reader(heard)
        request = Envelope(77, 0).to_octets()
        with pytest.raises(NoAnswer):
            async for _ in UdpTransport(adapters, "127.0.0.1", 2641).exchange(request):
                pass
        await asyncio.sleep(0)
        sock.close()
        return times, ids

    times, ids = run_simulated(main, seed=3)
    assert len(ids) == 1
    assert [round(time - times[0], 1) for time in times] == [0.0, 0.5, 1.5]
