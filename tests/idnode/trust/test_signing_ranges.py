"""A node with trust.sign and ranges: every member it answers with verifies from a root, and none is unsigned."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.client.administrator import Administrator as AdminClient
from idnode.client.errors import Refused
from idnode.client.resolver import Resolver
from idnode.demo import Administrator, seed_administrator, seed_prefix
from idnode.node import Node
from idnode.trust.verification import trust_of, verify_record
from idnode_protocol.codes import OpFlag, ResponseCode
from idnode_protocol.requests import ResolutionRequest
from idnode_protocol.value import HandleValue
from idnode_registry.ask import ANONYMOUS, Ask
from idnode_registry.ranges.asks import RangeCode, about
from idnode_registry.ranges.names import parse_range
from idnode_registry.ranges.ranges import Member
from idnode_registry.ranges.signing import SIGNATURES_BURST, MemberSigner
from idnode_registry.trust.sealing import Sealer
from idnode_registry.trust.verdicts import RecordVerdict
from tests.idnode.trust.test_signing_node import SECRET, SERVER_KEY, config_of, tree_at
from tests.registry.trust.trust_world import NOW, PREFIX, key, small_world

RANGE = parse_range(b"99.900/SN{0001-9999}")
TEMPLATE = (
    HandleValue(1, "URL", b"https://example.org/${serial}"),
    HandleValue(2, "DESC", b"a part"),
)


async def _members_are_signed(adapters: SimulatedAdapters) -> None:
    world = tree_at(adapters.clock.now())
    async with Node(config_of(adapters, world), adapters, SERVER_KEY) as node:
        administrator = Administrator(b"99.900/ADMIN", SECRET, SERVER_KEY.public_key_octets)
        seed_prefix(node.registry, b"99.900", administrator, node.sites, adapters.clock.now())
        seed_administrator(node.registry, administrator, adapters.clock.now())
        transports = ("udp", "tcp")
        async with Resolver(str(node.tcp_addresses[0]), adapters=adapters, transports=transports) as resolver:
            admin = AdminClient(resolver, "99.900/ADMIN", 300, secret=SECRET, transports=("tcp",))
            registered = await node.ask(about(RangeCode.REGISTER, RANGE, (*TEMPLATE, admin.admin_value())))
            assert registered.is_success

            async def fetch(handle: bytes) -> Sequence[HandleValue] | None:
                return world.handles.get(handle)

            async def verdict(name: str) -> RecordVerdict:
                record = await resolver.resolve(name)
                trust = trust_of([key(0).signer.public_key_octets])
                return await verify_record(name.encode(), record.values, fetch, trust, adapters.clock.now())

            for name in ("99.900/SN0042", "99.900/SN0042", "99.900/SN0043"):
                found = await verdict(name)
                assert found.is_valid, found.lines()
                assert [value.index for value in found.values] == [1, 2, 100, 400]
            await admin.modify("99.900/SN0042", [HandleValue(2, "DESC", b"another part")])
            assert (await verdict("99.900/SN0042")).is_valid
            assert node.registry.count(b"99.900") == 3 - 1  # the administrator, and the member with its own record
            replaced = (*TEMPLATE[:1], HandleValue(3, "DESC", b"new"))
            assert (await node.ask(about(RangeCode.REGISTER, RANGE, replaced, overwrite=True))).is_success
            found = await verdict("99.900/SN0043")
            assert found.is_valid
            assert [value.index for value in found.values] == [1, 3, 400]


def test_members_are_signed_when_they_are_read(seed: int) -> None:
    run_simulated(_members_are_signed, seed=seed)


async def _over_budget(adapters: SimulatedAdapters) -> None:
    world = tree_at(adapters.clock.now())
    async with Node(config_of(adapters, world), adapters, SERVER_KEY) as node:
        administrator = Administrator(b"99.900/ADMIN", SECRET, SERVER_KEY.public_key_octets)
        seed_prefix(node.registry, b"99.900", administrator, node.sites, adapters.clock.now())
        assert (await node.ask(about(RangeCode.REGISTER, RANGE, TEMPLATE))).is_success
        assert node.registry.sealer is not None
        node.registry.member_signer = signer = MemberSigner(node.registry.sealer, per_s=0.1)
        question = Ask(1, ResolutionRequest(b"99.900/SN0001"), int(OpFlag.PO))
        assert (await node.ask(question, ANONYMOUS)).is_success
        while signer.begin(adapters.clock.now()):
            signer.end()
        async with Resolver(str(node.tcp_addresses[0]), adapters=adapters, transports=("udp",)) as resolver:
            with pytest.raises(Refused) as told:
                await resolver.resolve("99.900/SN0002")
        assert told.value.code == ResponseCode.SERVER_BUSY
        assert (await node.ask(question, ANONYMOUS)).is_success, "what is signed already costs nothing"
        await adapters.clock.sleep(11)
        assert (await node.ask(Ask(1, ResolutionRequest(b"99.900/SN0002"), int(OpFlag.PO)), ANONYMOUS)).is_success


def test_above_the_budget_a_member_is_busy_and_never_unsigned(seed: int) -> None:
    run_simulated(_over_budget, seed=seed)


def signer_of(life_s: float = 1_000.0) -> tuple[MemberSigner, Member]:
    world, _ = small_world()
    sealer = Sealer(key(2), world.handles[PREFIX.handle][0].data, life_s=life_s)
    values = b"\0\0\0\1\0\0\0\1\0\0\0\0\0\0\1\x51\x80\x0e\0\0\0\3URL\0\0\0\1x\0\0\0\0"
    return MemberSigner(sealer), Member(b"99.900/SN0001", values)


def test_the_budget_fills_again_and_survives_a_clock_that_is_set_back() -> None:
    signer, _ = signer_of()
    for moment, expected in ((NOW, SIGNATURES_BURST), (NOW + 0.1, 50), (NOW + 100, SIGNATURES_BURST), (NOW, 0)):
        given = 0
        while signer.begin(moment):
            signer.end()
            given += 1
        assert abs(given - expected) <= 1, moment
    assert signer.begin(NOW + 0.01)


def test_only_so_many_wait_at_once() -> None:
    signer, _ = signer_of()
    assert sum(signer.begin(NOW) for _ in range(100)) == 64
    signer.end()
    assert signer.begin(NOW)


def test_a_signature_is_renewed_in_time_and_belongs_to_its_values() -> None:
    signer, member = signer_of()
    assert signer.known(member, NOW) is None
    assert signer.sign(member, NOW) == ""
    assert signer.known(member, NOW + 499) not in (None, member.values)
    assert signer.known(member, NOW + 501) is None
    assert signer.known(member._replace(values=member.values.replace(b"x", b"y")), NOW) is None
    elsewhere = member._replace(handle=b"99.901/SN0001")
    assert signer.known(elsewhere, NOW) == elsewhere.values, "outside the certificate's scope nothing is signed"
