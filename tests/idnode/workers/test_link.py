"""A resolver's way to the registry process, in one process: numbers, bounds, an end in the middle, a new beginning."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from idnode.adapters import Adapters, real_adapters
from idnode.adapters.clock import RealClock
from idnode.adapters.errors import NobodyListens
from idnode.source import Source
from idnode.workers import link as link_module
from idnode.workers.door import Told, ask_door, open_door
from idnode.workers.frames import Octets, Purpose, Values, pack
from idnode.workers.link import OutcomeUnknown, RegistryAway, RegistryLink

TCP = Source("tcp", "192.0.2.7", 4_711)
UDP = Source("udp", "192.0.2.7", 4_711)
CLOCK = RealClock()


class Registry:
    """Answers when it is told to, in the order it is told."""

    def __init__(self, adapters: Adapters, path: Path) -> None:
        self._adapters, self._path = adapters, str(path)
        self.asked: list[list[Any]] = []
        self.connection: Values | None = None

    async def start(self) -> None:
        openings = {Purpose.MESSAGES: self._messages, Purpose.REST: self._rest, Purpose.METRICS: lambda _: Told([1])}
        self._server = await open_door(self._adapters.net, self._path, openings)

    def _messages(self, _: Sequence[Any]) -> Values:
        self.connection = Values(self.asked.append, lambda: None)
        return self.connection

    def _rest(self, greeting: Sequence[Any]) -> Octets:
        connection = Octets()

        async def send() -> None:
            for number in range(1_000):
                await connection.write(pack(b"%d of %d" % (number, greeting[0]) * 100))
            if greeting[0] != 13:
                await connection.write(pack(None))
            connection.close()

        self._task = asyncio.ensure_future(send())
        return connection

    def answer(self, place: int, ticket: int = 0) -> None:
        number, *_, message = self.asked[place]
        assert self.connection is not None
        assert self.connection.transport is not None
        self.connection.transport.write(pack([number, [b"to " + message], ticket, False, (0, 0)]))

    async def stop(self) -> None:
        self._server.close()
        if self.connection is not None and self.connection.transport is not None:
            self.connection.transport.abort()


@asynccontextmanager
async def linked(folder: Path) -> AsyncIterator[tuple[Registry, RegistryLink, Adapters]]:
    adapters = real_adapters()
    registry = Registry(adapters, folder / "door")
    link = RegistryLink(adapters.net, adapters.clock, str(folder / "door"))
    await registry.start()
    await link.start()
    try:
        yield registry, link, adapters
    finally:
        await link.stop()
        await registry.stop()
        adapters.close()


async def until(holds: Any) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await CLOCK.sleep(0.005)


async def test_answers_come_in_any_order_and_say_who_asked(tmp_path: Path) -> None:
    async with linked(tmp_path) as (registry, link, _):
        asking = [asyncio.ensure_future(link.ask(b"%d" % number, TCP)) for number in range(3)]
        await until(lambda: len(registry.asked) == 3)
        assert registry.asked[0][1:] == ["tcp", "192.0.2.7", 4_711, b"0"]
        for place in (2, 0, 1):
            registry.answer(place)
        assert [(await each).messages for each in asking] == [(b"to 0",), (b"to 1",), (b"to 2",)]


async def test_what_is_under_way_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "MESSAGES_MAX", 3)
    monkeypatch.setattr(link_module, "UDP_MESSAGES_MAX", 1)
    monkeypatch.setattr(link_module, "OCTETS_MAX", 100)
    async with linked(tmp_path) as (registry, link, _):
        first = asyncio.ensure_future(link.ask(b"by udp", UDP))
        await until(lambda: registry.asked)
        with pytest.raises(RegistryAway, match="too many"):
            await link.ask(b"by udp too", UDP)
        with pytest.raises(RegistryAway, match="too many"):
            await link.ask(bytes(95), TCP)
        others = [asyncio.ensure_future(link.ask(b"x", TCP)) for _ in range(2)]
        await until(lambda: len(registry.asked) == 3)
        with pytest.raises(RegistryAway, match="too many"):
            await link.ask(b"x", TCP)
        others[0].cancel()  # its peer hung up: there is room again
        await asyncio.gather(others[0], return_exceptions=True)
        again = asyncio.ensure_future(link.ask(b"x", TCP))
        await until(lambda: len(registry.asked) == 4)
        for place in range(4):
            registry.answer(place)
        assert [len((await each).messages) for each in (first, others[1], again)] == [1, 1, 1]


async def test_an_end_in_the_middle_is_no_answer_and_a_new_process_is_found(tmp_path: Path) -> None:
    async with linked(tmp_path) as (registry, link, adapters):
        asking = asyncio.ensure_future(link.ask(b"write", TCP))
        await until(lambda: registry.asked)
        await registry.stop()
        with pytest.raises(OutcomeUnknown):
            await asking
        with pytest.raises(RegistryAway, match="being started again"):
            await link.ask(b"write", TCP)
        with pytest.raises(NobodyListens):
            await ask_door(adapters.net, str(tmp_path / "door"), Purpose.METRICS)
        await registry.start()
        await until(lambda: link.is_up)
        asking = asyncio.ensure_future(link.ask(b"again", TCP))
        await until(lambda: len(registry.asked) == 2)
        registry.answer(1)
        assert (await asking).messages == (b"to again",)
        assert await ask_door(adapters.net, str(tmp_path / "door"), Purpose.METRICS) == [1]


async def test_a_link_begins_without_anybody_at_the_other_end(tmp_path: Path) -> None:
    adapters = real_adapters()
    link = RegistryLink(adapters.net, adapters.clock, str(tmp_path / "door"))
    await link.start()
    with pytest.raises(RegistryAway):
        await link.ask(b"write", TCP)
    registry = Registry(adapters, tmp_path / "door")
    await registry.start()
    await until(lambda: link.is_up)
    await link.stop()
    await registry.stop()
    adapters.close()


async def test_a_list_goes_on_over_a_connection_of_its_own(tmp_path: Path) -> None:
    async with linked(tmp_path) as (registry, link, _):
        for ticket, is_whole in ((7, True), (13, False)):
            asking = asyncio.ensure_future(link.ask(b"list", TCP))
            place = len(registry.asked)
            await until(lambda place=place: len(registry.asked) > place)
            registry.answer(place, ticket)
            answers = await asking
            assert answers.more is not None
            messages = []
            try:
                async for each in answers.more:
                    messages.append(each)
            except NobodyListens:
                assert not is_whole, "a list that broke off must not look whole"
            else:
                assert is_whole
            assert messages[-1].startswith(b"999 of")
