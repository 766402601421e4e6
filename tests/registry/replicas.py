"""What the tests of replication share: a primary, a mirror, and the way between them as octets of a stream."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag
from idnode_protocol.replication import Head, Record, encode_head, encode_record
from idnode_protocol.replication_reader import StreamReader
from idnode_protocol.replication_state import JournalWish, QueueState, ReplicationState
from idnode_protocol.requests import AnyRequest, DumpRequest, HandleRequest, RetrieveLogRequest, ValuesRequest
from idnode_protocol.value import HandleValue
from idnode_registry.ask import SYSTEM, Ask
from idnode_registry.errors import DumpNeeded
from idnode_registry.registry import Registry, RegistrySettings
from idnode_registry.replication.applying import Applier, wanted_of
from idnode_registry.replication.digests import store_digest
from idnode_registry.replication.dump import WISH
from idnode_registry.replication.dump_taking import OrderedDump, ReferenceDump
from idnode_registry.replication.manifest import queue_name
from idnode_registry.replication.positions import Positions
from idnode_registry.replication.receiver import Receiver
from idnode_registry.replication.reference_taking import ReferenceTransactions
from idnode_registry.replication.verifying import Asked, JournalCheck
from idnode_registry.store import Store

NOW: Final = 1_795_392_000.0
PREFIXES: Final = (b"99.900", b"99.900.1", b"99.901")
KEY: Final = b"the primary's key"
ENTRIES: Final = 50
Tamper = Callable[[Iterator[Head | Record]], Iterator[Head | Record]]


def signature(octets: bytes, key: bytes = KEY) -> bytes:
    """Stands for a signature; real ones are checked where the key is used, on the node."""
    return hashlib.sha256(key + octets).digest()


def is_trusted(octets: bytes, found: bytes) -> bool:
    return found == signature(octets)


def do(registry: Registry, opcode: int, request: AnyRequest, now: float = NOW, flags: int = 0) -> int:
    """The response code of a request made by the node itself."""
    return registry.execute(Ask(int(opcode), request, REQUEST_FLAGS | flags), SYSTEM, now).result(30).code


def primary(store: Store, *, after_images: bool = False, key: bytes = KEY) -> Registry:
    """A registry that signs, with its prefixes homed."""
    registry = Registry(store, RegistrySettings(after_images=after_images), rng=random.Random(1).randbytes)
    registry.sign = lambda octets: signature(octets, key)
    for prefix in PREFIXES:
        assert do(registry, OpCode.HOME_PREFIX, HandleRequest(b"0.NA/" + prefix)) == 1
    return registry


def put(registry: Registry, name: bytes, text: bytes, now: float = NOW) -> None:
    """Create the handle or replace its values."""
    values = (HandleValue(1, "URL", text), HandleValue(300, "HS_SECKEY", b"secret", permissions=0x0C))
    assert do(registry, OpCode.CREATE_HANDLE, ValuesRequest(name, values), now, OpFlag.OWE) == 1


def drop(registry: Registry, name: bytes, now: float = NOW) -> None:
    """Delete the handle if it is there."""
    assert do(registry, OpCode.DELETE_HANDLE, HandleRequest(name), now) in (1, 100)


def scribble(registry: Registry, dice: random.Random, steps: int, now: float = NOW) -> None:
    """Random creations, changes, deletions, homings."""
    for _ in range(steps):
        name = (
            dice.choice(PREFIXES) + b"/" + dice.choice((b"a", b"Part-", b"x" * 460)) + str(dice.randrange(30)).encode()
        )
        kind = dice.randrange(12)
        if kind < 8:
            put(registry, name, str(dice.random()).encode(), now)
        elif kind < 11:
            drop(registry, name, now)
        else:
            opcode = dice.choice((OpCode.HOME_PREFIX, OpCode.UNHOME_PREFIX))
            assert do(registry, opcode, HandleRequest(b"0.NA/99.90" + str(dice.randrange(2, 5)).encode()), now) == 1


def over_the_wire(records: Iterator[Head | Record], *, is_dump: bool) -> Iterator[Head | Record]:
    """Encode, decode."""
    reader = StreamReader(is_dump=is_dump)
    for record in records:
        octets = encode_head(record, is_dump=is_dump) if isinstance(record, Head) else encode_record(record)
        yield from reader.feed(octets)


@dataclass
class Mirror:
    """A mirror without a network. ``tamper`` stands between the primary and it."""

    registry: Registry
    source: Registry
    receiver: Receiver = field(default_factory=Receiver)
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    entries: int = ENTRIES
    tamper: Tamper = iter

    def __post_init__(self) -> None:
        self.positions = Positions(self.registry.store)

    def stream(self, request: RetrieveLogRequest | DumpRequest) -> Iterator[Head | Record]:
        is_dump = isinstance(request, DumpRequest)
        opcode = OpCode.DUMP_HANDLES if is_dump else OpCode.RETRIEVE_TXN_LOG
        reply = self.source.execute(Ask(opcode, request), SYSTEM, NOW).result(30)
        assert reply.stream is not None, reply
        return over_the_wire(self.tamper(reply.stream.records()), is_dump=is_dump)

    def log_request(self, state: ReplicationState | None, number: int = 0, date_ms: int = 0) -> RetrieveLogRequest:
        octets = None if state is None else state.to_octets()
        receiver = self.receiver
        return RetrieveLogRequest(octets, number, date_ms, receiver.option, receiver.servers, receiver.position)

    def pull(self) -> int:
        """One asking; entries taken. Raises what the mirror refuses."""
        nonce = self.dice.randbytes(16)
        queues = {queue_name(*key): QueueState(tree.size) for key, tree in self.positions.queues.items()}
        state = ReplicationState(queues, "mirror", JournalWish(nonce, entries=self.entries))
        check = JournalCheck(
            Asked(nonce, b"", None, self.entries, self.receiver.servers > 1), dict(self.positions.queues), is_trusted
        )
        taken = 0
        for record in self.stream(self.log_request(state)):
            proven = check.take(record)
            if proven is not None:
                before = self.positions.tree(proven.head.key).size
                Applier(self.registry).apply(list(wanted_of(proven, self.registry.store)), NOW)
                self.positions.advance([proven.head])
                taken += proven.head.serial - before
        assert check.is_complete
        return taken

    def dump(self, records_max: int | None = None) -> bool:
        """A dump, or what is left of one; breaks off after ``records_max`` records. Whether it is whole."""
        nonce, progress = self.dice.randbytes(16), self.positions.dump
        start = b"" if progress is None else progress.name
        part = 2 if progress is None else progress.part
        receiver = self.receiver
        request = DumpRequest(receiver.option, receiver.servers, receiver.position, start, part, WISH + nonce)
        taker = OrderedDump(self.registry, self.positions, nonce, is_trusted, NOW)
        for record in self.stream(request):
            taker.take(record)
            if records_max is not None and taker.records >= records_max:
                return False
        assert taker.is_complete
        return True

    def follow(self) -> None:
        """Pull until nothing is new; dump where the journal does not reach."""
        while True:
            try:
                if not self.pull():
                    return
            except DumpNeeded:
                self.positions.abandon_dump()
                assert self.dump()

    def pull_reference(self) -> int:
        """One asking in format 1."""
        position = self.positions.reference
        taker = ReferenceTransactions(self.registry, self.positions, NOW)
        number, date = (0, 0) if position is None else (position.txn_id, position.date_ms)
        for record in self.stream(self.log_request(None, number, date)):
            taker.take(record)
        assert taker.is_complete
        return taker.transactions

    def dump_reference(self, records_max: int | None = None) -> ReferenceDump:
        """A dump as a mirror of the reference asks for it, resumed after ``records_max`` records if given."""
        receiver = self.receiver
        request = DumpRequest(receiver.option, receiver.servers, receiver.position)
        taker = ReferenceDump(self.registry, self.positions, NOW)
        for number, record in enumerate(self.stream(request)):
            taker.take(record)
            if records_max is not None and number >= records_max:
                break
        if not taker.is_complete:
            request = DumpRequest(receiver.option, receiver.servers, receiver.position, taker.last or None, taker.part)
            for record in self.stream(request):
                taker.take(record)
        return taker

    def digest(self) -> tuple[int, bytes]:
        return store_digest(self.registry.store)

    def wanted_digest(self) -> tuple[int, bytes]:
        """The primary's, of what this mirror is for."""
        return store_digest(self.source.store, self.receiver)


def mirror_of(source: Registry, store: Store, receiver: Receiver | None = None) -> Mirror:
    """A fresh mirror."""
    registry = Registry(store, RegistrySettings(is_mirror=True), rng=random.Random(2).randbytes)
    return Mirror(registry, source, receiver or Receiver())
