"""Does a node really work? Registers identifiers by protocol and resolves each over UDP, TCP and HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from idnode.adapters import Adapters
from idnode.client.administrator import Administrator as AdminClient
from idnode.client.errors import ClientError
from idnode.client.resolver import Resolver
from idnode.demo import SECRET_KEY_INDEX, Administrator
from idnode.node import Node
from idnode_protocol.handle import to_text
from idnode_protocol.value import HandleValue

IDENTIFIERS: Final = 1_000
AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What the self-check did; ``failures`` names what went wrong, at most ten of them."""

    registered: int
    resolved: dict[str, int]
    seconds: float
    failures: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        return not self.failures


class SelfCheck:
    """One run against one running node."""

    def __init__(
        self, node: Node, prefix: str, admin: Administrator, adapters: Adapters, progress: Callable[[str, int], None]
    ) -> None:
        self._node, self._prefix, self._admin, self._adapters = node, prefix, admin, adapters
        self._progress = progress
        self._failures: list[str] = []

    def _name(self, number: int) -> str:
        return f"{self._prefix}/self-check-{number:06d}"

    @staticmethod
    def _url(number: int) -> bytes:
        return f"https://example.org/part/{number}".encode()

    async def run(self, count: int = IDENTIFIERS) -> CheckReport:
        """Register, resolve three ways, remove."""
        started = self._adapters.clock.monotonic()
        tcp = f"{self._node.tcp_addresses[0]}"
        resolver = Resolver(tcp, adapters=self._adapters, transports=("tcp",))
        admin = AdminClient(resolver, to_text(self._admin.handle), SECRET_KEY_INDEX, secret=self._admin.secret)

        async def create(number: int) -> None:
            await admin.create(self._name(number), [HandleValue(1, "URL", self._url(number)), admin.admin_value()])

        async def delete(number: int) -> None:
            await admin.delete(self._name(number))

        registered = await self._each("register", create, count)
        resolved: dict[str, int] = {}
        try:
            for kind, server in (
                ("udp", str(self._node.udp_addresses[0])),
                ("tcp", tcp),
                ("http", f"http://{self._node.http_addresses[0]}"),
            ):
                resolved[kind] = await self._resolve_all(kind, server, count)
        finally:
            await self._each("remove", delete, count)
            await admin.close()
            await resolver.close()
        seconds = self._adapters.clock.monotonic() - started
        return CheckReport(registered, resolved, seconds, tuple(self._failures[:10]))

    async def _resolve_all(self, kind: str, server: str, count: int) -> int:
        async with Resolver(server, adapters=self._adapters, transports=(kind,)) as resolver:

            async def resolve(number: int) -> None:
                record = await resolver.resolve(self._name(number))
                if record.data("URL") != self._url(number):
                    raise ClientError(f"{self._name(number)} over {kind}: not what was registered")

            return await self._each(f"resolve {kind}", resolve, count)

    async def _each(self, step: str, work: Callable[[int], object], count: int) -> int:
        """Do ``work`` for every number, 16 at once; returns how many went well."""
        numbers = iter(range(count))
        done = 0

        async def worker() -> None:
            nonlocal done
            for number in numbers:
                try:
                    await work(number)  # type: ignore[misc]
                    done += 1
                    self._progress(step, done)
                except ClientError as wrong:
                    self._failures.append(f"{step}: {wrong}")

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        return done
