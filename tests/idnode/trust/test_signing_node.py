"""A node with trust.sign: what its clients write over the wire is signed, and verifies from a root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.client.administrator import Administrator as AdminClient
from idnode.client.resolver import Resolver
from idnode.config import ListenConfig, NodeConfig, TrustConfig
from idnode.demo import Administrator, seed_administrator, seed_prefix
from idnode.node import Node
from idnode.trust.signing import load_sealer
from idnode.trust.verification import trust_of, verify_record
from idnode_protocol.value import HandleValue
from idnode_registry.crypto import KeyRefused, Signer
from idnode_registry.keystore import write_private_key
from idnode_registry.trust.errors import SigningRefused
from idnode_registry.trust.issue import Issuer
from idnode_registry.trust.verdicts import Outcome, RecordVerdict
from tests.registry.trust.trust_world import AUTHORITY, EVERYTHING, PREFIX, ROOT, UNDER_PREFIX, World, key, small_world

FOLDER = Path("keys")
SERVER_KEY = Signer.generate(1_024)
SECRET = b"a fictional secret"


def tree_at(now: float) -> World:
    world = small_world()[0]
    world.certify(ROOT, key(0), Issuer(ROOT, key(0)), EVERYTHING, now)
    world.certify(AUTHORITY, key(1), Issuer(ROOT, key(0)), EVERYTHING, now)
    world.certify(PREFIX, key(2), Issuer(AUTHORITY, key(1)), UNDER_PREFIX, now)
    return world


def config_of(adapters: SimulatedAdapters, world: World, signing: int = 2, mode: int = 0o600) -> NodeConfig:
    disk = adapters.disk
    disk.makedirs(FOLDER)
    disk.write_atomic(FOLDER / "signer.key", write_private_key(key(signing).signer, None, adapters.rng.octets), mode)
    disk.write_atomic(FOLDER / "signer.cert", world.handles[PREFIX.handle][0].data + b"\n", 0o644)
    trust = TrustConfig(
        sign=True,
        key_file=FOLDER / "signer.key",
        certificate_file=FOLDER / "signer.cert",
        chain=("301:0.NA/99.900", "301:0.NA/0.NA", "301:0.0/0.0"),
    )
    listen = ListenConfig(addresses=("127.0.0.1",), http_port=None)
    return NodeConfig(prefixes=("99.900",), listen=listen, trust=trust)


async def _written_over_the_wire(adapters: SimulatedAdapters) -> None:
    world = tree_at(adapters.clock.now())
    async with Node(config_of(adapters, world), adapters, SERVER_KEY) as node:
        administrator = Administrator(b"99.900/ADMIN", SECRET, SERVER_KEY.public_key_octets)
        seed_prefix(node.registry, b"99.900", administrator, node.sites, adapters.clock.now())
        seed_administrator(node.registry, administrator, adapters.clock.now())
        async with Resolver(str(node.tcp_addresses[0]), adapters=adapters, transports=("tcp",)) as resolver:
            admin = AdminClient(resolver, "99.900/ADMIN", 300, secret=SECRET)

            async def fetch(handle: bytes) -> Sequence[HandleValue] | None:
                return world.handles.get(handle)

            async def verdict() -> RecordVerdict:
                record = await resolver.resolve("99.900/part-1")
                trust = trust_of([key(0).signer.public_key_octets])
                return await verify_record(b"99.900/part-1", record.values, fetch, trust, adapters.clock.now())

            await admin.create("99.900/part-1", [HandleValue(1, "URL", b"https://example.org/1"), admin.admin_value()])
            assert (await verdict()).is_valid, (await verdict()).lines()
            await admin.add("99.900/part-1", [HandleValue(2, "DESC", b"a part")])
            assert (await verdict()).is_valid
            await admin.modify("99.900/part-1", [HandleValue(1, "URL", b"https://example.org/2")])
            assert (await verdict()).is_valid
            await admin.remove("99.900/part-1", [2])
            found = await verdict()
            assert found.outcome is Outcome.VALID
            assert [value.index for value in found.values] == [1, 100, 400]
            await admin.delete("99.900/part-1")


def test_what_clients_write_is_signed(seed: int) -> None:
    run_simulated(_written_over_the_wire, seed=seed)


async def _refusals(adapters: SimulatedAdapters) -> None:
    world = tree_at(adapters.clock.now())
    assert load_sealer(TrustConfig(), adapters) is None
    with pytest.raises(SigningRefused, match=r"needs trust\.key_file"):
        load_sealer(TrustConfig(sign=True), adapters)
    with pytest.raises(SigningRefused, match="chmod 600"):
        load_sealer(config_of(adapters, world, mode=0o644).trust, adapters)
    with pytest.raises(KeyRefused, match="another key"):
        load_sealer(config_of(adapters, world, signing=3).trust, adapters)


def test_settings_that_cannot_sign_are_named(seed: int) -> None:
    run_simulated(_refusals, seed=seed)
