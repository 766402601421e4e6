"""A process around one store, driven by JSON lines: the one that is killed.

    store_child.py FOLDER

In: ``{"n", "key", "value", "expect", "operation"}`` (see oracle.Operation), run by 16 threads; ``{"dump": true}``.
Out: ``{"n", "outcome", "serial"}``; for a dump ``{"state", "feed", "problems"}``; first of all ``{"ready": true}``.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from threading import Lock
from typing import Any

from idnode_protocol.handle import fold
from idnode_protocol.value import HandleValue
from idnode_registry.engines.lmdb import LmdbStore
from idnode_registry.format import handle_of, pack, serial_of, value_list
from idnode_registry.journal import Operation, appender, parse
from idnode_registry.store import Batch
from tests.registry.stores import PlainDisk

PREFIX = b"99.900"
WRITERS = 16
NOW = 1_700_000_000.0


class Child:
    """Answers go out one whole line at a time."""

    def __init__(self, store: LmdbStore) -> None:
        self._store, self._lock = store, Lock()

    def say(self, answer: dict[str, Any]) -> None:
        with self._lock:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()

    def run(self, job: dict[str, Any]) -> None:
        try:
            self.say(self.dump() if job.get("dump") else self.write(job))
        except Exception as error:
            self.say({"n": job.get("n"), "outcome": "error", "text": f"{type(error).__name__}: {error}"})

    def write(self, job: dict[str, Any]) -> dict[str, Any]:
        handle = PREFIX + b"/" + job["key"].encode()
        record = None if job["value"] is None else pack(handle, 0, values_of(job["value"]))
        entry = appender(now=NOW, operation=Operation(job["operation"]), handle=handle, actor=b"", after_image=False)
        suffix = fold(handle.partition(b"/")[2])
        result = self._store.submit(Batch(PREFIX, suffix, job["expect"], record, entry)).result()
        return {"n": job["n"], "outcome": result.outcome.value, "serial": result.serial}

    def dump(self) -> dict[str, Any]:
        """All records, the whole feed, and what the store's own check finds."""
        problems = [str(problem) for problem in self._store.check()]
        state: dict[str, list[Any]] = {}
        feed: list[list[Any]] = []
        cursor = None
        while True:
            page, cursor = self._store.scan(PREFIX, cursor, 1000)
            for record in page:
                state[key_of(handle_of(record))] = [value_of(bytes(value_list(record))), serial_of(record)]
            if cursor is None:
                break
        while page := self._store.feed(PREFIX, 0, len(feed), 1000):
            for octets in page:
                entry = parse(octets)
                feed.append([entry.serial, entry.operation, key_of(entry.handle), sha256(octets).hexdigest()[:16]])
        return {"state": state, "feed": feed, "problems": problems}


def key_of(handle: bytes) -> str:
    return handle.partition(b"/")[2].decode()


def values_of(value: str) -> bytes:
    return (1).to_bytes(4, "big") + HandleValue(1, "URL", value.encode(), timestamp=int(NOW)).to_octets()


def value_of(values: bytes) -> str:
    return HandleValue.from_octets(values[4:]).data.decode()


def main(folder: str) -> None:
    store = LmdbStore.open(folder, "fold-all", disk=PlainDisk())
    child = Child(store)
    child.say({"ready": True})
    with ThreadPoolExecutor(WRITERS) as pool:
        for line in sys.stdin:
            pool.submit(child.run, json.loads(line))
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
