"""One node over many lives: started with settings drawn anew, written to by TCP, killed, and read where it lies."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from idnode.adapters.disk import RealDisk
from idnode.demo import Administrator, seed_administrator, seed_prefix
from idnode_protocol.value import HandleValue, values_from_octets
from idnode_registry.crypto import Signer
from idnode_registry.engines.embedded import EmbeddedStore
from idnode_registry.engines.opening import open_folder
from idnode_registry.format import handle_of, serial_of, value_list
from idnode_registry.journal import parse
from idnode_registry.keystore import write_private_key
from idnode_registry.registry import Registry
from idnode_registry.store import EngineName

PREFIX = b"99.901"
"""Holds what the writers write and nothing else."""
ADMIN = b"99.900/ADMIN"
SECRET = b"a fictional secret"
READY_WITHIN_S = 60.0
ROOT = Path(__file__).parents[2]
SETTINGS = """
key_file = "{folder}/server.key"
prefixes = ["99.900", "99.901"]
[listen]
addresses = ["127.0.0.1"]
tcp_port = 0
udp_port = 0
http_port = {http}
[store]
folder = "{folder}/store"
engine = "{engine}"
fsync = true
after_images = {after_images}
[authentication]
anonymous_full_access = {is_open}
"""


@dataclass(frozen=True, slots=True)
class Life:
    """How the node lives until it is killed. ``is_open``: nobody is asked who he is, so that writes come faster."""

    group_jobs: int
    after_images: bool
    is_open: bool
    has_http: bool

    @classmethod
    def drawn(cls, random: Random) -> Life:
        return cls(
            random.choice((1, 2, 5, 16, 4_096)),
            random.random() < 0.5,
            random.random() < 0.75,
            random.random() < 0.3,
        )


class Folder:
    """What survives: the store and the keys."""

    def __init__(self, path: Path, engine: EngineName) -> None:
        self.path = path
        self.engine = engine
        path.mkdir(mode=0o700)
        signer = Signer.generate()
        RealDisk().write_atomic(path / "server.key", write_private_key(signer, None, os.urandom), 0o600)
        administrator = Administrator(ADMIN, SECRET, signer.public_key_octets)
        store = self._open()
        try:
            registry = Registry(store, rng=os.urandom)
            for prefix in (b"99.900", PREFIX):
                seed_prefix(registry, prefix, administrator, (), 1.0)
            seed_administrator(registry, administrator, 1.0)
        finally:
            store.close()

    def _open(self) -> EmbeddedStore:
        return open_folder(str(self.path / "store"), "fold-all", disk=RealDisk(), engine=self.engine)

    def dump(self) -> dict[str, Any]:
        """All records of the writers, their whole feed, and what the store's own check finds. Nobody may run."""
        store = self._open()
        try:
            problems = [str(problem) for problem in store.check()]
            state: dict[str, tuple[str, int]] = {}
            feed: list[tuple[int, int, str, str]] = []
            cursor = None
            while True:
                page, cursor = store.scan(PREFIX, cursor, 1_000)
                state |= {key_of(handle_of(record)): (value_of(record), serial_of(record)) for record in page}
                if cursor is None:
                    break
            while part := store.feed(PREFIX, 0, len(feed), 1_000):
                for octets in part:
                    entry = parse(octets)
                    digest = sha256(octets).hexdigest()[:16]
                    feed.append((entry.serial, int(entry.operation), key_of(entry.handle), digest))
            return {"state": state, "feed": feed, "problems": problems}
        finally:
            store.close()


def handle_for(key: str) -> str:
    return f"{PREFIX.decode()}/{key}"


def key_of(handle: bytes) -> str:
    return handle.partition(b"/")[2].decode()


def url(value: str) -> HandleValue:
    """How the writers store a value."""
    return HandleValue(1, "URL", value.encode())


def value_of(record: bytes) -> str:
    values = values_from_octets(bytes(value_list(record)))
    return next(value.data.decode() for value in values if value.index == 1)


class Nodes:
    """Starts one node after the other in the folder; ``async with``. ``address`` is that of the living one."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._errors = folder.path / "errors"
        self._pid = 0
        self.address = ""

    async def __aenter__(self) -> Nodes:
        # IDNODE_... are settings to a node, and those of the tests are none.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("IDNODE_")}
        environment = {**kept, "PYTHONPATH": str(ROOT)}
        self._parent = await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(__file__).with_name("node_child.py"))),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.kill()
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        await self._parent.wait()

    async def _line(self) -> str:
        assert self._parent.stdout is not None
        return (await asyncio.wait_for(self._parent.stdout.readline(), READY_WITHIN_S)).decode()

    async def start(self, life: Life, defect: str = "") -> None:
        """Returns once the node answers."""
        settings = SETTINGS.format(
            folder=self._folder.path,
            engine=self._folder.engine,
            http="0" if life.has_http else '"none"',
            after_images=str(life.after_images).lower(),
            is_open=str(life.is_open).lower(),
        )
        (self._folder.path / "node.toml").write_text(settings)
        self._errors.unlink(missing_ok=True)
        order = {"settings": str(self._folder.path / "node.toml"), "errors": str(self._errors)}
        order |= {"group_jobs": life.group_jobs, "defect": defect}  # type: ignore[dict-item]
        assert self._parent.stdin is not None
        self._parent.stdin.write(json.dumps(order).encode() + b"\n")
        self._pid = int((await self._line()).removeprefix("pid "))
        line = await self._line()
        found = re.search(r"serves \d+ prefixes on ([\d.]+:\d+)", line)
        if found is None:
            self._pid = 0
            raise AssertionError(f"the node did not start with {life}: {line!r} {self._complaints()[-2_000:]}")
        self.address = found[1]

    async def kill(self) -> str:
        """SIGKILL, and its end; what it had complained about before."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            self._pid = 0
            ended = await self._line()
            assert ended == f"ended {-signal.SIGKILL}\n", f"it ended before it was killed: {ended} {self._complaints()}"
        return self._complaints()

    def _complaints(self) -> str:
        return self._errors.read_text("utf-8", "replace") if self._errors.exists() else ""
