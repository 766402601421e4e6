"""Templated rows in a file: written with their template, read after a restart, found when damaged and not served."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import pytest

from idnode_registry.compaction.compactor import SAMPLES, is_templated
from idnode_registry.engines import rows as row_forms
from idnode_registry.engines.lmdb import LmdbStore
from idnode_registry.engines.rows import TEMPLATED, seal, template_key
from idnode_registry.errors import CorruptRecord, CorruptStore, FormatRefused, ReadingError, StoreFull
from idnode_registry.format import digest, serial_of
from idnode_registry.journal import load_appender
from idnode_registry.store import ABSENT
from tests.registry.population import reference_record, small_record
from tests.registry.stores import PREFIX, PlainDisk, apply, delete, must, scan_all, write

COUNT = 2 * SAMPLES
Change = Callable[[Any, dict[str, Any]], None]


def opened(path: Path, disk: PlainDisk | None = None, map_octets: int = 1 << 20) -> LmdbStore:
    return LmdbStore.open(str(path), "fold-all", disk=disk or PlainDisk(), fsync=False, map_octets=map_octets)


def filled(path: Path, count: int = COUNT) -> None:
    """Records of one shape: the first ``SAMPLES - 1`` plain, the others templated."""
    store = opened(path)
    for number in range(count):
        must(store, write(b"name-%03d" % number, ABSENT, b"https://example.com/?serial=%03d" % number))
    store.close()


def tamper(path: Path, change: Change) -> None:
    """Change rows of a closed store behind its back."""
    with lmdb.Environment(str(path), max_dbs=8) as env, env.begin(write=True) as txn:
        change(txn, {name: env.open_db(name.encode(), txn=txn) for name in ("records", "meta")})


def replace(path: Path, key: bytes, row: bytes) -> None:
    tamper(path, lambda txn, tables: txn.put(key, row, db=tables["records"]))


def rows(path: Path) -> list[tuple[bytes, bytes]]:
    with lmdb.Environment(str(path), max_dbs=8) as env, env.begin(db=env.open_db(b"records")) as txn:
        return list(txn.cursor())


def load(store: LmdbStore, run: list[tuple[bytes, bytes]]) -> None:
    assert store.load(PREFIX, run, load_appender(now=1.0, prefix=PREFIX, actor=b"")) == len(run)


def test_rows_are_templated_and_all_above_sees_plain_records(tmp_path: Path) -> None:
    filled(tmp_path)
    forms = [is_templated(row) for _, row in rows(tmp_path)]
    assert forms == [False] * (SAMPLES - 1) + [True] * (COUNT - SAMPLES + 1)
    store = opened(tmp_path)
    page = scan_all(store)
    assert [record[0] for record in page] == [1] * COUNT
    assert [serial_of(record) for record in page] == list(range(1, COUNT + 1))
    assert page == [store.get(PREFIX, b"NAME-%03d" % number) for number in range(COUNT)]
    assert list(store.check()) == []
    store.backup(str(tmp_path / "copy"))
    must(store, write(b"name-050", COUNT - 13, b"https://example.com/?serial=999"))
    must(store, delete(b"name-051", 52))
    store.close()
    copy = opened(tmp_path / "copy")
    assert scan_all(copy) == page
    copy.close()


@pytest.mark.parametrize("make", [reference_record, small_record])
def test_a_loaded_run_is_templated_from_its_first_row_on(tmp_path: Path, make: Any) -> None:
    run = [make(PREFIX, number)[1:] for number in range(300)]
    store = opened(tmp_path)
    load(store, run[::2])
    load(store, run[1::2])  # between the others: nothing can be appended
    page = scan_all(store)
    assert [digest(record) for record in page] == [digest(record) for _, record in run]
    assert [serial_of(record) for record in page] == [1, 2] * 150
    assert list(store.check()) == []
    store.close()
    assert all(is_templated(row) for _, row in rows(tmp_path))


def test_a_file_says_it_is_templated_from_its_first_template_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path, SAMPLES - 1)
    with monkeypatch.context() as older:  # a version that knows no templates reads the file as long as there are none
        older.setattr(row_forms, "FEATURES", frozenset())
        opened(tmp_path).close()
    store = opened(tmp_path)
    must(store, write(b"last-000", ABSENT, b"https://example.com/?serial=000"))
    assert store.generation == 1
    store.close()
    store = opened(tmp_path)
    for number in range(SAMPLES):
        must(store, write(b"more-%03d" % number, ABSENT, b"https://example.com/?serial=%03d" % number))
    assert len(scan_all(store)) == 2 * SAMPLES
    store.close()
    monkeypatch.setattr(row_forms, "FEATURES", frozenset())
    with pytest.raises(FormatRefused, match=f"does not know: {TEMPLATED}"):
        opened(tmp_path)


def _bend_template(txn: Any, tables: dict[str, Any]) -> None:
    octets = bytearray(txn.get(template_key(1), db=tables["meta"]))
    octets[len(octets) // 2] ^= 1
    txn.put(template_key(1), bytes(octets), db=tables["meta"])


def _drop_template(txn: Any, tables: dict[str, Any]) -> None:
    assert txn.delete(template_key(1), db=tables["meta"])


def _newer_template(txn: Any, tables: dict[str, Any]) -> None:
    octets = msgpack.packb([2, b"something else"])
    txn.put(template_key(1), seal(octets), db=tables["meta"])


@pytest.mark.parametrize(
    ("change", "text"),
    [(_bend_template, "is damaged"), (_drop_template, "is missing"), (_newer_template, ".* version 2")],
)
def test_rows_of_a_template_that_cannot_be_used_are_named_and_never_served(
    tmp_path: Path, change: Change, text: str
) -> None:
    filled(tmp_path)
    tamper(tmp_path, change)
    store = opened(tmp_path)
    with pytest.raises(CorruptStore, match=f"template 1 {text}"):
        store.get(PREFIX, b"NAME-%03d" % (COUNT - 1))
    with pytest.raises(CorruptStore):
        apply(store, write(b"name-%03d" % (COUNT - 1), None))
    with pytest.raises(CorruptStore):
        scan_all(store)
    assert store.get(PREFIX, b"NAME-000") is not None
    must(store, write(b"another", ABSENT))
    problems = list(store.check())
    assert sum(problem.kind == "record" for problem in problems) == COUNT - SAMPLES + 1
    assert any("template 1" in problem.where for problem in problems) or change is _drop_template
    with pytest.raises(CorruptStore, match="not sound"):
        store.backup(str(tmp_path / "copy"))
    store.close()


def test_a_flipped_bit_anywhere_in_a_templated_row_is_found(tmp_path: Path) -> None:
    filled(tmp_path)
    key, row = rows(tmp_path)[-1]
    for place in range(len(row)):
        octets = bytearray(row)
        octets[place] ^= 1 << place % 8
        replace(tmp_path, key, bytes(octets))
        store = opened(tmp_path)
        with pytest.raises(ReadingError):
            store.get(PREFIX, b"NAME-%03d" % (COUNT - 1))
        assert [problem.kind for problem in store.check()] == ["record"]
        store.close()


def test_rows_under_each_others_keys_are_found(tmp_path: Path) -> None:
    filled(tmp_path)
    (one, first), (other, second) = rows(tmp_path)[-2:]
    replace(tmp_path, one, second)
    replace(tmp_path, other, first)
    store = opened(tmp_path)
    with pytest.raises(CorruptRecord):
        store.get(PREFIX, b"NAME-%03d" % (COUNT - 1))
    assert [problem.kind for problem in store.check()] == ["record", "record"]
    store.close()


def test_a_template_whose_commit_failed_is_written_with_the_next(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for number in range(SAMPLES - 1):
        must(store, write(b"name-%03d" % number, ABSENT))
    commit = store._writer.commit

    def no_space(txn: lmdb.Transaction) -> None:
        raise OSError(28, "No space left on device")

    store._writer.commit = no_space
    with pytest.raises(StoreFull):
        apply(store, write(b"last", ABSENT))
    store._writer.commit = commit
    must(store, write(b"last", ABSENT))
    store.close()
    assert is_templated(rows(tmp_path)[0][1])
    store = opened(tmp_path)
    assert len(scan_all(store)) == SAMPLES
    assert list(store.check()) == []
    store.close()


def test_a_map_that_grows_while_a_template_is_learnt(tmp_path: Path) -> None:
    store = opened(tmp_path, map_octets=1 << 17)
    run = [reference_record(PREFIX, number)[1:] for number in range(4_000)]
    load(store, run)
    assert store._env.info()["map_size"] > 1 << 17
    assert [digest(record) for record in scan_all(store)] == [digest(record) for _, record in run]
    store.close()
    store = opened(tmp_path, map_octets=1 << 17)
    assert [digest(record) for record in scan_all(store)] == [digest(record) for _, record in run]
    assert list(store.check()) == []
    store.close()
