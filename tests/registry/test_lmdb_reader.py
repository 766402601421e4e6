"""A store read by one process while another writes it: nothing is remembered that the writer may change."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from idnode_registry.engines.lmdb_reader import LmdbReader
from idnode_registry.errors import OpeningError, StoreReadOnly
from tests.registry.stores import PlainDisk
from tests.registry.stores import write as batch

WRITER = """
import sys
from idnode_registry.engines.lmdb import LmdbStore
from tests.registry.stores import PlainDisk, must, write
store = LmdbStore.open(sys.argv[1], "fold-all", disk=PlainDisk(), fsync=False, map_octets=1 << 16)
print("open", flush=True)
for line in sys.stdin:
    prefix, name, text = line.encode().split()
    must(store, write(name, None, text * 200, prefix=prefix))
    print("done", flush=True)
store.close()
"""
ROOT = Path(__file__).parents[2]


@contextmanager
def writer(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process with the store open: a line "PREFIX NAME TEXT" is a write, its answer the acknowledgement."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert line(process.stdout) == "open"
        yield process
    finally:
        process.communicate()


def line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


def put(process: subprocess.Popen[str], prefix: str, name: str, text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{prefix} {name} {text}\n")
    process.stdin.flush()
    assert line(process.stdout) == "done"


@contextmanager
def reader(folder: Path) -> Iterator[LmdbReader]:
    store = LmdbReader.open_reading(str(folder), "fold-all", disk=PlainDisk(), map_octets=1 << 16)
    try:
        yield store
    finally:
        store.close()


def test_commits_new_prefixes_and_a_grown_map_are_seen(tmp_path: Path) -> None:
    with writer(tmp_path) as process, reader(tmp_path) as store:
        assert store.get(b"99.1", b"A") is None
        assert store.prefixes() == []
        put(process, "99.1", "A", "one")
        assert b"one" in (store.get(b"99.1", b"A") or b"")
        put(process, "99.1", "A", "two")
        assert b"two" in (store.get(b"99.1", b"A") or b"")
        for number in range(400):  # some 600 octets each: the map of 64 KiB doubles several times
            put(process, f"99.{number % 7}", f"N{number}", f"text{number}")
            found = store.get(f"99.{number % 7}".encode(), f"N{number}".encode())
            assert f"text{number}".encode() in (found or b"")
        assert store.prefixes() == [f"99.{number}".encode() for number in range(7)]
        assert store.head(b"99.3", 0).records == len(store.scan(b"99.3")[0]) == 57
        assert (tmp_path / "data.mdb").stat().st_size > 1 << 17


def test_writes_are_refused(tmp_path: Path) -> None:
    with writer(tmp_path) as process:
        put(process, "99.1", "A", "one")
        with reader(tmp_path) as store:
            with pytest.raises(StoreReadOnly, match="another one writes it"):
                store.submit(batch(b"B", None, prefix=b"99.1")).result()
            with pytest.raises(StoreReadOnly):
                store.put_meta(b"x", b"y").result()
            assert store.read_only_reason is None


def test_a_store_nobody_made_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(OpeningError, match="cannot be opened for reading"):
        LmdbReader.open_reading(str(tmp_path / "none"), "fold-all", disk=PlainDisk())
