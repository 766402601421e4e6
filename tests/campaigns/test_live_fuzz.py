"""A running node under hostile datagrams, streams and HTTP exchanges, while somebody innocent asks every 10 ms.

Nothing may hang, grow or talk: every innocent question is answered, resident memory grows by 16 MiB at most, the log by
ten lines a second at most. And nothing is lost silently: every input is either answered or counted, so
answers and counters together make up the inputs.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from idnode_protocol.codes import OpCode
from idnode_protocol.envelope import Envelope
from idnode_protocol.fragments import split_message
from idnode_protocol.header import Header
from idnode_protocol.message import build
from idnode_protocol.requests import HandleRequest, encode_request
from idnode_protocol.versions import CURRENT
from tests.campaigns.children import HERE, at, child, result, show
from tests.campaigns.corpus import json_texts, made, recorded, spoken
from tests.campaigns.hostile import hostile, hostile_json, one_field
from tests.campaigns.processor import Others
from tests.clients.node_process import Counters, RunningNode, started_node

DATAGRAMS = {"test": 20_000, "prove": 1_000_000, "fuzz": 1_000_000}
EXCHANGES = {"test": 1_000, "prove": 100_000, "fuzz": 100_000}
"""Over TCP, and as many over HTTP."""
WARM_SHARE = 0.1
"""Of the inputs, before memory is looked at for the first time: buffers, pools and code take their place once."""
EVERY_MS = 10
RSS_GROWTH_MAX_OCTETS = 16 * 1024 * 1024
LOG_LINES_PER_S_MAX = 10
HANG_S = 0.05
OTHERS_SHARE_MAX = 0.05
CHUNK = 32
AT_ONCE = 32
ENDS_WITHIN_S = 30.0
ANSWER_WITHIN_S = 0.25
"""A connection that has not been answered by then is given up by its client."""
QUERIES = (b"", b"?index=1", b"?index=zero", b"?overwrite=false", b"?%ff")
SENTINEL_IDS = 0xF000_0000

pytestmark = [pytest.mark.serial, pytest.mark.fuzz, pytest.mark.timeout(0)]


@dataclass(slots=True)
class Ledger:
    """Inputs of one kind: sent, answered, and those that the node must have counted in some way."""

    sent: int = 0
    answered: int = 0
    unended: int = 0
    kinds: dict[str, int] = field(default_factory=dict)


def rss_octets(node: RunningNode) -> int:
    text = Path(f"/proc/{node.process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", text)[0]) * 1024


def shed(delta: Counters, start: str) -> int:
    return sum(
        number for reason, number in delta.label_values("hdl_shed_total", "reason").items() if reason.startswith(start)
    )


class Innocent:
    """The prober, beside whatever the block does."""

    def __init__(self, node: RunningNode) -> None:
        self.node = node
        self.samples: dict[str, list[float | None]] = {}

    @contextmanager
    def beside(self) -> Iterator[None]:
        facts = self.node.description
        addresses = (facts["udp"], facts["tcp"], facts["http"])
        prober = child("prober.py", *addresses, "udp", "99.900/ADMIN", EVERY_MS, 1_000_000)
        try:
            yield
        finally:
            self.samples = result(prober)


# -- datagrams ------------------------------------------------------------------------------------------------------


def datagrams(chance: random.Random) -> Iterator[bytes]:
    """Hostile ones for ever; long messages come whole, which no datagram may, or cut into fragments."""
    corpus = recorded() + made()
    long = [each for each in corpus if len(each) > 512]
    for number in count():
        if number % 8:
            yield hostile(corpus, number, chance)
            continue
        parts = split_message(chance.choice(long))
        chance.shuffle(parts)
        yield from (one_field(part, chance) if chance.random() < 0.2 else part for part in parts)


def sentinel(number: int) -> bytes:
    """Takes the general path, behind whatever waits there."""
    envelope = Envelope(SENTINEL_IDS + number, 0)
    return build(envelope, Header(int(OpCode.GET_SITE_INFO)), encode_request(HandleRequest(), CURRENT)).to_octets()


def by_udp(node: RunningNode, chance: random.Random, inputs: int) -> Ledger:
    """Chunks, each followed by a question whose answer says that the chunk has been dealt with."""
    ledger = Ledger()
    host, _, port = str(node.description["udp"]).rpartition(":")
    supply = datagrams(chance)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.connect((host, int(port)))
        sock.settimeout(5.0)
        for number in range(0, inputs, CHUNK):
            for _ in range(CHUNK):
                ledger.sent += 1
                sock.send(next(supply))
            sock.send(sentinel(number))
            while not _is_sentinel(answer := sock.recv(65_536)):
                ledger.answered += _is_first(answer)
        sock.settimeout(1.0)
        try:
            while True:  # what workers still sign
                ledger.answered += _is_first(sock.recv(65_536))
        except TimeoutError:
            return ledger


def _is_sentinel(answer: bytes) -> bool:
    return int.from_bytes(answer[8:12], "big") >= SENTINEL_IDS and answer[20:28] == b"\0\0\0\2\0\0\0\1"


def _is_first(answer: bytes) -> bool:
    """A message, not one of its further fragments."""
    return answer[12:16] == bytes(4)


# -- streams --------------------------------------------------------------------------------------------------------


async def converse(address: str, octets: bytes, how: str) -> tuple[bool, bool]:
    """(answered, ended) of one connection on which ``octets`` are said and then, in the way of ``how``, no more."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = b""
    try:
        if how == "drip":
            for place in range(min(len(octets), 64)):
                writer.write(octets[place : place + 1])
                await writer.drain()
            octets = octets[64:]
        writer.write(octets)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                answer = await reader.read(65_536)
        except TimeoutError:
            pass
        if how == "reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return bool(answer), True
        if writer.can_write_eof():
            writer.write_eof()
        async with asyncio.timeout(ENDS_WITHIN_S):
            while more := await reader.read(65_536):
                answer = answer or more
    except TimeoutError:
        return bool(answer), False
    except OSError:  # the node has ended it
        return bool(answer), True
    finally:
        writer.close()
    return bool(answer), True


async def conversations(address: str, inputs: Iterator[tuple[str, bytes]], number: int) -> Ledger:
    """So many, AT_ONCE at a time."""
    ledger = Ledger()

    async def some() -> None:
        while ledger.sent < number:
            how, octets = next(inputs)
            ledger.sent += 1
            ledger.kinds[how] = ledger.kinds.get(how, 0) + 1
            answered, ended = await converse(address, octets, how)
            ledger.answered += answered
            ledger.unended += not ended

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return ledger


def streams(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Broken messages, several of them at once, cut ones, dripping ones, and connections that are torn down."""
    corpus = recorded() + made()
    for number in count():
        octets = hostile(corpus, number, chance) or b"\0"
        if chance.random() < 0.2:
            octets += chance.choice(corpus) + hostile(corpus, number, chance)
        yield chance.choice(("said", "said", "drip", "reset")), octets


def exchanges(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """What the Java client posted, and REST requests, with one thing wrong."""
    posted = [each for each in spoken() if each.startswith(b"POST")]
    texts = json_texts()
    for number in count():
        if number % 2:
            octets = one_field(chance.choice(posted), chance)
        else:
            body = hostile_json(texts, chance)
            line = chance.choice((b"PUT", b"POST", b"GET", b"DELETE", b"HEAD")) + b" /api/handles/99.900/x%d" % number
            head = b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            octets = (
                line + chance.choice((b"", b"?index=1", b"?index=zero", b"?overwrite=false", b"?%ff")) + head + body
            )
            octets = one_field(octets, chance) if chance.random() < 0.5 else octets
        if octets[:1] != b"\x16":  # the first octet of TLS: the answer to that is not HTTP's
            yield chance.choice(("said", "said", "drip", "reset")), octets


# -- the test -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """One round of all three kinds, and what the node counted meanwhile."""

    udp: Ledger
    tcp: Ledger
    http: Ledger
    counted: Counters

    def complaints(self) -> list[str]:
        """What was neither answered nor counted, and what did not end."""
        found = []
        fragments = self.counted.total("hdl_udp_fragments_total")
        silent = self.udp.sent - self.udp.answered
        if silent != fragments + shed(self.counted, "udp_"):
            found.append(f"{silent} datagrams unanswered, {fragments + shed(self.counted, 'udp_')} counted")
        closed = sum(self.counted.label_values("hdl_tcp_closed_total", "reason").values())
        if closed != self.tcp.sent:
            found.append(f"{self.tcp.sent} TCP connections, {closed} counted when they ended")
        if self.http.sent - self.http.answered > shed(self.counted, "http_"):
            found.append(
                f"{self.http.sent - self.http.answered} exchanges unanswered, {shed(self.counted, 'http_')} counted"
            )
        found += [f"{each.unended} did not end" for each in (self.tcp, self.http) if each.unended]
        if shed(self.counted, "http_fault"):
            found.append(f"{shed(self.counted, 'http_fault')} faults")
        return found


def fuzz(node: RunningNode, chance: random.Random, share: float, campaign: str) -> Outcome:
    before = node.counters()
    udp = by_udp(node, chance, int(DATAGRAMS[campaign] * share))
    exchanged = int(EXCHANGES[campaign] * share)
    tcp = asyncio.run(conversations(node.description["tcp"], streams(chance), exchanged))
    http = asyncio.run(conversations(node.http, exchanges(chance), exchanged))
    return Outcome(udp, tcp, http, node.counters() - before)


def test_hostile_traffic_leaves_no_trace(seed: int, campaign: str) -> None:
    chance = random.Random(seed)
    with started_node(program=(str(HERE / "fuzzed_node.py"),)) as node:
        fuzz(node, chance, WARM_SHARE, campaign)
        innocent, others = Innocent(node), Others(node.process.pid)
        rss, lines, began = rss_octets(node), node.log.read_bytes().count(b"\n"), time.perf_counter()
        with innocent.beside():
            outcome = fuzz(node, chance, 1.0, campaign)
        seconds = time.perf_counter() - began
        grown, written = rss_octets(node) - rss, node.log.read_text().splitlines()[lines:]
        share = others.share()
    print(f"{outcome.udp}\n{outcome.tcp}\n{outcome.http}\n{seconds:.0f} s; others used {share:.0%} of the machine")
    print(*outcome.counted.lines("hdl_shed"), *outcome.counted.lines("hdl_tcp_closed_total"), sep="\n")
    print(f"resident memory grew by {grown / 1024:.0f} KiB; {len(written)} lines logged:", *written[:5], sep="\n")
    show(innocent.samples)
    assert outcome.complaints() == []
    assert innocent.samples["udp"].count(None) == 0
    assert grown <= RSS_GROWTH_MAX_OCTETS
    assert len(written) <= LOG_LINES_PER_S_MAX * seconds
    assert at(innocent.samples["udp"], 0.99) < HANG_S or share > OTHERS_SHARE_MAX
