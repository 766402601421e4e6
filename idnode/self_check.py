"""Does a country really work? Registers identifiers by protocol and resolves each in every way there is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from idnode.client.administrator import Administrator as AdminClient
from idnode.client.errors import ClientError
from idnode.client.resolver import Resolver
from idnode.country.country import Country
from idnode.country.nodes import CountryNode
from idnode.demo import SECRET_KEY_INDEX
from idnode_protocol.value import HandleValue

IDENTIFIERS: Final = 1_000
AT_ONCE: Final = 16
FAILURES_MAX: Final = 10
Servers = Callable[[CountryNode], str]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What the self-check did; ``failures`` names what went wrong, at most ten of them."""

    holders: tuple[str, ...]
    registered: int
    resolved: dict[str, int]
    seconds: float
    failures: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        return not self.failures


class SelfCheck:
    """One run against a running country: the demo node and an enterprise below it take turns as holders."""

    def __init__(self, country: Country, progress: Callable[[str, int], None] = lambda step, done: None) -> None:
        self._country = country
        self._adapters = country.adapters
        self._progress = progress
        self._holders = country.holders_to_check()
        self._failures: list[str] = []

    def _holder(self, number: int) -> CountryNode:
        return self._holders[number % len(self._holders)]

    def _name(self, number: int) -> str:
        return f"{self._holder(number).prefixes[0]}/self-check-{number:06d}"

    @staticmethod
    def _url(number: int) -> bytes:
        return f"https://example.org/part/{number}".encode()

    def _ways(self) -> list[tuple[str, str, Servers]]:
        """(name, transport, server to ask for what a holder holds)."""
        ways: list[tuple[str, str, Servers]] = [
            ("over UDP", "udp", lambda holder: holder.native),
            ("over TCP", "tcp", lambda holder: holder.native),
            ("over HTTP", "http", lambda holder: holder.http),
        ]
        recursive = self._country.recursive_or_none
        if recursive is not None:
            ways.append(("through the recursive node", "udp", lambda holder: recursive.native))
        return ways

    async def run(self, count: int = IDENTIFIERS) -> CheckReport:
        """Register, resolve in every way, remove."""
        started = self._adapters.clock.monotonic()
        registered = await self._administer("register", count)
        resolved: dict[str, int] = {}
        try:
            for way, transport, server in self._ways():
                resolved[way] = await self._resolve_all(way, transport, server, count)
        finally:
            await self._administer("remove", count)
        seconds = self._adapters.clock.monotonic() - started
        names = tuple(holder.name for holder in self._holders)
        return CheckReport(names, registered, resolved, seconds, tuple(self._failures[:FAILURES_MAX]))

    async def _administer(self, step: str, count: int) -> int:
        admins: dict[str, AdminClient] = {}
        resolvers = [Resolver(each.native, adapters=self._adapters, transports=("tcp",)) for each in self._holders]
        for holder, resolver in zip(self._holders, resolvers, strict=True):
            secret = holder.keys.administrator.secret
            admins[holder.name] = AdminClient(resolver, holder.administrator, SECRET_KEY_INDEX, secret=secret)

        async def register(number: int) -> None:
            admin = admins[self._holder(number).name]
            await admin.create(self._name(number), [HandleValue(1, "URL", self._url(number)), admin.admin_value()])

        async def remove(number: int) -> None:
            await admins[self._holder(number).name].delete(self._name(number))

        try:
            return await self._each(step, register if step == "register" else remove, count)
        finally:
            for admin, resolver in zip(admins.values(), resolvers, strict=True):
                await admin.close()
                await resolver.close()

    async def _resolve_all(self, way: str, transport: str, server: Servers, count: int) -> int:
        resolvers = {
            holder.name: Resolver(server(holder), adapters=self._adapters, transports=(transport,))
            for holder in self._holders
        }

        async def resolve(number: int) -> None:
            record = await resolvers[self._holder(number).name].resolve(self._name(number))
            if record.data("URL") != self._url(number):
                raise ClientError(f"{self._name(number)} {way}: not what was registered")

        try:
            return await self._each(f"resolve {way}", resolve, count)
        finally:
            for resolver in resolvers.values():
                await resolver.close()

    async def _each(self, step: str, work: Callable[[int], Awaitable[None]], count: int) -> int:
        """Do ``work`` for every number, 16 at once; returns how many went well."""
        numbers = iter(range(count))
        done = 0

        async def worker() -> None:
            nonlocal done
            for number in numbers:
                try:
                    await work(number)
                    done += 1
                    self._progress(step, done)
                except ClientError as wrong:
                    self._failures.append(f"{step}: {wrong}")

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        return done
