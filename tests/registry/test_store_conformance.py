"""What every engine promises, driven by a state machine against a plain dict; and the rules one by one."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from idnode_registry import format as record_format
from idnode_registry import merkle
from idnode_registry.compaction.compactor import SAMPLES
from idnode_registry.engines.embedded import EmbeddedStore
from idnode_registry.engines.lmdb import LmdbStore
from idnode_registry.engines.memory import MemoryStore, deterministic_source
from idnode_registry.engines.rocks import RocksStore
from idnode_registry.errors import FeedRetained, NameMismatch, NotRepresentable, RunRefused
from idnode_registry.journal import HeadSigner, Operation, head_name, load_appender, parse
from idnode_registry.keys import order_key
from idnode_registry.store import ABSENT, Batch, BucketHead, CaseMode, Cursor, Outcome, Result, Store
from tests.registry.stores import PREFIX, PlainDisk, apply, delete, must, record, scan_all, value_octets, write

LONG = [b"l" * 444 + b"%d" % size + b"x" * (size - 447) for size in (447, 448, 449, 450, 511, 512, 513, 765)]
TWINS = [b"T" * 2_000 + ending for ending in (b"1" * 41, b"2" * 41)]
SUFFIXES = [b"", b"a", b"B", b"\xe4\xb8\x80", b"a/b", b"\xff", *LONG, *TWINS, *(b"item-%02d" % n for n in range(12))]
PREFIXES = [PREFIX, b"99.900.1"]
TEACHING = b"99.7"
"""A prefix the tests do not look at."""
Opener = Callable[[Path, CaseMode], Store]


def memory(folder: Path, case_mode: CaseMode) -> Store:
    return MemoryStore(case_mode)


def hostile(folder: Path, case_mode: CaseMode) -> Store:
    return MemoryStore(case_mode, 8, hostile=True, rng=deterministic_source(7))


def buckets(folder: Path, case_mode: CaseMode) -> Store:
    """Several buckets without the bad temper: what a rule that insists on APPLIED needs."""
    return MemoryStore(case_mode, 8)


def lmdb(folder: Path, case_mode: CaseMode) -> Store:
    return LmdbStore.open(str(folder), case_mode, disk=PlainDisk(), fsync=False, map_octets=1 << 17)


def rocksdb(folder: Path, case_mode: CaseMode) -> Store:
    return RocksStore.open(str(folder), case_mode, disk=PlainDisk(), fsync=False)


def templated_lmdb(folder: Path, case_mode: CaseMode) -> Store:
    return taught(lmdb(folder, case_mode))


def templated_rocksdb(folder: Path, case_mode: CaseMode) -> Store:
    return taught(rocksdb(folder, case_mode))


def taught(store: Store) -> Store:
    """With a template that the records of these tests fit: their rows are not their records."""
    if not store.prefixes():
        suffixes = [b"T%05d" % number for number in range(2 * SAMPLES)]
        run = [(suffix, record(suffix, b"%05d" % number, TEACHING)) for number, suffix in enumerate(suffixes)]
        store.load(TEACHING, run, load_appender(now=1.0, prefix=TEACHING, actor=b""))
    return store


class Conformance(RuleBasedStateMachine):
    """A store beside a dict of (prefix, folded suffix) -> (text, serial), and what its feeds have told so far."""

    opener: Opener
    folder: Callable[[], Path]

    @initialize()
    def begin(self) -> None:
        self.path = type(self).folder()
        self.store = type(self).opener(self.path, "fold-all")
        self.model: dict[tuple[bytes, bytes], tuple[bytes, int]] = {}
        self.told: dict[tuple[bytes, int], list[bytes]] = {}

    def found(self, prefix: bytes, suffix: bytes) -> tuple[bytes, int] | None:
        octets = self.store.get(prefix, suffix.upper())
        if octets is None:
            return None
        assert record_format.handle_of(octets).upper() == prefix + b"/" + suffix.upper()
        return bytes(record_format.value_list(octets)), record_format.serial_of(octets)

    def do(self, batch: Batch, expect: Outcome, text: bytes | None) -> Result:
        """Apply, compare the outcome with the model's, keep the model; UNKNOWN is settled by reading back."""
        key = batch.prefix, batch.suffix
        was = self.model.get(key)
        result = apply(self.store, batch)
        if result.outcome is Outcome.UNKNOWN:
            now = self.found(*key)
            changed = now != was
            assert changed is False or expect is Outcome.APPLIED
            if not changed:
                return result
            serial = 0 if now is None else now[1]
        else:
            assert result.outcome is expect, (result, was)
            if expect is Outcome.CONFLICT:
                assert result.found_serial == (0 if was is None else was[1])
                return result
            serial = result.serial
            assert serial == self.store.head(batch.prefix, self.store.bucket_of(*key)).serial
        if text is None:
            del self.model[key]
        else:
            self.model[key] = (value_octets(text), serial)
        assert self.found(*key) == self.model.get(key)
        return result

    @rule(prefix=st.sampled_from(PREFIXES), suffix=st.sampled_from(SUFFIXES), text=st.binary(max_size=9))
    def create(self, prefix: bytes, suffix: bytes, text: bytes) -> None:
        is_there = (prefix, suffix.upper()) in self.model
        expect = Outcome.CONFLICT if is_there else Outcome.APPLIED
        self.do(write(suffix, ABSENT, text, prefix=prefix), expect, text)

    @rule(
        prefix=st.sampled_from(PREFIXES),
        suffix=st.sampled_from(SUFFIXES),
        text=st.binary(max_size=9),
        off=st.sampled_from([0, 0, 1, -1]),
    )
    def replace_if_unchanged(self, prefix: bytes, suffix: bytes, text: bytes, off: int) -> None:
        known = self.model.get((prefix, suffix.upper()))
        expected = (known[1] if known else 5) + off
        fits = expected == (known[1] if known else ABSENT)
        batch = write(suffix, expected, text, prefix=prefix, after_image=True)
        self.do(batch, Outcome.APPLIED if fits else Outcome.CONFLICT, text)

    @rule(prefix=st.sampled_from(PREFIXES), suffix=st.sampled_from(SUFFIXES), text=st.binary(max_size=9))
    def put_whatever_is_there(self, prefix: bytes, suffix: bytes, text: bytes) -> None:
        self.do(write(suffix.upper(), None, text, prefix=prefix), Outcome.APPLIED, text)

    @rule(prefix=st.sampled_from(PREFIXES), suffix=st.sampled_from(SUFFIXES), blindly=st.booleans())
    def delete(self, prefix: bytes, suffix: bytes, blindly: bool) -> None:
        known = self.model.get((prefix, suffix.upper()))
        expected = None if blindly or known is None else known[1]
        self.do(delete(suffix, expected, prefix=prefix), Outcome.APPLIED if known else Outcome.CONFLICT, None)

    @rule(prefix=st.sampled_from(PREFIXES), limit=st.integers(1, 7), suffix=st.sampled_from(SUFFIXES))
    def scan_while_writing(self, prefix: bytes, limit: int, suffix: bytes) -> None:
        settled = {key for key in self.model if key[0] == prefix and key[1] != suffix.upper()}
        seen: list[bytes] = []
        cursor: Cursor | None = None
        flip = True
        while True:
            page, cursor = self.store.scan(prefix, cursor, limit)
            seen += [record_format.handle_of(octets).upper().partition(b"/")[2] for octets in page]
            if cursor is None:
                break
            cursor = Cursor.from_octets(cursor.to_octets())
            known = self.model.get((prefix, suffix.upper()))
            if flip and known is None:
                self.do(write(suffix, ABSENT, prefix=prefix), Outcome.APPLIED, b"https://example.com/")
            elif flip:
                self.do(delete(suffix, None, prefix=prefix), Outcome.APPLIED, None)
            flip = not flip
        assert len([name for name in seen if name != suffix.upper()]) == len(settled)
        assert {(prefix, name) for name in seen if name != suffix.upper()} == settled
        places = [(self.store.bucket_of(prefix, name), order_key(name)) for name in seen if name != suffix.upper()]
        assert places == sorted(places)

    @rule(prefix=st.sampled_from(PREFIXES), share=st.integers(0, 100))
    def cut_feed(self, prefix: bytes, share: int) -> None:
        self.follow()
        for bucket in self.store.buckets(prefix):
            serial = self.store.head(prefix, bucket).serial
            self.store.cut_feed(prefix, bucket, serial * share // 100).result(30)

    @rule(name=st.binary(min_size=1, max_size=4), value=st.none() | st.binary(max_size=4))
    def meta(self, name: bytes, value: bytes | None) -> None:
        self.store.put_meta(name, value).result(30)
        assert self.store.get_meta(name) == value
        assert (name in self.store.meta_names(name[:1])) == (value is not None)

    @precondition(lambda self: isinstance(self.store, EmbeddedStore))
    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = type(self).opener(self.path, "fold-all")

    def follow(self) -> None:
        """Read every feed on from where the last reading ended: no gap, no repeat."""
        for prefix in PREFIXES:
            for bucket in self.store.buckets(prefix):
                told = self.told.setdefault((prefix, bucket), [])
                while page := self.store.feed(prefix, bucket, len(told), 3):
                    told += page
                assert [parse(entry).serial for entry in told] == list(range(1, len(told) + 1))

    @invariant()
    def heads_feeds_and_records_agree(self) -> None:
        if not hasattr(self, "store"):
            return
        self.follow()
        for (prefix, bucket), told in self.told.items():
            head = self.store.head(prefix, bucket)
            assert head.serial == len(told)
            assert head.tree.root() == merkle.root([merkle.leaf_hash(entry) for entry in told])
            mine = [key for key in self.model if key[0] == prefix and self.store.bucket_of(*key) == bucket]
            assert head.records == len(mine)

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        for key, known in self.model.items():
            assert self.found(*key) == known
        for prefix in PREFIXES:
            assert len(scan_all(self.store, prefix, 3)) == sum(key[0] == prefix for key in self.model)
        assert list(self.store.check()) == []
        self.store.close()


@pytest.mark.parametrize("opener", [memory, hostile, lmdb, rocksdb, templated_lmdb, templated_rocksdb])
def test_conformance(opener: Opener, tmp_path_factory: pytest.TempPathFactory, campaign: str) -> None:
    machine = type(
        "Machine",
        (Conformance,),
        {"opener": staticmethod(opener), "folder": staticmethod(lambda: tmp_path_factory.mktemp("store"))},
    )
    many = {"test": 15}.get(campaign, 500)
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=many, stateful_step_count=30, deadline=None, suppress_health_check=checks),
    )


@pytest.fixture(params=[memory, buckets, lmdb, rocksdb])
def opener(request: pytest.FixtureRequest) -> Opener:
    chosen: Opener = request.param
    return chosen


@pytest.fixture
def store(opener: Opener, tmp_path: Path):
    opened = opener(tmp_path / "s", "fold-all")
    yield opened
    opened.close()


def test_a_name_deleted_and_created_again_does_not_pass_for_the_old_one(store: Store) -> None:
    first = must(store, write(b"a", ABSENT))
    must(store, delete(b"a", first))
    must(store, write(b"a", ABSENT))
    assert apply(store, write(b"a", first, b"stale")).outcome is Outcome.CONFLICT


def test_names_of_every_length_live_side_by_side(store: Store) -> None:
    for suffix in SUFFIXES:
        must(store, write(suffix, ABSENT, suffix[-20:]))
    for suffix in SUFFIXES:
        octets = store.get(PREFIX, suffix.upper())
        assert octets is not None
        assert record_format.handle_of(octets) == PREFIX + b"/" + suffix
        assert octets.endswith(value_octets(suffix[-20:])[26:])
    for limit in (1, 3, 5, len(SUFFIXES), 100):
        assert sorted(record_format.handle_of(octets) for octets in scan_all(store, PREFIX, limit)) == sorted(
            PREFIX + b"/" + suffix for suffix in SUFFIXES
        )
    for suffix in TWINS[:1] + LONG[:3]:
        must(store, delete(suffix, None))
    assert store.get(PREFIX, TWINS[1]) is not None
    assert list(store.check()) == []


def test_a_name_made_of_anothers_key_is_a_name_of_its_own(opener: Opener, tmp_path: Path) -> None:
    store = opener(tmp_path, "fold-prefix")
    long = b"A" * 600
    forged = long[:416] + sha256(long).digest()
    must(store, write(long, ABSENT, b"long", fold=False))
    assert store.get(PREFIX, forged) is None
    must(store, write(forged, ABSENT, b"forged", fold=False))
    kept = store.get(PREFIX, long)
    assert kept is not None
    assert record_format.handle_of(kept) == PREFIX + b"/" + long
    assert len(scan_all(store, limit=1)) == 2
    assert list(store.check()) == []
    store.close()


def test_case_counts_only_where_the_case_mode_says_so(opener: Opener, tmp_path: Path) -> None:
    store = opener(tmp_path, "fold-prefix")
    must(store, write(b"part", ABSENT, b"lower", fold=False))
    must(store, write(b"PART", ABSENT, b"upper", fold=False))
    assert len(scan_all(store)) == 2
    store.close()


def test_a_record_goes_only_under_its_own_name(store: Store) -> None:
    right = write(b"a", ABSENT)
    for wrong in (
        Batch(PREFIX, b"B", ABSENT, right.record, right.entry),
        Batch(b"99.901", b"A", ABSENT, right.record, right.entry),
    ):
        with pytest.raises(NameMismatch):
            apply(store, wrong)
    assert store.prefixes() == []
    assert store.head(PREFIX, 0) == BucketHead()


def test_a_fault_in_the_entry_maker_is_its_callers_alone(store: Store) -> None:
    def fail(head: BucketHead, before: bytes | None, after: bytes | None) -> bytes:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        apply(store, Batch(PREFIX, b"A", ABSENT, record(b"a"), fail))
    assert store.get(PREFIX, b"A") is None
    assert must(store, write(b"a", ABSENT)) == 1


def test_a_bulk_load_is_one_entry_and_all_or_nothing(store: Store) -> None:
    names = sorted((b"N%04d" % number for number in range(300)), key=order_key)
    run = [(name, record(name)) for name in names]
    generation = store.generation
    entry = load_appender(now=1, prefix=PREFIX, actor=b"")
    assert store.load(PREFIX, run, entry) == 300
    assert store.generation != generation
    entries = [parse(octets) for bucket in store.buckets(PREFIX) for octets in store.feed(PREFIX, bucket, 0)]
    assert {found.operation for found in entries} == {Operation.LOAD}
    assert sum(found.run.count for found in entries if found.run) == 300
    assert len(entries) == len(store.buckets(PREFIX))
    assert len(scan_all(store, limit=7)) == 300
    assert list(store.check()) == []
    with pytest.raises(RunRefused, match="already stored"):
        store.load(PREFIX, [(b"M", record(b"M")), *run[:1]], entry)
    for wrong in ([run[1], run[0]], [run[0], run[0]]):
        with pytest.raises(RunRefused, match="sort"):
            store.load(b"99.900", wrong, entry)
    assert store.load(PREFIX, [], entry) == 0
    serial = must(store, write(b"N0007", None, b"changed"))
    assert record_format.serial_of(store.get(PREFIX, b"N0007") or b"") == serial
    assert list(store.check()) == []


def test_a_reader_behind_the_retained_edge_is_told_where_it_is(store: Store) -> None:
    bucket = store.bucket_of(PREFIX, b"A")
    for number in range(6):
        must(store, write(b"a", None, b"%d" % number))
    store.cut_feed(PREFIX, bucket, 4).result(30)
    with pytest.raises(FeedRetained) as refused:
        store.feed(PREFIX, bucket, 2)
    assert refused.value.oldest == 4
    assert [parse(entry).serial for entry in store.feed(PREFIX, bucket, 3)] == [4, 5, 6]
    store.cut_feed(PREFIX, bucket, 99).result(30)
    with pytest.raises(FeedRetained):
        store.feed(PREFIX, bucket, 5)
    assert store.feed(PREFIX, bucket, 6) == []
    assert must(store, write(b"a", None)) == 7
    assert list(store.check()) == []


def test_watchers_hear_of_a_change_before_its_author_does(store: Store) -> None:
    heard: list[tuple[bytes, bytes]] = []
    store.watch(lambda names: heard.extend(names))
    future = store.submit(write(b"a", ABSENT))
    future.result(30)
    assert heard == [(PREFIX, b"A")]
    apply(store, write(b"a", ABSENT))
    assert heard == [(PREFIX, b"A")]


def test_signed_heads_are_compared_with_the_journal(store: Store) -> None:
    must(store, write(b"a", ABSENT))
    bucket = store.bucket_of(PREFIX, b"A")
    signer = HeadSigner(lambda octets: b"signature")
    signed = signer.sign(PREFIX, bucket, store.head(PREFIX, bucket), 5.0)
    store.put_meta(head_name(signed), signed.to_octets()).result(30)
    must(store, write(b"a", None))
    assert list(store.check()) == []
    forged = signer.sign(PREFIX, bucket, BucketHead(1, 1, merkle.frontier([b"x" * 32])), 5.0)
    store.put_meta(head_name(forged), forged.to_octets()).result(30)
    assert [problem.kind for problem in store.check()] == ["head"]
    ahead = signer.sign(PREFIX, bucket, BucketHead(9, 1, merkle.frontier([b"x" * 32] * 9)), 5.0)
    store.put_meta(head_name(signed), signed.to_octets()).result(30)
    store.put_meta(head_name(ahead), ahead.to_octets()).result(30)
    assert "journal ends at 2" in next(store.check()).text


def test_meta_names_have_bounds(store: Store) -> None:
    for name in (b"", b"x" * 401):
        with pytest.raises(NotRepresentable):
            store.put_meta(name, b"").result(30)
    store.put_meta(b"x" * 400, b"v").result(30)
    assert store.meta_names(b"x") == [b"x" * 400]


def test_the_hostile_store_answers_unknown_and_applies_half_of_it() -> None:
    store = MemoryStore("fold-all", 8, hostile=True, rng=deterministic_source(1))
    unknown = applied = 0
    for number in range(3_000):
        name = b"%d" % number
        if apply(store, write(name, ABSENT)).outcome is Outcome.UNKNOWN:
            unknown += 1
            applied += store.get(PREFIX, name) is not None
    assert 15 <= unknown <= 50
    assert 0.2 * unknown <= applied <= 0.8 * unknown
    assert list(store.check()) == []


def test_a_fork_and_its_origin_go_their_own_ways() -> None:
    store = MemoryStore("fold-all")
    must(store, write(b"a", ABSENT, b"1"))
    twin = store.fork()
    must(store, write(b"a", None, b"2"))
    must(twin, write(b"b", ABSENT, b"3"))
    assert (len(scan_all(store)), len(scan_all(twin))) == (1, 2)
    assert (twin.get(PREFIX, b"A") or b"").endswith(value_octets(b"1")[26:])
    generation = store.generation
    store.restore(twin)
    must(twin, delete(b"b", None))
    assert len(scan_all(store)) == 2
    assert store.generation != generation
    assert list(store.check()) == list(twin.check()) == []
