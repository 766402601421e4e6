"""The task of a mirror: ask, take, wait, ask again (docs/protocol.md §10).

::

    starting ──> dumping ──> following ──> caught up ──(interval)──> following ...
                    ^            │  every end of an asking that was no success has its row in OUTCOMES
                    └── cut ─────┘

Whatever happens, what the mirror holds stays as it was and is served; positions are durable, so a killed mirror goes
on where it was. Records are taken in workers, a piece of the stream at a time.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Final, Protocol

from idnode.adapters import Adapters
from idnode.client.administrator import Administrator
from idnode.client.errors import ClientError
from idnode.client.resolver import Resolver
from idnode.config import MirrorConfig
from idnode.logs import NodeLog
from idnode.replication.pulling import Keys, OpenStream, Puller
from idnode_protocol.codes import OpCode
from idnode_protocol.errors import RemoteError
from idnode_protocol.handle import to_text
from idnode_protocol.replication import Head, Record
from idnode_protocol.replication_reader import StreamReader
from idnode_protocol.replication_state import JournalWish, QueueState, ReplicationState
from idnode_protocol.requests import DumpRequest, RetrieveLogRequest
from idnode_protocol.value import Reference
from idnode_registry.crypto import KeyRefused, Signer, load_public_key
from idnode_registry.errors import (
    DumpNeeded,
    FeedRefused,
    MirroringError,
    OpeningError,
    RegistryError,
    SpoolFull,
)
from idnode_registry.keystore import read_private_key
from idnode_registry.registry import Registry
from idnode_registry.replication.applying import Applier, wanted_of
from idnode_registry.replication.dump import WISH
from idnode_registry.replication.dump_taking import OrderedDump, ReferenceDump
from idnode_registry.replication.manifest import NONCE_OCTETS, queue_name
from idnode_registry.replication.positions import Positions
from idnode_registry.replication.reference_taking import ReferenceTransactions
from idnode_registry.replication.verifying import Asked, JournalCheck
from idnode_registry.store import Store

ENTRIES_MAX: Final = 4_096
STATE_OCTETS_MAX: Final = 150_000
"""Of the queues in one request; the message may have 262,144 and carries names twice as long in the worst case."""
QUEUES_PER_REQUEST_MAX: Final = 2_000
RETRY_S: Final = 5.0
"""Until the next try after a failure, unless the interval is shorter."""


class NoMirror(OpeningError):
    """The store holds records that came from nowhere: a mirror removes what its primary has not. Use a new folder."""


class MirrorState(Enum):
    """What a mirror is doing, or why it waits."""

    STARTING = "starting"
    DUMPING = "dumping"
    FOLLOWING = "following"
    CAUGHT_UP = "caught up"
    CUT = "cut"
    """The primary no longer keeps what is missing, and the settings say to wait for a person."""
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    FAILED = "failed"


OUTCOMES: Final[tuple[tuple[type[Exception], MirrorState], ...]] = (
    (FeedRefused, MirrorState.REFUSED),
    (RemoteError, MirrorState.REFUSED),
    (DumpNeeded, MirrorState.CUT),
    (MirroringError, MirrorState.FAILED),
    (ClientError, MirrorState.UNREACHABLE),
    (RegistryError, MirrorState.FAILED),
    (OSError, MirrorState.UNREACHABLE),
)
"""How an asking ended -> the state until the next; the first row that fits."""


@dataclass(slots=True)
class MirrorStatus:
    """For people and probes. Ages are in seconds on the monotonic clock; ``reason`` is empty when all is well."""

    state: MirrorState = MirrorState.STARTING
    reason: str = ""
    entries: int = 0
    """Journal entries or transactions taken since the start."""
    dumps: int = 0
    dumped_records: int = 0
    askings: int = 0
    has_caught_up: bool = False
    proven_at: float | None = None
    """When the primary last proved that nothing is missing (monotonic)."""

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "state": self.state.value}


class BrokenOff(ClientError):
    """A stream ended before its end mark; what was proven of it is kept, the next asking goes on from there."""


class Taker(Protocol):
    """What takes the records of a stream."""

    is_complete: bool

    def take(self, record: Head | Record, /) -> object: ...


def read_keys(texts: tuple[str, ...]) -> Keys:
    """The keys in a configuration. Raises ValueError for one that is none."""
    keys = []
    for text in texts:
        try:
            octets = base64.b64decode(text, validate=True)
            load_public_key(octets)
        except (binascii.Error, RemoteError, KeyRefused) as wrong:
            raise ValueError(f"mirror.primary_keys: {text[:24]}… is no public key in base64: {wrong}") from wrong
        keys.append(octets)
    return Keys(tuple(keys))


class Mirror:
    """Keeps a registry equal to a primary's. ``start`` and ``stop`` its task; :meth:`cycle` is one round of it."""

    def __init__(
        self,
        config: MirrorConfig,
        administrator: Reference,
        registry: Registry,
        adapters: Adapters,
        log: NodeLog,
        *,
        secret: bytes | None = None,
        signer: Signer | None = None,
    ) -> None:
        self._config, self._registry, self._adapters, self._log = config, registry, adapters, log
        self._keys = read_keys(config.primary_keys)
        self._resolver = Resolver(config.primary, adapters=adapters)
        self._administrator = Administrator(
            self._resolver,
            to_text(administrator.handle),
            administrator.index,
            secret=secret,
            signer=signer,
            session=False,
        )
        is_ours = config.dialect == "idnode"
        self._puller = Puller(self._resolver, self._administrator, self._keys, needs_tls=is_ours)
        self._follow = self._follow_idnode if is_ours else self._follow_reference
        self._dump = self._dump_idnode if is_ours else self._dump_reference
        self.positions = Positions(registry.store)
        claim(self.positions, registry.store, config.primary)
        self._entries = ENTRIES_MAX
        self._wants_dump = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Condition()
        self.status = MirrorStatus()

    @classmethod
    def of(
        cls, config: MirrorConfig, administrator: Reference, registry: Registry, adapters: Adapters, log: NodeLog
    ) -> Mirror:
        """With the secret or private key in the files of the configuration.

        Raises ValueError for settings that cannot work, NoMirror, OSError and the errors of key files.
        """
        if (config.secret_file is None) == (config.private_key_file is None):
            raise ValueError("mirror needs either secret_file or private_key_file")
        secret, signer = None, None
        if config.secret_file is not None:
            secret = adapters.disk.read(config.secret_file).strip(b"\r\n")
        if config.private_key_file is not None:
            signer = read_private_key(adapters.disk.read(config.private_key_file))
        return cls(config, administrator, registry, adapters, log, secret=secret, signer=signer)

    # --- the task ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End the task; a piece that is being taken is taken."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._puller.close()
        await self._administrator.close()
        await self._resolver.close()

    def redump(self) -> None:
        """Take a dump next, whatever the positions say: for a person who knows that the primary's past has changed."""
        self._wants_dump = True
        self._wake.set()

    def hurry(self) -> None:
        """Ask now instead of at the end of the interval."""
        self._wake.set()

    async def settled(self) -> MirrorStatus:
        """The status after the next round."""
        async with self._settled:
            await self._settled.wait()
        return self.status

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            await self.cycle()
            async with self._settled:
                self._settled.notify_all()
            is_well = self.status.state is MirrorState.CAUGHT_UP
            pause = self._config.interval_s if is_well else min(RETRY_S, self._config.interval_s)
            try:
                async with self._adapters.clock.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def cycle(self) -> MirrorState:
        """One round: until nothing is new, or until it fails; then the status says why."""
        self.status.askings += 1
        try:
            if self._wants_dump or self._is_in_dump():
                await self._whole_dump()
            try:
                await self._follow()
            except DumpNeeded:
                if self._config.when_cut == "wait":
                    raise
                self._wants_dump = True
                await self._whole_dump()
                await self._follow()
        except (RemoteError, RegistryError, ClientError, OSError) as wrong:
            self._note(next(state for kind, state in OUTCOMES if isinstance(wrong, kind)), str(wrong))
        else:
            self.status.has_caught_up = True
            self.status.proven_at = self._adapters.clock.monotonic()
            self._note(MirrorState.CAUGHT_UP)
        return self.status.state

    def _note(self, state: MirrorState, reason: str = "") -> None:
        if state is not self.status.state or reason != self.status.reason:
            self._log.write("mirror", state=state.value, reason=reason)
        self.status.state, self.status.reason = state, reason

    def reasons(self) -> list[str]:
        """Why the node should not be asked; empty = it may."""
        status, now = self.status, self._adapters.clock.monotonic()
        if not status.has_caught_up:
            return [f"the mirror has not caught up yet: {status.state.value} {status.reason}".rstrip()]
        age = now - (status.proven_at or 0.0)
        if age > self._config.stale_after_s:
            return [f"the primary proved nothing for {age:.0f} s: {status.state.value} {status.reason}".rstrip()]
        return []

    # --- an asking -----------------------------------------------------------------------------------------------

    async def _take(self, stream: OpenStream, taker: Taker, take: Callable[[Head | Record], object]) -> None:
        """Feed a stream to what takes it. Raises BrokenOff when it ends before its end mark."""
        is_dump = isinstance(taker, OrderedDump | ReferenceDump)
        verify = self._keys.block_signed if stream.has_signatures else None
        reader = StreamReader(is_dump=is_dump, verify=verify)

        def piece(octets: bytes) -> None:
            for record in reader.feed(octets):
                take(record)

        async for octets in stream.pieces:
            await self._adapters.run_blocking(piece, octets)
            if reader.is_complete:
                break
        if not taker.is_complete:
            raise BrokenOff("the stream broke off before its end")

    def _log_request(self, state: ReplicationState | None, number: int = 0, date_ms: int = 0) -> RetrieveLogRequest:
        config, octets = self._config, None if state is None else state.to_octets()
        return RetrieveLogRequest(octets, number, date_ms, config.hash_option, config.servers, config.position)

    async def _follow_idnode(self) -> None:
        """Ask range by range, round by round, until a whole round brings nothing."""
        while True:
            self._note(MirrorState.FOLLOWING)
            before = self.status.entries
            after: bytes | None = b""
            while after is not None:
                try:
                    after = await self._range(after)
                except SpoolFull:
                    if self._entries == 1:
                        raise
                    self._entries = max(1, self._entries // 4)
            self._entries = min(ENTRIES_MAX, self._entries * 2)
            if self.status.entries == before:
                return

    async def _range(self, after: bytes) -> bytes | None:
        """One asking about the queues behind ``after``; where to go on, None at the end."""
        nonce = self._adapters.rng.octets(NONCE_OCTETS)
        queues, until = self._states(after)
        wish = JournalWish(nonce, _text(after), None if until is None else _text(until), self._entries)
        state = ReplicationState(queues, self._registry.settings.site_name, wish)
        asked = Asked(nonce, after, until, self._entries, self._config.servers > 1)
        check = JournalCheck(asked, dict(self.positions.queues), self._keys.signed)
        applier, now = Applier(self._registry), self._adapters.clock.now()

        def take(record: Head | Record) -> None:
            proven = check.take(record)
            if proven is not None:
                taken = proven.head.serial - self.positions.tree(proven.head.key).size
                applier.apply(list(wanted_of(proven, self._registry.store)), now)
                self.positions.advance([proven.head])
                self.status.entries += taken

        async with self._puller.stream(OpCode.RETRIEVE_TXN_LOG, self._log_request(state)) as stream:
            await self._take(stream, check, take)
        return None if check.manifest is None else check.manifest.until

    def _states(self, after: bytes) -> tuple[dict[str, QueueState], bytes | None]:
        """What the mirror has of the queues behind ``after``, as many as one request carries, and the last prefix."""
        states: dict[str, QueueState] = {}
        size, last = 0, None
        for prefix, bucket in sorted(self.positions.queues):
            if prefix <= after:
                continue
            is_full = size > STATE_OCTETS_MAX or len(states) >= QUEUES_PER_REQUEST_MAX
            if is_full and prefix != last:
                return states, last
            name = queue_name(prefix, bucket)
            states[name] = QueueState(self.positions.tree((prefix, bucket)).size)
            size += len(name.encode("utf-8", "surrogateescape")) + 64
            last = prefix
        return states, None

    async def _follow_reference(self) -> None:
        """Format 1, until an asking brings nothing."""
        while True:
            self._note(MirrorState.FOLLOWING)
            position = self.positions.reference
            if position is None:
                raise DumpNeeded("this mirror has no position at its primary yet")
            taker = ReferenceTransactions(self._registry, self.positions, self._adapters.clock.now())
            request = self._log_request(None, position.txn_id, position.date_ms)
            async with self._puller.stream(OpCode.RETRIEVE_TXN_LOG, request) as stream:
                await self._take(stream, taker, taker.take)
            self.status.entries += taker.transactions
            if not taker.transactions:
                return

    # --- dumps ---------------------------------------------------------------------------------------------------

    def _is_in_dump(self) -> bool:
        """A dump was begun and not ended, or nothing was ever taken."""
        if self._config.dialect == "reference":
            return self.positions.reference is None
        return self.positions.dump is not None or not self.positions.queues

    async def _whole_dump(self) -> None:
        """A dump, or the rest of one."""
        self._note(MirrorState.DUMPING)
        if self._wants_dump:
            await self._adapters.run_blocking(self.positions.abandon_dump)
            self._wants_dump = False
        await self._dump()
        self.status.dumps += 1

    def _dump_request(self, start: bytes, part: int, tail: bytes = b"") -> DumpRequest:
        config = self._config
        point = start if start or tail else None
        return DumpRequest(config.hash_option, config.servers, config.position, point, part, tail)

    async def _dump_idnode(self) -> None:
        nonce, progress = self._adapters.rng.octets(NONCE_OCTETS), self.positions.dump
        start, part = (b"", 2) if progress is None else (progress.name, progress.part)
        taker = OrderedDump(self._registry, self.positions, nonce, self._keys.signed, self._adapters.clock.now())
        request = self._dump_request(start, part, WISH + nonce)
        try:
            async with self._puller.stream(OpCode.DUMP_HANDLES, request) as stream:
                await self._take(stream, taker, taker.take)
        finally:
            self.status.dumped_records += taker.records

    async def _dump_reference(self) -> None:
        """Resumed at once while the primary answers and each part brings something; else begun anew next time."""
        taker = ReferenceDump(self._registry, self.positions, self._adapters.clock.now())
        try:
            while not taker.is_complete:
                before = taker.records
                request = self._dump_request(taker.last, taker.part)
                try:
                    async with self._puller.stream(OpCode.DUMP_HANDLES, request) as stream:
                        await self._take(stream, taker, taker.take)
                except BrokenOff:
                    if taker.records == before:
                        raise
        finally:
            self.status.dumped_records += taker.records


def claim(positions: Positions, store: Store, source: str) -> None:
    """Make a store a mirror's; raises :class:`NoMirror` for one that holds records of another kind."""
    if positions.is_known:
        return
    if store.prefixes():
        raise NoMirror("the store holds records and was no mirror's: a mirror removes what its primary has not")
    positions.claim(source)


def _text(prefix: bytes) -> str:
    return prefix.decode("utf-8", "surrogateescape")
