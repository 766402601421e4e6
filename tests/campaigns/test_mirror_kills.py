"""A mirror is killed with SIGKILL and restarted 20 times under writes; each time it reaches the primary's digest.

Primary and mirror are processes of their own over LMDB with fsync. Four writers create, change and delete over TCP all
the while, in sessions of their own. After each kill: the mirror is restarted, the writers pause once it is up and has
had its time, and it must hold exactly what the primary holds, within 30 s. In ``make prove`` 200 kills.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from idnode.adapters import real_adapters
from idnode.client.administrator import Administrator
from idnode.client.resolver import Resolver
from idnode_protocol.value import HandleValue
from tests.campaigns.results import Result

CHILD: Final = Path(__file__).parent / "mirror_process.py"
KILLS: Final = {"test": 20, "fuzz": 50, "prove": 200}
WRITERS: Final = 4
NAMES: Final = 60
"""Per writer, so that changes and deletions meet what is there."""
CONVERGES_S: Final = 30.0
LIVES_S: Final = (0.02, 0.7)
"""How long a mirror lives after it listens, before it is killed: from the middle of a dump to long after it."""
SECRET: Final = b"a fictional secret"


class Process:
    """A node in a process of its own."""

    def __init__(self, config: Path) -> None:
        self._config = config

    async def start(self) -> dict[str, Any]:
        self._child = await asyncio.create_subprocess_exec(
            sys.executable, str(CHILD), str(self._config), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return await self._line()

    async def _line(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        async with asyncio.timeout(60):
            line = await self._child.stdout.readline()
        assert line, "the process ended; see what it printed"
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def ask(self, word: str) -> dict[str, Any]:
        assert self._child.stdin is not None
        self._child.stdin.write(word.encode() + b"\n")
        return await self._line()

    async def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing is said."""
        self._child.kill()
        await self._child.wait()


class Writers:
    """Four clients that write as long as ``may_write`` is set."""

    def __init__(self, server: str, dice: random.Random) -> None:
        self._server, self._dice = server, dice
        self.may_write = asyncio.Event()
        self.may_write.set()
        self._idle = [asyncio.Event() for _ in range(WRITERS)]
        self.written = 0

    async def run(self, number: int) -> None:
        adapters = real_adapters()
        try:
            async with (
                Resolver(self._server, adapters=adapters) as resolver,
                Administrator(resolver, "99.900/ADMIN", 300, secret=SECRET) as administrator,
            ):
                held: set[str] = set()
                while True:
                    self._idle[number].set()
                    await self.may_write.wait()
                    self._idle[number].clear()
                    await self._step(administrator, held, f"99.900/w{number}-{self._dice.randrange(NAMES)}")
                    self.written += 1
        finally:
            adapters.close()

    async def _step(self, administrator: Administrator, held: set[str], name: str) -> None:
        if name in held and self._dice.random() < 0.3:
            await administrator.delete(name)
            held.discard(name)
            return
        text = self._dice.randbytes(self._dice.randrange(1, 400))
        value = HandleValue(1, "DESC", text.hex().encode())
        await administrator.create(name, [value, administrator.admin_value()], overwrite=name in held)
        held.add(name)

    async def pause(self) -> None:
        """Until no write is under way."""
        self.may_write.clear()
        await asyncio.gather(*(idle.wait() for idle in self._idle))


async def converged(mirror: Process, primary: Process, word: str = "digest") -> tuple[dict[str, Any], float]:
    """The mirror's report once its digest is the primary's, and how long that took."""
    wanted = await primary.ask("digest")
    clock = asyncio.get_running_loop().time
    start = clock()
    async with asyncio.timeout(CONVERGES_S):
        while True:
            found = await mirror.ask(word)
            if found["digest"] == wanted["digest"]:
                assert found["problems"] == []
                return found, clock() - start


async def lives(
    folder: Path, section: Callable[[dict[str, Any]], dict[str, Any]], kills: int, seed: int
) -> dict[str, object]:
    """All lives of a mirror; its figures."""
    dice = random.Random(seed)
    primary, started = await _started(folder / "primary", None)
    writers = Writers(str(started["tcp"]), dice)
    tasks = [asyncio.ensure_future(writers.run(number)) for number in range(WRITERS)]
    section_of = section(started)
    slowest, dumps, entries, between = 0.0, 0, 0, 0
    mirror, _ = await _started(folder / "mirror", section_of)
    try:
        for _ in range(kills):
            before = writers.written
            is_over = asyncio.Event()
            asyncio.get_running_loop().call_later(dice.uniform(*LIVES_S), is_over.set)
            await is_over.wait()
            await mirror.kill()
            between += writers.written - before
            mirror, _ = await _started(folder / "mirror", section_of)
            await writers.pause()
            found, seconds = await converged(mirror, primary)
            slowest = max(slowest, seconds)
            dumps, entries = dumps + found["dumps"], entries + found["entries"]
            writers.may_write.set()
        await writers.pause()
        found, _ = await converged(mirror, primary, "check")
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await _all_killed(primary, mirror)
    assert [one for one in ended if not isinstance(one, asyncio.CancelledError)] == [], "a writer failed"
    assert between >= kills, "too few writes under the kills to prove anything"
    return {
        "kills": kills,
        "writes": writers.written,
        "writes_while_a_mirror_lived": between,
        "records": found["records"],
        "entries_taken_after_restarts": entries,
        "dumps_taken_after_restarts": dumps,
        "slowest_to_converge_s": round(slowest, 2),
    }


async def _started(folder: Path, mirror: dict[str, Any] | None) -> tuple[Process, dict[str, Any]]:
    process = Process(_configured(folder, mirror))
    return process, await process.start()


def _configured(folder: Path, mirror: dict[str, Any] | None) -> Path:
    folder.mkdir(exist_ok=True)
    config = folder / "config.json"
    config.write_text(json.dumps({"folder": str(folder), "mirror": mirror}))
    return config


async def _all_killed(*processes: Process | None) -> None:
    kills: list[Awaitable[None]] = [process.kill() for process in processes if process is not None]
    await asyncio.gather(*kills, return_exceptions=True)


@pytest.mark.serial
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("dialect", ["idnode", "reference"])
async def test_a_killed_mirror_converges(
    tmp_path: Path, seed: int, campaign: str, dialect: str, result: Result
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)

    def section(started: dict[str, Any]) -> dict[str, Any]:
        return {
            "primary": started["tcp"],
            "primary_keys": [started["key"]],
            "administrator": "300:99.900/ADMIN",
            "secret_file": str(secret),
            "interval_s": 0.05,
            "dialect": dialect,
        }

    kills = KILLS[campaign] if dialect == "idnode" else KILLS[campaign] // 4
    figures = await lives(tmp_path, section, kills, seed)
    print(f"{dialect}: {figures}, seed {seed}")
    result.write(f"mirror-kills-{dialect}", **figures)
