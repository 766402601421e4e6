"""What the tests of the storage engines share: a plain disk, records to store, batches to store them with."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Sequence

from idnode_protocol.value import HandleValue, values_to_octets
from idnode_registry import format as record_format
from idnode_registry.journal import Operation, appender
from idnode_registry.store import Batch, Outcome, Result, Store

PREFIX = b"99.900"
ACTOR = b"300:99.900/ADMIN"
NOW = 1_795_392_000.5


class HeldFile:
    """A locked file; both verbs are idempotent."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class PlainDisk:
    """The file system as it is, in the few verbs engines use. ``reserve_reached`` makes it look full."""

    def __init__(self) -> None:
        self.reserve_reached = False

    def makedirs(self, path: str) -> None:
        os.makedirs(path, mode=0o700, exist_ok=True)

    def listdir(self, path: str) -> Sequence[str]:
        return os.listdir(path)

    def remove_tree(self, path: str) -> None:
        shutil.rmtree(path, ignore_errors=True)

    def lock(self, path: str) -> HeldFile:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return HeldFile(descriptor)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def read(self, path: str) -> bytes:
        return self.read_part(path, 0, os.path.getsize(path))

    def read_part(self, path: str, offset: int, octets: int) -> bytes:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(octets)

    def write_atomic(self, path: str, octets: bytes) -> None:
        with open(path + ".part", "wb") as file:
            file.write(octets)
        os.replace(path + ".part", path)

    def append(self, path: str, octets: bytes) -> None:
        with open(path, "ab") as file:
            file.write(octets)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def free(self, path: str) -> tuple[int, int]:
        usage = shutil.disk_usage(path)
        return (0 if self.reserve_reached else usage.free), usage.total

    def sync(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def value_octets(text: bytes = b"https://example.com/", count: int = 1) -> bytes:
    """A value list of ``count`` URL values."""
    return values_to_octets([HandleValue(number + 1, "URL", text) for number in range(count)])


def record(suffix: bytes, text: bytes = b"https://example.com/", prefix: bytes = PREFIX) -> bytes:
    """A record spelled in the case given."""
    return record_format.pack(prefix + b"/" + suffix, 0, value_octets(text))


def write(
    suffix: bytes,
    expected: int | None,
    text: bytes = b"https://example.com/",
    *,
    prefix: bytes = PREFIX,
    fold: bool = True,
    after_image: bool = False,
) -> Batch:
    """A batch that stores a record under ``suffix`` (spelled as given, stored folded)."""
    entry = appender(
        now=NOW,
        operation=Operation.CREATE if expected == 0 else Operation.REPLACE,
        handle=prefix + b"/" + suffix,
        actor=ACTOR,
        after_image=after_image,
    )
    return Batch(prefix, suffix.upper() if fold else suffix, expected, record(suffix, text, prefix), entry)


def delete(suffix: bytes, expected: int | None, *, prefix: bytes = PREFIX) -> Batch:
    """A batch that deletes."""
    handle = prefix + b"/" + suffix
    entry = appender(now=NOW, operation=Operation.DELETE, handle=handle, actor=ACTOR, after_image=False)
    return Batch(prefix, suffix.upper(), expected, None, entry)


def apply(store: Store, batch: Batch) -> Result:
    """Submit and wait."""
    return store.submit(batch).result(30)


def must(store: Store, batch: Batch) -> int:
    """Submit, wait, insist on APPLIED; the entry's serial."""
    result = apply(store, batch)
    assert result.outcome is Outcome.APPLIED, result
    return result.serial


def scan_all(store: Store, prefix: bytes = PREFIX, limit: int = 1000) -> list[bytes]:
    """Every record under a prefix, page by page."""
    found: list[bytes] = []
    cursor = None
    while True:
        page, cursor = store.scan(prefix, cursor, limit)
        assert len(page) <= limit
        found += page
        if cursor is None:
            return found
