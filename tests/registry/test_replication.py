"""A mirror holds what its primary holds: by journal, by transactions, by dump; cut, resumed, filtered, twice (§10)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import pytest

from idnode.adapters.disk import RealDisk
from idnode_protocol.codes import OpCode
from idnode_protocol.errors import Malformed
from idnode_protocol.replication import Head, Record
from idnode_protocol.replication_state import JournalWish, ReplicationState
from idnode_protocol.requests import (
    AnyRequest,
    DumpRequest,
    HandleRequest,
    RemoveValuesRequest,
    RetrieveLogRequest,
    ValuesRequest,
)
from idnode_protocol.value import HandleValue
from idnode_registry.ask import ANONYMOUS, SYSTEM, Ask
from idnode_registry.engines.lmdb import LmdbStore
from idnode_registry.engines.memory import MemoryStore, deterministic_source
from idnode_registry.errors import CorruptStore, DumpNeeded, FeedRefused, SpoolFull
from idnode_registry.format import value_list
from idnode_registry.journal import load_appender
from idnode_registry.operations import WRITES
from idnode_registry.ranges.asks import RANGE_WRITES, RangeRequest
from idnode_registry.ranges.names import parse_range
from idnode_registry.replication import dump_taking, sequence
from idnode_registry.replication.applying import Applier, Wanted
from idnode_registry.replication.digests import prefix_digest, store_digest
from idnode_registry.replication.manifest import QueueHead
from idnode_registry.replication.positions import Positions
from idnode_registry.replication.receiver import Receiver
from idnode_registry.replication.sequence import Sequencer
from idnode_registry.replication.verifying import Asked, JournalCheck
from idnode_registry.store import Batch, Result, Store
from tests.registry.replicas import NOW, Mirror, do, drop, is_trusted, mirror_of, primary, put, scribble
from tests.registry.stores import record

Opener = Callable[[str], Store]
KINDS = ("memory", "hostile", "lmdb")


@pytest.fixture
def opener(tmp_path: Path, request: pytest.FixtureRequest, seed: int) -> Opener:
    """Opens the store of a kind; the second of a kind is another store."""
    count = iter(range(100))

    def open_store(kind: str) -> Store:
        if kind == "lmdb":
            store = LmdbStore.open(str(tmp_path / f"{next(count)}"), "fold-all", disk=RealDisk(), fsync=False)
            request.addfinalizer(store.close)
            return store
        is_hostile = kind == "hostile"
        return MemoryStore(
            "fold-all", buckets=8 if is_hostile else 1, hostile=is_hostile, rng=deterministic_source(seed)
        )

    return open_store


def sound(mirror: Mirror) -> None:
    """The same records, and nothing that either side's own check finds."""
    assert mirror.digest() == mirror.wanted_digest()
    assert list(mirror.registry.check()) == []
    assert list(mirror.source.check()) == []
    assert set(mirror.registry.homed_prefixes()) == set(mirror.source.homed_prefixes())


@pytest.mark.parametrize("after_images", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kind_of_mirror", KINDS)
def test_a_mirror_follows_the_journal(
    opener: Opener, kind: str, kind_of_mirror: str, after_images: bool, seed: int
) -> None:
    source = primary(opener(kind), after_images=after_images)
    mirror, dice = mirror_of(source, opener(kind_of_mirror)), random.Random(seed)
    for _ in range(6):
        scribble(source, dice, 40)
        mirror.follow()
        sound(mirror)
    assert mirror.digest()[0] > 10


@pytest.mark.parametrize("kind", KINDS)
def test_a_mirror_follows_the_transactions(opener: Opener, kind: str, seed: int) -> None:
    """Formats 1 of the reference: one queue out of all buckets, whole and in pieces."""
    source = primary(opener(kind))
    mirror, dice = mirror_of(source, opener("memory")), random.Random(seed)
    for _ in range(6):
        scribble(source, dice, 40)
        while mirror.pull_reference():
            pass
        sound(mirror)


@pytest.mark.parametrize("kind", KINDS)
def test_dumps_bring_everything_and_remove_the_rest(opener: Opener, kind: str, seed: int) -> None:
    """The mirror begins with records of its own that nobody else has."""
    source, dice = primary(opener(kind)), random.Random(seed)
    scribble(source, dice, 150)
    mirror = mirror_of(source, opener("memory"))
    stranger = primary(mirror.registry.store)
    put(stranger, b"99.900/only-here", b"x")
    assert do(stranger, OpCode.HOME_PREFIX, HandleRequest(b"0.NA/99.999.7")) == 1
    put(stranger, b"99.999.7/only-here", b"x")
    mirror = mirror_of(source, mirror.registry.store)
    assert mirror.dump()
    mirror.follow()
    sound(mirror)
    other = mirror_of(source, opener("memory"))
    put(primary(other.registry.store), b"99.900/only-here", b"x")
    other = mirror_of(source, other.registry.store)
    assert other.dump_reference().is_complete
    sound(other)
    scribble(source, dice, 50)
    other.pull_reference()
    sound(other)


@pytest.mark.parametrize("kind", KINDS)
def test_a_dump_is_resumed_while_others_write(
    opener: Opener, kind: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off after every few records, writes in between, a new process each time; then the journal."""
    monkeypatch.setattr(dump_taking, "WINDOW_RECORDS", 3)
    source, dice = primary(opener(kind)), random.Random(seed)
    scribble(source, dice, 200)
    mirror = mirror_of(source, opener("memory"))
    parts = 1
    while not mirror.dump(records_max=7):
        scribble(source, dice, 3)
        mirror = Mirror(mirror.registry, source, dice=dice)
        parts += 1
    assert parts > 5
    mirror.follow()
    sound(mirror)


def test_a_journal_cut_below_the_position_needs_a_dump(opener: Opener, seed: int) -> None:
    source, dice = primary(opener("lmdb")), random.Random(seed)
    mirror = mirror_of(source, opener("memory"))
    scribble(source, dice, 50)
    mirror.follow()
    scribble(source, dice, 100)
    head = source.store.head(b"99.900", 0)
    source.store.cut_feed(b"99.900", 0, head.serial - 2).result(30)
    with pytest.raises(DumpNeeded):
        mirror.pull()
    with pytest.raises(DumpNeeded):
        mirror_of(source, opener("memory")).pull_reference()
    mirror.follow()
    sound(mirror)
    source.store.cut_feed(b"99.900", 0, head.serial).result(30)
    put(source, b"99.900/later", b"x")
    assert mirror.pull() == 1, "what was cut is behind the mirror: it goes on"
    sound(mirror)


def test_a_bulk_load_needs_a_dump(opener: Opener) -> None:
    source = primary(opener("lmdb"))
    mirror = mirror_of(source, opener("memory"))
    mirror.follow()
    mirror.pull_reference()
    rows = sorted((f"L{n:03}".encode(), record(f"L{n:03}".encode())) for n in range(100))
    source.store.load(b"99.900", rows, load_appender(now=NOW, prefix=b"99.900", actor=b""))
    with pytest.raises(DumpNeeded):
        mirror.pull()
    with pytest.raises(DumpNeeded):
        mirror.pull_reference()
    mirror.follow()
    sound(mirror)


@pytest.mark.parametrize("option", [0, 1, 2])
def test_servers_of_a_site_share_the_handles(opener: Opener, option: int, seed: int) -> None:
    """Three servers: together they hold everything, none twice; homed prefixes are at each."""
    source, dice = primary(opener("memory")), random.Random(seed)
    mirrors = [mirror_of(source, opener("memory"), Receiver(option, 3, position)) for position in range(3)]
    for way in ("journal", "dump", "transactions"):
        scribble(source, dice, 150)
        for mirror in mirrors:
            if way == "dump":
                assert mirror.dump()
            if way == "transactions":
                mirror.dump_reference()
            mirror.follow()
            sound(mirror)
    homed = len(source.homed_prefixes())
    shares = [mirror.digest()[0] - homed for mirror in mirrors]
    assert sum(shares) == store_digest(source.store)[0] - homed
    assert option == 0 or min(shares) > 0


def test_the_same_twice_changes_nothing(opener: Opener, seed: int) -> None:
    """A position that was lost, as by a crash before it was written: the same entries come again."""
    source = primary(opener("memory"))
    mirror = mirror_of(source, opener("memory"))
    scribble(source, random.Random(seed), 100)
    mirror.follow()
    heads = {prefix: mirror.registry.store.head(prefix, 0).serial for prefix in mirror.registry.store.prefixes()}
    mirror.positions.queues.clear()
    mirror.follow()
    sound(mirror)
    assert heads == {prefix: mirror.registry.store.head(prefix, 0).serial for prefix in heads}


def test_clocks_that_jump_lose_nothing(opener: Opener, seed: int) -> None:
    """The primary's clock jumps an hour back and forth between writes; both kinds of stream bring every one."""
    source, dice = primary(opener("memory")), random.Random(seed)
    ours, theirs = mirror_of(source, opener("memory")), mirror_of(source, opener("memory"))
    for skew in (0.0, -3_600.0, 3_600.0, -3_600.0, 0.0, 3_600.0):
        for _ in range(30):
            scribble(source, dice, 1, NOW + skew + dice.uniform(-1, 1))
        ours.follow()
        theirs.pull_reference()
        sound(ours)
        sound(theirs)


def test_positions_survive_and_what_is_new_alone_is_asked(opener: Opener, seed: int) -> None:
    source = primary(opener("memory"))
    mirror = mirror_of(source, opener("lmdb"))
    scribble(source, random.Random(seed), 60)
    mirror.follow()
    again = Mirror(mirror.registry, source)
    assert again.positions.queues == mirror.positions.queues
    put(source, b"99.900/new", b"x")
    assert again.pull() == 1


def test_the_actor_says_where_a_change_came_from(opener: Opener) -> None:
    source = primary(opener("memory"))
    mirror = mirror_of(source, opener("memory"))
    put(source, b"99.900/a", b"x")
    mirror.follow()
    assert b"mirror 0:99.900#1" in mirror.registry.store.feed(b"99.900", 0, 0)[0]


def test_values_stay_octet_for_octet(opener: Opener) -> None:
    source = primary(opener("memory"))
    values = (HandleValue(5, "X", b"\0\xff", ttl=7, permissions=0x01), HandleValue(9, "HS_ADMIN", b"broken"))
    assert do(source, OpCode.CREATE_HANDLE, ValuesRequest(b"99.900/Spelling", values)) == 1
    mirrors = [mirror_of(source, opener("memory")) for _ in range(4)]
    mirrors[0].follow()
    assert mirrors[1].dump()
    mirrors[2].pull_reference()
    mirrors[3].dump_reference()
    for mirror in mirrors:
        found, wanted = mirror.registry.record(b"99.900/spelling"), source.record(b"99.900/spelling")
        assert found is not None
        assert wanted is not None
        assert bytes(value_list(found)) == bytes(value_list(wanted))


def test_a_mirror_refuses_what_only_its_primary_may(opener: Opener) -> None:
    """301 for whoever asks; reading, listing and replication go on."""
    source = primary(opener("memory"))
    put(source, b"99.900/a", b"x")
    mirror = mirror_of(source, opener("memory"))
    mirror.follow()
    value = (HandleValue(1, "URL", b"y"),)
    requests: dict[int, AnyRequest] = {
        **dict.fromkeys(RANGE_WRITES, RangeRequest(b"99.900/a1", range=parse_range(b"99.900/a{1-9}"), values=value)),
        OpCode.DELETE_HANDLE: HandleRequest(b"99.900/a"),
        OpCode.REMOVE_VALUES: RemoveValuesRequest(b"99.900/a", (1,)),
        OpCode.HOME_PREFIX: HandleRequest(b"0.NA/99.909"),
        OpCode.UNHOME_PREFIX: HandleRequest(b"0.NA/99.900"),
    }
    for opcode in WRITES:
        request = requests.get(opcode, ValuesRequest(b"99.900/a", value))
        assert do(mirror.registry, opcode, request) == 301, opcode
    assert do(mirror.registry, OpCode.LIST_HANDLES, HandleRequest(b"0.NA/99.900")) == 1
    sound(mirror)


def test_large_news_are_asked_for_in_smaller_pieces(opener: Opener) -> None:
    source = primary(opener("memory"))
    for number in range(20):
        put(source, b"99.900/" + str(number).encode(), b"x" * 1_000)
    mirror = mirror_of(source, opener("memory"))
    records = list(source_stream(mirror))
    check = JournalCheck(Asked(bytes(16), b"", None, 50), {}, is_trusted, spool_octets_max=5_000)
    with pytest.raises(SpoolFull):
        list(map(check.take, records))


def source_stream(mirror: Mirror) -> list[Head | Record]:
    state = ReplicationState({}, None, JournalWish(bytes(16), entries=50))
    return list(mirror.stream(mirror.log_request(state)))


def test_digests_tell_stores_apart(opener: Opener) -> None:
    """Equal across engines; another value, a missing record, another prefix, another spelling: another digest."""
    one, other = primary(opener("lmdb")), primary(opener("hostile"))
    for registry in (one, other):
        put(registry, b"99.900/a", b"x")
        put(registry, b"99.901/b", b"x")
    before = store_digest(one.store)
    assert before == store_digest(other.store)
    assert prefix_digest(one.store, b"99.900") == prefix_digest(other.store, b"99.900")
    put(other, b"99.900/a", b"y")
    assert store_digest(other.store) != before
    put(other, b"99.900/a", b"x")
    assert store_digest(other.store) == before
    drop(other, b"99.901/b")
    put(other, b"99.901/B", b"x")
    assert store_digest(other.store) != before


# --- crashes -----------------------------------------------------------------------------------------------------


class Crash(Exception):
    """The process ends here: nothing after it is written."""


def crashing(store: MemoryStore, monkeypatch: pytest.MonkeyPatch, writes: int) -> Callable[[], bool]:
    """Let the store take so many writes more, then crash at every further one; tells whether it came to that."""
    submit, put_meta, left, crashed = store.submit, store.put_meta, writes, False

    def counted() -> None:
        nonlocal left, crashed
        if left == 0:
            crashed = True
            raise Crash
        left -= 1

    def crashing_submit(batch: Batch) -> Future[Result]:
        counted()
        return submit(batch)

    def crashing_put(name: bytes, value: bytes | None) -> Future[None]:
        counted()
        return put_meta(name, value)

    monkeypatch.setattr(store, "submit", crashing_submit)
    monkeypatch.setattr(store, "put_meta", crashing_put)
    return lambda: crashed


def crashed_everywhere(seed: int, monkeypatch: pytest.MonkeyPatch, take: Callable[[Mirror], object]) -> int:
    """A mirror that crashes at its first write, at its second, ... and then goes on; how many crashes there were."""
    monkeypatch.setattr(dump_taking, "WINDOW_RECORDS", 4)
    crashes = 0
    while True:
        source, dice = primary(MemoryStore("fold-all")), random.Random(seed)
        scribble(source, dice, 25)
        store = MemoryStore("fold-all")
        mirror = mirror_of(source, store)
        mirror.follow()
        scribble(source, dice, 25)
        with monkeypatch.context() as patch:
            has_crashed = crashing(store, patch, crashes)
            with suppress(Crash):
                take(mirror)
            if not has_crashed():
                return crashes
        scribble(source, dice, 5)
        mirror = mirror_of(source, store)  # a new process: what it knows stands in the store
        while mirror.positions.dump is not None and not mirror.dump():
            pass
        mirror.follow()
        sound(mirror)
        crashes += 1


@pytest.mark.parametrize("take", [Mirror.follow, Mirror.dump], ids=["journal", "dump"])
def test_a_crash_at_any_write_loses_nothing(
    seed: int, monkeypatch: pytest.MonkeyPatch, take: Callable[[Mirror], object]
) -> None:
    assert crashed_everywhere(seed, monkeypatch, take) > 5


def test_positions_written_too_early_would_be_found(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a mirror that notes its position before the records loses some, and the test above sees it."""

    def wrong(mirror: Mirror) -> None:
        advance = mirror.positions.advance
        apply = Applier.apply

        def early(applier: Applier, wanted: list[Wanted], now: float) -> None:
            advance([QueueHead(p, b, mirror.source.store.head(p, b).tree) for p, b in mirror.positions.queues])
            apply(applier, wanted, now)

        with monkeypatch.context() as patch:
            patch.setattr(Applier, "apply", early)
            mirror.pull()

    with pytest.raises(AssertionError):
        crashed_everywhere(seed, monkeypatch, wrong)


# --- the sequence ------------------------------------------------------------------------------------------------


def test_numbers_mean_the_same_for_ever(opener: Opener, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks from any number on gets the same entries under the same numbers, after restarts and folding, too."""
    monkeypatch.setattr(sequence, "FOLDED_AT_ONCE", 2)
    store, dice = opener("hostile"), random.Random(seed)
    source = primary(store)
    seen: dict[int, tuple[bytes, int, int]] = {}
    for _ in range(12):
        scribble(source, dice, 10)
        sequencer = Sequencer(store, checkpoints_max=4)
        last = sequencer.advance()
        for start in range(last + 1):
            pieces = sequencer.after(start)
            if pieces is None:
                continue
            numbered = {
                piece.first + offset: (piece.prefix, piece.bucket, piece.after + 1 + offset)
                for piece in pieces
                for offset in range(piece.until - piece.after)
            }
            assert sorted(numbered) == list(range(start + 1, last + 1))
            for number, entry in numbered.items():
                assert seen.setdefault(number, entry) == entry
    assert len(set(seen.values())) == len(seen), "no entry has two numbers"
    assert sequencer.after(0) is None, "the oldest checkpoints were folded"
    assert sequencer.after(last + 1) is None


def test_a_crash_while_folding_loses_no_number(opener: Opener) -> None:
    store = opener("memory")
    source = primary(store)
    sequencer = Sequencer(store, checkpoints_max=4)
    names = []
    for number in range(5):
        put(source, b"99.900/" + str(number).encode(), b"x")
        names = store.meta_names(sequence.START)
        kept = [(name, store.get_meta(name)) for name in names]
        sequencer.advance()
    for name, octets in kept:
        store.put_meta(name, octets).result()  # as if the process had died before it forgot them
    again = Sequencer(store, checkpoints_max=4)
    assert again.last == sequencer.last
    assert [again.after(n) for n in range(9)] == [sequencer.after(n) for n in range(9)]


# --- who may, and what is no request -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opcode", "request_"),
    [
        (OpCode.GET_NEXT_TXN_ID, HandleRequest()),
        (OpCode.RETRIEVE_TXN_LOG, RetrieveLogRequest(None, 0, 0, 2, 1, 0)),
        (OpCode.DUMP_HANDLES, DumpRequest(2, 1, 0)),
    ],
)
def test_strangers_are_asked_who_they_are(opener: Opener, opcode: int, request_: HandleRequest) -> None:
    source = primary(opener("memory"))
    assert source.execute(Ask(opcode, request_), ANONYMOUS, NOW).result(30).code == 402
    assert source.execute(Ask(opcode, request_), SYSTEM, NOW).result(30).code == 1


@pytest.mark.parametrize(
    ("option", "servers", "position"), [(3, 1, 0), (2, 0, 0), (2, 2, 2), (2, 2, -1), (2, 2**30, 0)]
)
def test_receivers_that_cannot_be(opener: Opener, option: int, servers: int, position: int) -> None:
    source = primary(opener("memory"))
    for opcode, request in (
        (OpCode.RETRIEVE_TXN_LOG, RetrieveLogRequest(None, 0, 0, option, servers, position)),
        (OpCode.DUMP_HANDLES, DumpRequest(option, servers, position)),
    ):
        assert source.execute(Ask(opcode, request), SYSTEM, NOW).result(30).code == 4
        with pytest.raises(Malformed):
            Receiver.of(request)


def test_positions_that_cannot_be_read_are_named(opener: Opener) -> None:
    store = opener("memory")
    store.put_meta(b"mirror/queue/x", b"\xc1").result()
    with pytest.raises(CorruptStore, match="position"):
        Positions(store)


def test_a_dump_out_of_order_is_refused(opener: Opener, seed: int) -> None:
    """Out of order it could make the mirror remove what the primary has."""
    source = primary(opener("memory"))
    scribble(source, random.Random(seed), 60)
    mirror = mirror_of(source, opener("memory"))

    def swapped(records: Iterator[Head | Record]) -> Iterator[Head | Record]:
        found = list(records)
        found[4], found[5] = found[5], found[4]
        return iter(found)

    mirror.tamper = swapped
    with pytest.raises(FeedRefused, match="out of order"):
        mirror.dump()
