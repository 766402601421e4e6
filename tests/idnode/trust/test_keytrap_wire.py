"""Over the wire: the largest record of signatures against the largest handle of keys that one message carries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from statistics import median

import pytest

from idnode.client.administrator import Administrator
from idnode.client.resolver import Resolver
from idnode.trust.verification import trust_of
from idnode_protocol.value import HandleValue
from idnode_registry.operations.common import RECORD_BODY_OCTETS_MAX
from idnode_registry.trust.issue import Issuer, sign_values
from idnode_registry.trust.verdicts import Outcome
from tests.idnode.cli.command_line import serving
from tests.registry.trust.trust_world import HANDLE, PREFIX, VALUES, key, small_world

pytestmark = [pytest.mark.serial, pytest.mark.timeout(300)]

COST_MS = 20.0
ROUNDS = 10
INNOCENT_REQUESTS = 200
ATTEMPTS = 3
"""Of the comparison with the innocent client; one quiet moment of the machine is enough."""
SECRET = b"a fictional secret"


def filled(template: HandleValue, start: int) -> list[HandleValue]:
    """As many copies as fit into one message, less a few."""
    number = (RECORD_BODY_OCTETS_MAX - 2_048) // len(template.to_octets())
    return [
        HandleValue(start + n, template.type, template.data, template.ttl, template.permissions) for n in range(number)
    ]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A node with both records, and a harmless one for the innocent."""
    settings = ['prefixes=["99.900", "0.NA"]', "authentication.anonymous_full_access=true"]
    with serving(tmp_path_factory.mktemp("hostile"), settings=settings) as node:
        address = node.address("tcp")
        asyncio.run(_populate(address))
        yield address


async def _populate(address: str) -> None:
    world, issuer = small_world()
    (certificate,) = world.handles[PREFIX.handle]
    signature = HandleValue(400, "HS_SIGNATURE", sign_values(HANDLE, VALUES, Issuer(PREFIX, issuer.key), time.time()))
    async with Resolver(address, transports=("tcp",)) as resolver:
        admin = Administrator(resolver, "99.900/ADMIN", 300, secret=SECRET)
        signatures, keys = filled(signature, 400), filled(certificate, 301)
        assert min(len(signatures), len(keys)) > 150, "both fill a message"
        await admin.create("99.900/part-1", signatures)
        await admin.create("99.900/part-2", [*VALUES[:2], signature])
        await admin.create("0.NA/99.900", keys, overwrite=True)
        await admin.create("99.900/innocent", VALUES[:1])


@pytest.mark.parametrize("handle", ["99.900/part-1", "99.900/part-2"])
async def test_cost_of_a_hostile_record(hostile: str, handle: str) -> None:
    """Everything the client does for it: receive, decode, judge. The second name makes it look at the keys."""
    trust = trust_of([key(0).signer.public_key_octets])
    async with Resolver(hostile, transports=("tcp",), trust=trust) as resolver:
        costs = []
        for _ in range(ROUNDS):
            start = time.thread_time()
            record = await resolver.resolve(handle, verify="report")
            costs.append((time.thread_time() - start) * 1e3)
        assert record.verdict is not None
        assert record.verdict.outcome is Outcome.NOT_CHECKED
    print(f"{handle}: {min(costs):.1f} ms of CPU, median {median(costs):.1f} ms")
    assert min(costs) <= COST_MS


async def _innocent(address: str, requests: int) -> float:
    """The median in ms of harmless resolutions."""
    async with Resolver(address, transports=("tcp",)) as resolver:
        taken = []
        for _ in range(requests):
            start = time.perf_counter()
            await resolver.resolve("99.900/innocent")
            taken.append((time.perf_counter() - start) * 1e3)
    return median(taken)


def _attack(address: str, rounds: int) -> None:
    async def main() -> None:
        trust = trust_of([key(0).signer.public_key_octets])
        async with Resolver(address, transports=("tcp",), trust=trust) as resolver:
            for _ in range(rounds):
                await resolver.resolve("99.900/part-2", verify="report")
                await asyncio.sleep(0.02)

    asyncio.run(main())


async def test_an_innocent_client_keeps_its_median(hostile: str) -> None:
    """It asks the same node while somebody has the hostile record resolved fifty times a second."""
    found = []
    for _ in range(ATTEMPTS):
        alone = await _innocent(hostile, INNOCENT_REQUESTS)
        attack = asyncio.create_task(asyncio.to_thread(_attack, hostile, ROUNDS * 5))
        beside = await _innocent(hostile, INNOCENT_REQUESTS)
        await attack
        found.append((beside / alone, alone, beside))
    ratio, alone, beside = min(found)
    print(f"innocent median: alone {alone:.2f} ms, beside {beside:.2f} ms")
    assert ratio <= 2.0
