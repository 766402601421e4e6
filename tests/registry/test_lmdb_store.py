"""What only a store on a disk can do wrong: locks, foreign files, damage, failing commits, full disks, threads."""

from __future__ import annotations

import threading
from pathlib import Path

import lmdb
import msgpack
import pytest

from idnode_registry import format as record_format
from idnode_registry.compaction.compactor import SAMPLES
from idnode_registry.engines.lmdb import LmdbStore, check_file
from idnode_registry.engines.rows import seal
from idnode_registry.errors import (
    CorruptRecord,
    CorruptStore,
    FormatRefused,
    OpeningError,
    StoreFull,
)
from idnode_registry.store import ABSENT
from tests.registry.stores import PREFIX, PlainDisk, apply, must, scan_all, write


def opened(path: Path, disk: PlainDisk | None = None, *, fsync: bool = False, map_octets: int = 1 << 20) -> LmdbStore:
    return LmdbStore.open(str(path), "fold-all", disk=disk or PlainDisk(), fsync=fsync, map_octets=map_octets)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2, "min_reader": 2}, "store format 2, readable from format 2 on; this version reads 1"),
        ({"key_scheme": 9}, "key scheme 9"),
        ({"features": ["woven"]}, "features this version does not know: woven"),
        ({"magic": "other"}, "'other', not an idnode-store"),
    ],
)
def test_what_a_newer_version_wrote_is_refused_by_name(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    opened(tmp_path).close()
    rewrite_format(tmp_path, changes)
    with pytest.raises(FormatRefused, match=message):
        opened(tmp_path)


def test_a_newer_format_that_says_we_may_read_it_is_read(tmp_path: Path) -> None:
    opened(tmp_path).close()
    rewrite_format(tmp_path, {"format": 2})
    opened(tmp_path).close()


def rewrite_format(path: Path, changes: dict[str, object]) -> None:
    with lmdb.Environment(str(path), max_dbs=8) as env, env.begin(write=True) as txn:
        meta = env.open_db(b"meta", txn=txn)
        stored = txn.get(b"!format", db=meta)
        assert stored is not None
        row = msgpack.unpackb(stored[4:])
        txn.put(b"!format", seal(msgpack.packb({**row, **changes})), db=meta)


def test_files_that_are_no_store_of_ours_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "data.mdb").write_bytes(b"something else entirely" * 1000)
    with pytest.raises(FormatRefused):
        opened(tmp_path / "a")
    with lmdb.Environment(str(tmp_path / "b")) as env, env.begin(write=True) as txn:
        txn.put(b"somebody", b"else's")
    with pytest.raises(FormatRefused, match="not a store of ours"):
        opened(tmp_path / "b")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OpeningError):
        opened(tmp_path / "file")


def filled(path: Path, count: int = 40) -> list[bytes]:
    names = [b"name-%03d" % number for number in range(count)]
    store = opened(path)
    for name in names:
        must(store, write(name, ABSENT, b"marker:" + name))
    store.close()
    return names


def flip(path: Path, needle: bytes, offset: int = 0) -> int:
    """Flip a bit at every place where the closed file holds ``needle``; how many there were."""
    octets = bytearray((path / "data.mdb").read_bytes())
    places = []
    at = octets.find(needle)
    while at >= 0:
        places.append(at)
        at = octets.find(needle, at + 1)
    for place in places:
        octets[place + offset] ^= 0x20
    (path / "data.mdb").write_bytes(bytes(octets))
    return len(places)


def test_a_flipped_octet_anywhere_in_a_record_is_found_on_reading_and_by_check(tmp_path: Path) -> None:
    names = filled(tmp_path, SAMPLES - 1)
    for number, name in enumerate(names):
        assert flip(tmp_path, b"marker:" + name, number % 10) >= 1
    store = opened(tmp_path)
    for name in names:
        with pytest.raises(CorruptRecord):
            store.get(PREFIX, name.upper())
        with pytest.raises(CorruptRecord):
            apply(store, write(name, None))
    with pytest.raises(CorruptRecord):
        scan_all(store)
    problems = [problem for problem in store.check() if problem.kind == "record"]
    assert len(problems) == len(names)
    assert store.read_only_reason is None
    must(store, write(b"other", ABSENT))
    store.close()


def tampered(path: Path, table: bytes, change) -> list[str]:
    """Change rows of a closed store behind its back; the kinds of problem check then finds."""
    with lmdb.Environment(str(path), max_dbs=8) as env, env.begin(write=True) as txn:
        db = env.open_db(table, txn=txn)
        rows = list(txn.cursor(db=db))
        change(txn, db, rows)
    store = opened(path)
    try:
        return [problem.kind for problem in store.check()]
    finally:
        store.close()


def _drop_row(txn, db, rows) -> None:
    txn.delete(rows[3][0], db=db)


def _swap_rows(txn, db, rows) -> None:
    txn.put(rows[3][0], rows[5][1], db=db)
    txn.put(rows[5][0], rows[3][1], db=db)


def _bend_row(txn, db, rows) -> None:
    key, row = rows[3] if len(rows) > 3 else rows[0]
    txn.put(key, row[:-1] + bytes([row[-1] ^ 1]), db=db)


def _older_state(txn, db, rows) -> None:
    """A whole, valid record, but not the one the journal says was written: a lost write."""
    key, row = rows[3]
    other = record_format.pack(record_format.handle_of(row), record_format.serial_of(row), b"\0\0\0\0")
    txn.put(key, other, db=db)


def _no_known_prefix(txn, db, rows) -> None:
    txn.put(b"\0\0\0\x63" + rows[0][0][4:], rows[0][1], db=db)


@pytest.mark.parametrize(
    ("table", "change", "kinds"),
    [
        (b"records", _drop_row, {"counter"}),
        (b"records", _swap_rows, {"record"}),
        (b"records", _bend_row, {"record"}),
        (b"records", _older_state, {"state"}),
        (b"records", _no_known_prefix, {"structure"}),
        (b"journal", _drop_row, {"journal", "state"}),
        (b"journal", _swap_rows, {"journal", "head", "state"}),
        (b"journal", _bend_row, {"head"}),
        (b"heads", _bend_row, {"head"}),
    ],
)
def test_check_finds_seeded_damage(tmp_path: Path, table: bytes, change, kinds: set[str]) -> None:
    filled(tmp_path)
    assert tampered(tmp_path, table, lambda txn, db, rows: None) == []
    assert set(tampered(tmp_path, table, change)) == kinds


def test_a_damaged_head_stops_its_own_bucket_only(tmp_path: Path) -> None:
    filled(tmp_path)
    tampered(tmp_path, b"heads", _bend_row)
    store = opened(tmp_path)
    with pytest.raises(CorruptStore):
        store.head(PREFIX, 0)
    with pytest.raises(CorruptStore):
        apply(store, write(b"x", ABSENT))
    assert store.get(PREFIX, b"NAME-001") is not None
    must(store, write(b"x", ABSENT, prefix=b"99.901"))
    store.close()


def test_a_damaged_prefix_table_is_refused_on_opening(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(CorruptStore, match="prefix"):
        tampered(tmp_path, b"prefixes", _bend_row)


def test_the_file_is_inspected_without_lmdb(tmp_path: Path) -> None:
    filled(tmp_path)
    assert list(check_file(str(tmp_path))) == []
    octets = (tmp_path / "data.mdb").read_bytes()
    (tmp_path / "data.mdb").write_bytes(octets[: len(octets) // 2])
    assert {problem.kind for problem in check_file(str(tmp_path))} == {"structure"}


def test_the_map_grows_under_readers(tmp_path: Path) -> None:
    store = opened(tmp_path, map_octets=1 << 17)
    must(store, write(b"a", ABSENT))
    stop, faults = threading.Event(), []

    def read() -> None:
        try:
            while not stop.is_set():
                assert store.get(PREFIX, b"A") is not None
                scan_all(store, limit=50)
        except Exception as wrong:
            faults.append(wrong)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(60):
        must(store, write(b"big-%d" % number, ABSENT, b"x" * 40_000))
    stop.set()
    for reader in readers:
        reader.join(30)
    assert faults == []
    assert store._env.info()["map_size"] > 1 << 20
    assert list(store.check()) == []
    store.close()
    reopened = opened(tmp_path, map_octets=1 << 17)
    assert len(scan_all(reopened)) == 61
    reopened.close()


def test_a_damaged_store_is_not_backed_up_silently(tmp_path: Path) -> None:
    names = filled(tmp_path / "s")
    flip(tmp_path / "s", b"marker:" + names[7])
    store = opened(tmp_path / "s")
    with pytest.raises(CorruptStore, match="not sound"):
        store.backup(str(tmp_path / "copy"))
    store.close()


def test_a_full_disk_met_by_a_commit_leaves_no_trace(tmp_path: Path) -> None:
    store = opened(tmp_path)
    must(store, write(b"a", ABSENT))

    def no_space(txn: lmdb.Transaction) -> None:
        raise OSError(28, "No space left on device")

    commit, store._writer.commit = store._writer.commit, no_space
    with pytest.raises(StoreFull):
        apply(store, write(b"c", ABSENT))
    store._writer.commit = commit
    assert must(store, write(b"c", ABSENT)) == 2
    assert list(store.check()) == []
    store.close()
