"""What only RocksDB can do wrong: options not in force, damaged files and logs, writes that wait or half succeed."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from random import Random

import pytest
from rocksdict import Options, Rdict

from idnode_registry import format as record_format
from idnode_registry.engines import rocks_file
from idnode_registry.engines.rocks import RocksStore
from idnode_registry.engines.rows import FORMAT_ROW, format_to_row
from idnode_registry.errors import CorruptStore, FormatRefused, OpeningError, RegistryError, StoreReadOnly
from idnode_registry.journal import load_appender
from idnode_registry.store import ABSENT
from tests.registry.stores import PREFIX, PlainDisk, apply, delete, must, record, scan_all, write

LOG_BLOCK_OCTETS = 32 * 1024
CACHE_OCTETS = 3 * 1024 * 1024


def opened(path: Path, *, fsync: bool = False) -> RocksStore:
    return RocksStore.open(str(path), "fold-all", disk=PlainDisk(), fsync=fsync, cache_octets=CACHE_OCTETS)


def filled(path: Path, count: int = 3_000) -> dict[bytes, bytes]:
    """A closed store, its records in table files; folded suffix -> record as it must be served."""
    store = opened(path)
    names = [b"NAME-%06d" % number for number in range(count)]
    run = [(name, record(name, b"https://example.com/%032x" % Random(name).getrandbits(128))) for name in names]
    store.load(PREFIX, run, load_appender(now=1, prefix=PREFIX, actor=b""))
    found = {name: store.get(PREFIX, name) or b"" for name in names}
    store.close()
    assert all(found.values())
    return found


def tables(path: Path) -> list[Path]:
    return sorted(path.glob("*.sst"))


def test_the_options_are_in_force_after_reopening(tmp_path: Path) -> None:
    records = filled(tmp_path)
    store = opened(tmp_path)
    assert store._file.info("block-cache-capacity") == CACHE_OCTETS // 2
    for name in records:
        assert store.get(PREFIX, name) is not None
    assert store._file.info("block-cache-usage") > 0
    assert store._file.row_cache.get_usage() > 0
    written = max(tmp_path.glob("OPTIONS-*"), key=lambda path: int(path.name.partition("-")[2])).read_text()
    for line in (
        "compression=kZSTD",
        f"max_dict_bytes={rocks_file.DICTIONARY_OCTETS}",
        f"zstd_max_train_bytes={rocks_file.TRAINED_ON_OCTETS}",
        f"block_size={rocks_file.BLOCK_OCTETS}",
        "filter_policy=bloomfilter",
        f"max_open_files={rocks_file.OPEN_FILES_MAX}",
        "wal_recovery_mode=kTolerateCorruptedTailRecords",
    ):
        assert line in written, line
    store.close()


def test_closing_leaves_nothing_to_read_again(tmp_path: Path) -> None:
    filled(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.log")) == 0
    assert tables(tmp_path)


def test_a_database_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    database = Rdict(str(tmp_path), Options(raw_mode=True))
    database[b"somebody"] = b"else's"
    database.close()
    with pytest.raises(FormatRefused, match="not a store of ours"):
        opened(tmp_path)
    (tmp_path / rocks_file.CONFIG_NAME).unlink()
    with pytest.raises(FormatRefused, match="RocksDB database that is not a store of ours"):
        opened(tmp_path)


def test_what_a_newer_version_wrote_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr("idnode_registry.engines.rows.FORMAT", 2)
        row = format_to_row("fold-all")
    opened(tmp_path).close()
    database = Rdict(str(tmp_path), Options(raw_mode=True))
    database[b"m" + FORMAT_ROW] = row
    database.close()
    with pytest.raises(FormatRefused, match="store format 2, readable from format 2 on; this version reads 1"):
        opened(tmp_path)


def flip(path: Path, offset: int, bit: int) -> None:
    octets = bytearray(path.read_bytes())
    octets[offset] ^= 1 << bit
    path.write_bytes(bytes(octets))


def harmed(path: Path, records: dict[bytes, bytes]) -> str:
    """How damage showed; fails when a record is served that is not the one that was stored, or is denied."""
    try:
        store = opened(path)
    except RegistryError as wrong:
        return f"refused: {wrong}"
    complaints = []
    for name, expected in records.items():
        try:
            assert store.get(PREFIX, name) == expected
        except CorruptStore as wrong:
            complaints.append(str(wrong))
    problems = [problem.text for problem in store.check()]
    store.close()
    assert problems or not complaints
    assert [text for text in problems[:1] + complaints if ".sst" not in text] == []
    return "found" if problems else "harmless"


def test_a_flipped_octet_anywhere_in_a_table_is_found_and_never_served(tmp_path: Path, seed: int) -> None:
    records = filled(tmp_path)
    dice = Random(seed)
    (table,) = tables(tmp_path)
    intact = table.read_bytes()
    shown = []
    for _ in range(24):
        flip(table, dice.randrange(len(intact)), dice.randrange(8))
        shown.append(harmed(tmp_path, records))
        assert tables(tmp_path) == [table], "a damaged table was rewritten"
        table.write_bytes(intact)
    assert shown.count("harmless") < len(shown) // 2, shown
    assert [text for text in shown if text.startswith("refused") and str(tmp_path) not in text] == []


def test_a_flipped_octet_in_the_log_of_a_killed_process_is_refused(tmp_path: Path, seed: int) -> None:
    """In the last block of the log a flipped length looks like a torn end; what is left then is a whole past."""
    store, writes, dice = opened(tmp_path / "s"), 500, Random(seed)
    for number in range(writes):
        must(store, write(b"name-%04d" % number, ABSENT, b"x" * 150))
    entries = store.feed(PREFIX, 0, 0, writes)
    shutil.copytree(tmp_path / "s", tmp_path / "killed", ignore=shutil.ignore_patterns("LOCK"))
    store.close()
    log = max((tmp_path / "killed").glob("*.log"), key=lambda path: path.stat().st_size)
    intact = log.read_bytes()
    assert len(intact) > 4 * LOG_BLOCK_OCTETS
    last_block = len(intact) // LOG_BLOCK_OCTETS * LOG_BLOCK_OCTETS
    places = [dice.randrange(last_block) for _ in range(12)] + [dice.randrange(last_block, len(intact)) for _ in "ab"]
    for number, place in enumerate(places):
        folder = tmp_path / f"flipped-{number}"
        shutil.copytree(tmp_path / "killed", folder)
        flip(folder / log.name, place, dice.randrange(8))
        try:
            again = opened(folder)
        except CorruptStore as wrong:
            told = str(wrong)
        else:
            kept = again.feed(PREFIX, 0, 0, writes)
            problems = list(again.check())
            again.close()
            assert place >= last_block
            assert (kept, problems) == (entries[: len(kept)], [])
            continue
        assert f"the store in {folder} is damaged in its log or manifest" in told
    whole = opened(tmp_path / "killed")
    assert whole.feed(PREFIX, 0, 0, writes) == entries
    assert list(whole.check()) == []
    whole.close()


def test_a_damaged_store_is_not_backed_up_silently(tmp_path: Path) -> None:
    filled(tmp_path / "s")
    (table,) = tables(tmp_path / "s")
    flip(table, 5_000, 3)
    store = opened(tmp_path / "s")
    with pytest.raises((CorruptStore, OpeningError), match=r"\.sst"):
        store.backup(str(tmp_path / "copy"))
    store.close()


def test_a_write_that_was_logged_and_not_flushed_is_shown_to_nobody(tmp_path: Path) -> None:
    store = opened(tmp_path, fsync=True)
    must(store, write(b"kept", ABSENT, b"old"))
    must(store, write(b"gone", ABSENT, b"old"))
    must(store, write(b"zz", ABSENT, b"old"))
    before = store.head(PREFIX, 0), [record_format.handle_of(each) for each in scan_all(store, limit=2)]
    waits, go_on = threading.Event(), threading.Event()

    def failing() -> None:
        waits.set()
        go_on.wait(30)
        raise OSError(5, "Input/output error")

    def nothing_shows() -> None:
        assert (store.get(PREFIX, b"KEPT") or b"").endswith(b"old\0\0\0\0")
        assert store.get(PREFIX, b"GONE") is not None
        assert store.get(PREFIX, b"NEW") is None
        seen = [record_format.handle_of(each) for each in scan_all(store, limit=2)]
        assert (store.head(PREFIX, 0), seen) == before
        assert len(store.feed(PREFIX, 0, 0)) == 3
        assert store.get_meta(b"fact") is None

    def slow() -> None:
        waits.set()
        go_on.wait(30)

    store._file.sync = slow
    first = store.submit(write(b"new", ABSENT))
    assert waits.wait(30)
    waits.clear()
    store._file.sync = failing
    queued = [store.submit(delete(b"gone", None)), store.submit(write(b"kept", None, b"new"))]
    queued.append(store.put_meta(b"fact", b"x"))  # type: ignore[arg-type]
    nothing_shows()
    go_on.set()
    assert first.result(30).serial == 4
    before = store.head(PREFIX, 0), [record_format.handle_of(each) for each in scan_all(store, limit=2)]
    for future in queued:
        with pytest.raises(StoreReadOnly) as refused:
            future.result(30)
        assert refused.value.in_doubt
    assert (store.get(PREFIX, b"KEPT") or b"").endswith(b"old\0\0\0\0")
    assert store.get(PREFIX, b"GONE") is not None
    seen = [record_format.handle_of(each) for each in scan_all(store, limit=1)]
    assert (store.head(PREFIX, 0), seen) == before
    assert len(store.feed(PREFIX, 0, 0)) == 4
    store.close()
    again = opened(tmp_path)
    assert list(again.check()) == []
    again.close()


def test_a_full_disk_met_by_a_commit_makes_the_store_read_only(tmp_path: Path) -> None:
    """The log may hold the group; saying that nothing of it was kept could be a lie after the next opening."""
    store = opened(tmp_path)

    def no_space() -> None:
        raise OSError(28, "No space left on device")

    store._file.sync = no_space
    with pytest.raises(StoreReadOnly) as refused:
        apply(store, write(b"a", ABSENT))
    assert refused.value.in_doubt
    store.close()


def test_a_write_that_met_a_stall_is_tried_again(tmp_path: Path) -> None:
    store = opened(tmp_path)
    stalls, write_group = 3, store._file.write

    def stalling(changes: dict[bytes, bytes | None], before: dict[bytes, bytes | None]) -> None:
        nonlocal stalls
        stalls -= 1
        if stalls >= 0:
            raise rocks_file.Stalled("Result incomplete: Write stall")
        write_group(changes, before)

    store._file.write = stalling  # type: ignore[method-assign]
    assert must(store, write(b"a", ABSENT)) == 1
    assert store.get(PREFIX, b"A") is not None
    store.close()
