"""Streams that the reference's own library writes, taken by our mirror's side: what its primary holds, we hold."""

from __future__ import annotations

import random
from typing import Any

import pytest

from idnode.client.resolver import Resolver
from idnode.replication.pulling import Keys
from idnode_protocol.errors import RemoteError
from idnode_protocol.replication import STREAM_SIGNED, STREAM_UNSIGNED
from idnode_protocol.replication_reader import StreamReader, stream_type
from idnode_protocol.value import HandleValue
from idnode_registry.engines.memory import MemoryStore
from idnode_registry.errors import DumpNeeded
from idnode_registry.registry import Registry, RegistrySettings
from idnode_registry.replication.dump_taking import ReferenceDump
from idnode_registry.replication.positions import Positions, ReferencePosition
from idnode_registry.replication.reference_taking import ReferenceTransactions
from tests.clients.java_cells import text_value
from tests.clients.java_client import JavaClient
from tests.clients.node_process import RunningNode

pytestmark = [pytest.mark.serial, pytest.mark.timeout(600)]

NOW = 1_795_392_000.0
CREATE, DELETE, UPDATE, HOME, UNHOME = range(1, 6)
NAMES = [f"99.900/java-{number}" for number in range(40)]
RECORDS = [
    {"handle": name, "values": [text_value(7, "DESC", "later index first"), text_value(1, "URL", name)]}
    for name in NAMES
]
HOMED = ["0.NA/99.900", "0.NA/99.901"]
TRANSACTIONS = [
    *({"id": 1 + n, "handle": name, "action": CREATE, "date": 1_000 + n} for n, name in enumerate(NAMES)),
    {"id": 41, "handle": "99.900/gone", "action": DELETE, "date": 2_000},
    {"id": 42, "handle": NAMES[3], "action": UPDATE, "date": 2_001},
    {"id": 43, "handle": "0.NA/99.900", "action": HOME, "date": 2_002},
    {"id": 44, "handle": "0.NA/99.901", "action": HOME, "date": 2_003},
    {"id": 45, "handle": "0.NA/99.902", "action": UNHOME, "date": 2_004},
]


class Taken:
    """A mirror of the reference, fed with octets."""

    def __init__(self, keys: Keys | None) -> None:
        self.registry = Registry(
            MemoryStore("fold-all"), RegistrySettings(is_mirror=True), rng=random.Random(1).randbytes
        )
        self.positions = Positions(self.registry.store)
        self._keys = keys

    def feed(self, octets: bytes, taker: ReferenceTransactions | ReferenceDump) -> None:
        assert stream_type(octets) == (STREAM_UNSIGNED if self._keys is None else STREAM_SIGNED)
        verify = None if self._keys is None else self._keys.block_signed
        reader = StreamReader(is_dump=isinstance(taker, ReferenceDump), verify=verify)
        for start in range(4, len(octets), 977):
            for record in reader.feed(octets[start : start + 977]):
                taker.take(record)
        assert taker.is_complete

    def holds_everything(self) -> None:
        for name in NAMES:
            values = self.registry.values(name.encode())
            assert values is not None
            assert [(value.index, value.data) for value in values] == [(1, name.encode()), (7, b"later index first")]
        assert self.registry.homed_prefixes() == (b"0.NA/99.900", b"0.NA/99.901")
        assert list(self.registry.check()) == []


@pytest.fixture
async def keys(running_node: RunningNode) -> Keys:
    """The demo administrator's public key: the Java side signs with its private half."""
    async with Resolver(str(running_node.description["tcp"])) as resolver:
        record = await resolver.resolve(str(running_node.admin["handle"]))
    return Keys((next(value.data for value in record.values if value.type == "HS_PUBKEY"),))


def streams(java: JavaClient, credential: str, **more: Any) -> tuple[bytes, bytes]:
    """(log, dump) from the stream type on."""
    answer = java.ask(
        op="primary", credential=credential, records=RECORDS, homed=HOMED, transactions=TRANSACTIONS, **more
    )
    assert answer.ok, answer
    return bytes.fromhex(answer.raw["log"]), bytes.fromhex(answer.raw["dump"])


@pytest.mark.parametrize("credential", ["none", "rsa"])
async def test_streams_of_the_reference(java: JavaClient, keys: Keys, credential: str) -> None:
    """Unsigned as inside HTTPS, and signed block by block (SHA1withRSA): dump and transactions bring the same."""
    log, dump = streams(java, credential)
    chosen = keys if credential == "rsa" else None
    followed, dumped = Taken(chosen), Taken(chosen)
    followed.feed(log, ReferenceTransactions(followed.registry, followed.positions, NOW))
    followed.holds_everything()
    assert followed.positions.reference is not None
    assert followed.positions.reference.txn_id == 45
    dumped.feed(dump, ReferenceDump(dumped.registry, dumped.positions, NOW))
    dumped.holds_everything()
    assert dumped.positions.reference is not None
    assert dumped.positions.reference.txn_id == 45


async def test_going_on_after_a_number(java: JavaClient) -> None:
    log, _ = streams(java, "none", last_txn_id=40, last_date=1_900)
    taken = Taken(None)
    taken.positions.keep_reference(ReferencePosition(40, 1_900))
    taker = ReferenceTransactions(taken.registry, taken.positions, NOW)
    taken.feed(log, taker)
    assert taker.transactions == 5


async def test_the_reference_says_dump(java: JavaClient) -> None:
    """Transactions that begin long after the asker's date: the library decides, our side understands."""
    log, _ = streams(java, "none", last_txn_id=7, last_date=1)
    late = java.ask(
        op="primary",
        records=RECORDS,
        homed=HOMED,
        last_txn_id=7,
        last_date=1,
        transactions=[{"id": 500, "handle": NAMES[0], "action": UPDATE, "date": 10**12}],
    )
    taken = Taken(None)
    with pytest.raises(DumpNeeded):
        taken.feed(bytes.fromhex(late.raw["log"]), ReferenceTransactions(taken.registry, taken.positions, NOW))
    assert log


async def test_a_changed_block_is_refused(java: JavaClient, keys: Keys, seed: int) -> None:
    log, _ = streams(java, "rsa")
    dice = random.Random(seed)
    for _ in range(50):
        at = dice.randrange(20, len(log))
        changed = log[:at] + bytes([log[at] ^ 1 << dice.randrange(8)]) + log[at + 1 :]
        taken = Taken(keys)
        taker = ReferenceTransactions(taken.registry, taken.positions, NOW)
        with pytest.raises((RemoteError, AssertionError)):
            taken.feed(changed, taker)
        for name in NAMES:
            values = taken.registry.values(name.encode())
            assert values is None or HandleValue(1, "URL", name.encode()).data in [value.data for value in values]
