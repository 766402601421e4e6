"""Runs inside the guest: writes records until the power goes, or says what is there after it came back.

    guest.py write|read FOLDER on|off        fsync on or off

``write`` keeps 16 writes in flight and prints ``ACK n`` once the n-th record's future has resolved as applied.
``read`` prints ``HAVE 1-17,19`` (records present with the right content), ``WRONG n``, ``PROBLEM text`` for what the
store's own check finds, ``ERR text`` if it cannot be read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import Future
from hashlib import sha256
from threading import Semaphore

from idnode_protocol.handle import fold
from idnode_protocol.value import HandleValue
from idnode_registry.engines.lmdb import LmdbStore
from idnode_registry.format import handle_of as written_handle
from idnode_registry.format import pack, value_list
from idnode_registry.journal import Operation, appender
from idnode_registry.store import ABSENT, Batch, Outcome, Result
from tests.registry.stores import PlainDisk

PREFIX = b"99.900"
IN_FLIGHT = 16
RECORDS_MAX = 100_000
NOW = 1_700_000_000.0


def handle_of(number: int) -> bytes:
    return PREFIX + b"/P%08d" % number


def name_of(number: int) -> bytes:
    return fold(b"P%08d" % number)


def values_of(number: int) -> bytes:
    """400 octets nobody can guess, so that a record found is the record written."""
    data = b"".join(sha256(b"%d/%d" % (number, part)).hexdigest().encode() for part in range(6))
    return (1).to_bytes(4, "big") + HandleValue(1, "URL", data, timestamp=int(NOW)).to_octets()


def say(text: str) -> None:
    """One write per line: what was said before the cut arrived whole."""
    os.write(1, text.encode() + b"\n")


def write(store: LmdbStore) -> None:
    free = Semaphore(IN_FLIGHT)

    def done(number: int) -> Callable[[Future[Result]], None]:
        def tell(future: Future[Result]) -> None:
            if future.result().outcome is Outcome.APPLIED:
                say(f"ACK {number}")
            free.release()

        return tell

    first = max(present(store)[0], default=0) + 1
    for number in range(first, RECORDS_MAX):
        free.acquire()
        handle = handle_of(number)
        entry = appender(now=NOW, operation=Operation.CREATE, handle=handle, actor=b"", after_image=False)
        record = pack(handle, 0, values_of(number))
        future = store.submit(Batch(PREFIX, name_of(number), ABSENT, record, entry))
        future.add_done_callback(done(number))


def present(store: LmdbStore) -> tuple[list[int], list[int]]:
    """Numbers found with the right content, and those found with another."""
    right: list[int] = []
    wrong: list[int] = []
    cursor = None
    while True:
        page, cursor = store.scan(PREFIX, cursor, 1000)
        for record in page:
            number = int(written_handle(record).rpartition(b"/P")[2])
            (right if bytes(value_list(record)) == values_of(number) else wrong).append(number)
        if cursor is None:
            return right, wrong


def ranges(numbers: list[int]) -> str:
    """``1-17,19``"""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def read(store: LmdbStore) -> None:
    right, wrong = present(store)
    for number in wrong:
        say(f"WRONG {number}")
    for problem in store.check():
        say(f"PROBLEM {problem}")
    say(f"HAVE {ranges(right)}")


def main(job: str, folder: str, fsync: str) -> None:
    try:
        store = LmdbStore.open(folder, "fold-all", disk=PlainDisk(), fsync=fsync == "on")
        {"write": write, "read": read}[job](store)
        store.close()
    except Exception as error:
        say(f"ERR {type(error).__name__}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
