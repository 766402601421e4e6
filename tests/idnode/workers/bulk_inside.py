"""A registry process that loads records at full speed while a file ``bulk`` lies beside its store."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from idnode.workers.nodes import RegistryNode
from idnode_registry import format as record_format
from idnode_registry.journal import load_appender
from tests.registry.stores import value_octets

PREFIX = b"99.902"
RUN_RECORDS = 2_000
LOOK_S = 0.02
_open = RegistryNode.open


async def _open_and_load(self: RegistryNode) -> None:
    await _open(self)
    threading.Thread(target=_load, args=(self,), daemon=True).start()


def _load(node: RegistryNode) -> None:
    assert node.config.store.folder is not None
    flag: Path = node.config.store.folder.parent / "bulk"
    values, first = value_octets(), 0
    while True:
        if not flag.exists():
            time.sleep(LOOK_S)
            continue
        names = [b"%012d" % number for number in range(first, first + RUN_RECORDS)]
        run = [(name, record_format.pack(PREFIX + b"/" + name, 0, values)) for name in names]
        node.store.load(PREFIX, run, load_appender(now=1.0, prefix=PREFIX, actor=b"bulk"))
        first += RUN_RECORDS
        (flag.parent / "loaded").write_text(str(first))


RegistryNode.open = _open_and_load  # type: ignore[method-assign]
