"""The log: one event is one line of JSON whatever a stranger puts into it, and no stranger can make it grow."""

from __future__ import annotations

import io
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.client.administrator import Administrator
from idnode.client.errors import NoAnswer, Refused
from idnode.client.resolver import Resolver
from idnode.config import ListenConfig, LogConfig, NodeConfig
from idnode.logs import EVENTS, NAME, NodeLog, handler_of
from idnode.source import Source
from idnode_protocol.value import HandleValue
from idnode_registry.ask import Ask, Caller, Reply
from tests.idnode.test_virtual_time import SECRET, running

HOSTILE = [
    "a\r\nb",
    'x"}\n{"ts": "1970-01-01T00:00:00.000Z", "level": "info", "event": "stop"}',
    "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "\x00\x08\x7f\x85\u2028\u2029",
    Caller(b"99.900/\xff\xfe\r\n", 300).__str__(),
    "\ud800\udfff",
    "x" * 10_000,
]


class Tape:
    """The log of the process on a stream of ours, with a clock we turn."""

    def __init__(self) -> None:
        self.stream, self.at = io.StringIO(), 0.0
        self.log = NodeLog(lambda: self.at, lambda: self.at)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def tape() -> Iterator[Tape]:
    made = Tape()
    handler = handler_of(made.stream, lambda: made.at)
    loggers = [logging.getLogger(NAME), logging.getLogger("asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    loggers[0].setLevel(logging.INFO)
    yield made
    loggers[0].setLevel(logging.NOTSET)
    for logger in loggers:
        logger.removeHandler(handler)


def faults_of(text: str, events: int) -> list[str]:
    """What a reader of the log would stumble over."""
    lines = text.split("\n")
    found = [] if len(lines) == events + 1 and not lines[-1] else [f"{len(lines) - 1} lines for {events} events"]
    for line in filter(None, lines):
        if not re.fullmatch(r"[ -~]+", line):
            found.append(f"not printable ASCII: {line!r}")
            continue
        try:
            json.loads(line)["ts"]
        except (ValueError, KeyError, TypeError):
            found.append(f"no event: {line}")
    return found


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_one_event_is_one_line_whatever_a_stranger_wrote(tape: Tape, text: str) -> None:
    tape.log.auth_failure(Source("tcp", "192.0.2.7"), "HS_SECKEY", text, 403)
    tape.log.write("damaged-record", handle=text.encode("utf-8", "surrogatepass"))
    # A parallel run of pytest keeps what libraries log and cannot carry half a character, so it is spelt out there.
    logging.getLogger("asyncio").error("library says %s", text.encode("utf-8", "replace").decode())
    assert faults_of(tape.stream.getvalue(), 3) == []
    assert len(tape.stream.getvalue()) < 3 * 2_000
    assert [line["event"] for line in tape.lines] == ["auth-failure", "damaged-record", "foreign"]


@pytest.mark.parametrize("text", HOSTILE[:4])
def test_a_log_without_escapes_is_found_out(text: str) -> None:
    assert faults_of(f'{{"ts": "x", "event": "auth-failure", "user": "{text}"}}\n', 1)


def test_a_flood_is_ten_lines_a_second_and_keeps_nobody_out(tape: Tape) -> None:
    source = Source("udp", "192.0.2.7")
    for second in range(5):
        for step in range(1_000):
            tape.at = second + step / 1_000
            tape.log.auth_failure(source, "HS_SECKEY", "300:99.900/ADMIN", 403)
            tape.log.fault("here", RuntimeError("a secret"))
            logging.getLogger("asyncio").error("again")
    per_second = Counter(line["ts"][:19] for line in tape.lines if line["event"] != "foreign")
    assert max(per_second.values()) <= 8
    assert len(tape.lines) <= 5 * 10
    kinds = Counter(line["event"] for line in tape.lines)
    assert min(kinds[event] for event in ("auth-failure", "fault", "foreign")) >= 5
    told = [line for line in tape.lines if line["event"] == "auth-failure"]
    assert sum(line.get("suppressed", 0) for line in told) + len(told) >= 4_000
    assert "a secret" not in tape.stream.getvalue()


def test_every_line_says_when_how_loud_and_what(tape: Tape) -> None:
    tape.at = 1_800_000_000.1239
    tape.log.write("stop", name="one")
    assert tape.lines == [{"ts": "2027-01-15T08:00:00.123Z", "level": "info", "event": "stop", "name": "one"}]
    with pytest.raises(KeyError):
        tape.log.write("an event nobody documented")


def test_a_warning_level_keeps_the_quiet_ones_out(tape: Tape) -> None:
    logging.getLogger(NAME).setLevel(logging.WARNING)
    tape.log.write("stop", name="one")
    tape.log.write("storage-full")
    assert [line["event"] for line in tape.lines] == ["storage-full"]


def test_clients_can_be_masked() -> None:
    masked = NodeLog(lambda: 0.0, lambda: 0.0, mask_clients=True)
    assert masked.client("192.0.2.77") == "192.0.2.0/24"
    assert masked.client("2001:db8:1:2ff::7%eth0") == "2001:db8:1:200::/56"
    assert NodeLog(lambda: 0.0, lambda: 0.0).client("192.0.2.77") == "192.0.2.77"


def test_a_fault_is_told_by_place_and_class_not_by_message(tape: Tape) -> None:
    try:
        Path("/nowhere/a secret name").stat()
    except OSError as error:
        tape.log.fault("somewhere", error)
    assert "FileNotFoundError 2 < " in tape.lines[0]["trace"]
    assert "a secret name" not in tape.stream.getvalue()


def test_every_event_is_documented(repository: Path) -> None:
    page = (repository / "docs" / "logs.md").read_text("utf-8")
    level = {name: logging.getLevelName(each.level).lower() for name, each in EVENTS.items()}
    rows = [f"| `{name}` | {level[name]} | {each.meaning} |" for name, each in EVENTS.items()]
    assert [row for row in rows if row not in page] == []
    assert len(re.findall(r"^\| `[a-z-]+` \| (?:info|warning|error) \|", page, re.MULTILINE)) == len(EVENTS)


def test_the_life_of_a_node_in_its_log(tape: Tape) -> None:
    """Start, listeners, a refused proof, a fault, the end; and none of the secrets that took part."""

    async def main(adapters: SimulatedAdapters) -> list[int]:
        codes = []
        listen = ListenConfig(addresses=("127.0.0.1",), http_port=None)
        config = NodeConfig(prefixes=("99.900",), listen=listen, log=LogConfig(mask_clients=True))
        async with running(adapters, config) as node:
            resolver = Resolver(str(node.tcp_addresses[0]), adapters=adapters, transports=("tcp",))
            value = HandleValue(1, "URL", b"https://example.org/a-value")
            for secret in (b"a wrong secret", SECRET):
                admin = Administrator(resolver, "99.900/ADMIN", 300, secret=secret, transports=("tcp",))
                try:
                    await admin.create("99.900/part", [value, admin.admin_value()])
                    codes.append(1)
                except Refused as refused:
                    codes.append(refused.code)

            def broken(ask: Ask, caller: Caller, now: float) -> Future[Reply]:
                raise RuntimeError(SECRET.decode())

            node.registry.execute = broken  # type: ignore[method-assign]
            with pytest.raises(NoAnswer, match="a fault of this node, not of the request; its log tells more"):
                await resolver.resolve("99.900/part")
            await resolver.close()
        return codes

    assert run_simulated(main, seed=11) == [403, 1]
    text = tape.stream.getvalue()
    assert [line["event"] for line in tape.lines] == ["start", "listen", "listen", "auth-failure", "fault", "stop"]
    refused, fault = tape.lines[3:5]
    assert (refused["client"], refused["user"], refused["code"]) == ("127.0.0.0/24", "300:99.900/ADMIN", 403)
    assert (fault["where"], fault["trace"][:15]) == ("opcode 1 over tcp", "RuntimeError < ")
    assert not [secret for secret in (SECRET.decode(), "a wrong secret", "a-value", SECRET.hex()) if secret in text]
