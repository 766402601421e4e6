"""Several operations at once: reads go one way, writes another, and one engine decides when each leaves."""

from __future__ import annotations

from idnode_bench.load.engine import Done, Port, Request
from idnode_bench.targets.writing import LIST, WRITES

_WRITTEN = frozenset((*WRITES, LIST))


class MixedPort:
    """``reads`` for resolutions, ``writes`` for everything that needs an administrator."""

    def __init__(self, reads: Port, writes: Port) -> None:
        self.transport = f"{reads.transport} + {writes.transport}"
        self._reads, self._writes, self._late = reads, writes, 0

    @property
    def unexpected(self) -> int:
        """Of both ways, and answers to requests that were given up."""
        return self._reads.unexpected + self._writes.unexpected + self._late

    @unexpected.setter
    def unexpected(self, total: int) -> None:
        self._late = total - self._reads.unexpected - self._writes.unexpected

    async def open(self, done: Done) -> None:
        await self._reads.open(done)
        await self._writes.open(done)

    def send(self, requests: list[Request]) -> None:
        written = [request for request in requests if request.operation in _WRITTEN]
        read = [request for request in requests if request.operation not in _WRITTEN]
        if read:
            self._reads.send(read)
        if written:
            self._writes.send(written)

    def forget(self, request: Request) -> None:
        (self._writes if request.operation in _WRITTEN else self._reads).forget(request)

    async def close(self) -> None:
        await self._reads.close()
        await self._writes.close()
