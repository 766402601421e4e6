"""What any store on a disk can do wrong, whatever its engine: locks, failing commits, full disks, threads, backups."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, Protocol

import pytest

from idnode_registry import format as record_format
from idnode_registry.engines.embedded import EmbeddedStore
from idnode_registry.engines.opening import ENGINES, open_folder
from idnode_registry.errors import (
    CaseModeMismatch,
    EngineMissing,
    FormatRefused,
    NotRepresentable,
    StoreClosed,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
)
from idnode_registry.store import ABSENT, CaseMode, EngineName, Outcome, Store
from tests.registry.stores import PREFIX, PlainDisk, apply, delete, must, scan_all, write


class Opener(Protocol):
    def __call__(
        self, path: Path, disk: PlainDisk | None = None, *, case_mode: CaseMode = "fold-all", fsync: bool = False
    ) -> EmbeddedStore: ...


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    return name


@pytest.fixture
def opened(engine: EngineName) -> Opener:
    def opening(
        path: Path, disk: PlainDisk | None = None, *, case_mode: CaseMode = "fold-all", fsync: bool = False
    ) -> EmbeddedStore:
        return open_folder(str(path), case_mode, disk=disk or PlainDisk(), engine=engine, fsync=fsync)

    return opening


def test_a_folder_is_opened_by_the_engine_that_made_it_and_refused_by_the_other(
    opened: Opener, engine: EngineName, tmp_path: Path
) -> None:
    store = opened(tmp_path)
    must(store, write(b"a", ABSENT))
    store.close()
    other: EngineName = "rocksdb" if engine == "lmdb" else "lmdb"
    with pytest.raises(FormatRefused, match=f"was made by the engine {engine}, not {other}: ask for {engine}"):
        open_folder(str(tmp_path), "fold-all", disk=PlainDisk(), engine=other)
    again = open_folder(str(tmp_path), "fold-all", disk=PlainDisk())
    assert type(again) is type(store)
    assert again.get(PREFIX, b"A") is not None
    again.close()


def test_a_folder_with_two_stores_is_refused(tmp_path: Path) -> None:
    for engine in ENGINES.values():
        (tmp_path / engine.mark).write_bytes(b"")
    with pytest.raises(FormatRefused, match="the files of lmdb and rocksdb"):
        open_folder(str(tmp_path), "fold-all", disk=PlainDisk())


def test_an_engine_that_is_not_installed_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("rocksdict", "idnode_registry.engines.rocks"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rocksdict", None)
    with pytest.raises(EngineMissing, match=r"rocksdb is not installed: pip install 'idnode\[rocksdb\]'"):
        open_folder(str(tmp_path), "fold-all", disk=PlainDisk(), engine="rocksdb")


def test_a_store_in_use_is_refused_and_free_again_after_closing(opened: Opener, tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(StoreLocked, match="stop it and try again"):
        opened(tmp_path)
    store.close()
    store.close()
    opened(tmp_path).close()


def test_the_other_case_mode_is_refused_by_name(opened: Opener, tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(CaseModeMismatch, match="'fold-all' and cannot be opened as 'fold-prefix'"):
        opened(tmp_path, case_mode="fold-prefix")
    opened(tmp_path).close()  # the refusal gave the lock back


def test_after_a_failed_commit_nothing_is_acknowledged_any_more(opened: Opener, tmp_path: Path) -> None:
    store = opened(tmp_path, fsync=True)
    must(store, write(b"before", ABSENT))
    commits = 0

    def fail(txn: Any) -> None:
        nonlocal commits
        commits += 1
        raise OSError(5, "Input/output error")

    store._writer.commit = fail
    with pytest.raises(StoreReadOnly) as refused:
        apply(store, write(b"during", ABSENT))
    assert refused.value.in_doubt
    assert store.read_only_reason is not None
    store._writer.commit = lambda txn: txn.commit()  # the disk says it is well again: too late
    later: list[Future[Any]] = [store.submit(write(b"after-%d" % number, ABSENT)) for number in range(50)]
    later.append(store.put_meta(b"name", b"value"))
    wait(later, 30)
    for future in later:
        with pytest.raises(StoreReadOnly) as refused:
            future.result()
        assert not refused.value.in_doubt
    assert commits == 1
    assert store.get(PREFIX, b"BEFORE") is not None
    assert store.get(PREFIX, b"DURING") is None
    store.close()
    again = opened(tmp_path)
    assert [record_format.handle_of(octets) for octets in scan_all(again)] == [b"99.900/before"]
    must(again, write(b"after", ABSENT))
    assert list(again.check()) == []
    again.close()


def test_the_whole_group_of_a_failed_commit_fails(opened: Opener, tmp_path: Path) -> None:
    """Writes queue up while a commit waits for the disk; the next commit takes them all, and fails."""
    store = opened(tmp_path)
    first_waits, go_on = threading.Event(), threading.Event()

    def slow(txn: Any) -> None:
        first_waits.set()
        go_on.wait(30)
        txn.commit()
        store._writer.commit = broken

    def broken(txn: Any) -> None:
        raise OSError(5, "Input/output error")

    store._writer.commit = slow
    first = store.submit(write(b"first", ABSENT))
    assert first_waits.wait(30)
    queued = [store.submit(write(b"q-%d" % number, ABSENT)) for number in range(20)]
    assert not first.done()  # nothing is acknowledged before its commit
    go_on.set()
    assert first.result(30).outcome is Outcome.APPLIED
    for future in queued:
        with pytest.raises(StoreReadOnly):
            future.result(30)
    store.close()


def test_a_full_disk_refuses_writes_and_recovers(opened: Opener, tmp_path: Path) -> None:
    disk = PlainDisk()
    store = opened(tmp_path, disk)
    must(store, write(b"a", ABSENT))
    disk.reserve_reached = True
    with pytest.raises(StoreFull):
        apply(store, write(b"b", ABSENT))
    assert store.get(PREFIX, b"A") is not None
    assert store.get(PREFIX, b"B") is None
    disk.reserve_reached = False
    must(store, write(b"b", ABSENT))
    assert list(store.check()) == []
    store.close()


def test_sixteen_threads_create_each_name_once(opened: Opener, tmp_path: Path) -> None:
    store = opened(tmp_path)
    applied: list[bytes] = []

    def work(seed: int) -> None:
        futures = []
        for number in range(60):
            name = b"shared-%d" % ((number * 7 + seed) % 100)
            futures.append((name, store.submit(write(name, ABSENT, b"%d" % seed))))
        applied.extend(name for name, future in futures if future.result(30).outcome is Outcome.APPLIED)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(applied) == len(set(applied)) == 100
    assert store.head(PREFIX, 0).serial == 100
    assert list(store.check()) == []
    store.close()


def test_check_beside_writers_blames_nobody(opened: Opener, tmp_path: Path) -> None:
    store = opened(tmp_path)
    for number in range(50):
        must(store, write(b"%d" % number, ABSENT))
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            apply(store, write(b"%d" % (number % 50), None))
            apply(store, write(b"new-%d" % number, ABSENT))
            apply(store, delete(b"new-%d" % number, None))
            number += 1

    writer = threading.Thread(target=work)
    writer.start()
    try:
        for _ in range(5):
            assert list(store.check()) == []
    finally:
        stop.set()
        writer.join(30)
    store.close()


def test_a_backup_under_load_is_a_store_that_opens(opened: Opener, tmp_path: Path) -> None:
    store = opened(tmp_path / "s")
    for number in range(100):
        must(store, write(b"%d" % number, ABSENT))
    queued = [store.submit(write(b"more-%d" % number, ABSENT)) for number in range(100)]
    store.backup(str(tmp_path / "copy"))
    wait(queued, 30)
    with pytest.raises(NotRepresentable, match="not empty"):
        store.backup(str(tmp_path / "copy"))
    store.close()
    copy = opened(tmp_path / "copy")
    assert 100 <= len(scan_all(copy)) <= 200
    assert len(scan_all(copy)) == copy.head(PREFIX, 0).records
    copy.close()


def test_a_closed_store_says_so(opened: Opener, tmp_path: Path) -> None:
    store = opened(tmp_path)
    queued = [store.submit(write(b"%d" % number, ABSENT)) for number in range(50)]
    store.close()
    assert all(future.result(0).outcome is Outcome.APPLIED for future in queued)
    for ask in (
        lambda: store.get(PREFIX, b"A"),
        lambda: store.scan(PREFIX),
        lambda: store.head(PREFIX, 0),
        lambda: store.get_meta(b"x"),
        lambda: apply(store, write(b"x", ABSENT)),
    ):
        with pytest.raises(StoreClosed):
            ask()
    assert_is_a_store(store)


def assert_is_a_store(store: Store) -> None:
    """For the type checker: the engine is one."""
