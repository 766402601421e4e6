"""Over the wire: the largest record of signatures against the largest handle of keys that one message carries.

Asked for by a client that verifies, and of a recursive node that verifies. With every bound switched off
(``unbudgeted.py``) the same attack does what the bounds prevent.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, cycle, islice
from pathlib import Path
from statistics import median

import pytest

from idnode.client.administrator import Administrator
from idnode.client.resolver import Resolver, host_and_port
from idnode.resolution.bootstrap import write_bootstrap
from idnode.trust.verification import trust_of
from idnode_protocol.codes import REQUEST_FLAGS, OpCode, ResponseCode
from idnode_protocol.envelope import Envelope
from idnode_protocol.handle import ROOT_HANDLE
from idnode_protocol.header import SERIAL_UNKNOWN, Header
from idnode_protocol.limits import ENVELOPE_OCTETS
from idnode_protocol.message import build, decode_message
from idnode_protocol.requests import ResolutionRequest, encode_request
from idnode_protocol.value import HandleValue, Reference
from idnode_protocol.versions import CURRENT
from idnode_registry.limits import RECORD_BODY_OCTETS_MAX
from idnode_registry.trust.chain import ROOT_OWNER
from idnode_registry.trust.claims import Claims, DigestList, entity_text
from idnode_registry.trust.issue import Issuer, sign_claims, sign_record, sign_values
from idnode_registry.trust.limits import CERTIFICATES_PER_HANDLE_MAX
from idnode_registry.trust.verdicts import Outcome
from tests.idnode.cli.command_line import PROGRAM, Serving, serving
from tests.registry.trust.trust_world import EVERYTHING, PREFIX, ROOT, UNDER_PREFIX, VALUES, World, key

pytestmark = [pytest.mark.serial, pytest.mark.timeout(300)]

COST_MS = 20.0
INNOCENT_REQUESTS, BURSTS = 10, 6
BEGINNING_S = 0.1
ATTEMPTS = 3
"""Of the comparison with the innocent client; one quiet moment of the machine is enough."""
RATIO_MAX = 2.0
ATTACKERS = 4
ATTACKER = "127.0.0.2"
SECRET = b"a fictional secret"
MALLORY = Reference(b"0.NA/99.910", 301)
UNBUDGETED = (sys.executable, "-m", "tests.idnode.trust.unbudgeted")
TICKS_PER_S = 100
FULL, SMALL, FRESH = 10, 700, 2 * ATTEMPTS * BURSTS * INNOCENT_REQUESTS
"""Records full of signatures; records of one signature by the handle of keys; innocent records."""


def innocent(number: int) -> str:
    return f"99.900/innocent-{number}"


def a_name(start: str, number: int) -> str:
    return f"99.910/{start}-{number}"


def container(subject: str, place: int, digests: int = 0) -> bytes:
    """A signature or certificate in Mallory's name, another one at every place; each digest takes time to read."""
    listed = tuple((1 + n, "A" * 43 + "=") for n in range(digests))
    claims = Claims(
        issuer=entity_text(MALLORY),
        subject=subject,
        issued_at=float(place),
        digests=DigestList("SHA-256", listed) if listed else None,
        permissions=EVERYTHING,
        public_key=key(3).public_json,
    )
    return sign_claims(claims, key(3))


def filling(kind: str, start: int, made: Callable[[int], bytes], most: int = 10_000) -> list[HandleValue]:
    """As many different values as fit into one message, or ``most``."""
    found: list[HandleValue] = []
    octets = 0
    while len(found) < most:
        value = HandleValue(start + len(found), kind, made(len(found)))
        octets += len(value.to_octets())
        if octets > RECORD_BODY_OCTETS_MAX - 2_048:
            break
        found.append(value)
    return found


def keys() -> list[HandleValue]:
    """As many as are looked through at most, each as long as the message then allows."""
    return filling("HS_CERT", 301, lambda n: container(f"301:0.NA/99.92{n}", n, 70), CERTIFICATES_PER_HANDLE_MAX)


def signatures(number: int) -> list[HandleValue]:
    """A record full of signatures; ``number`` makes them differ from those of others."""
    return filling("HS_SIGNATURE", 400, lambda n: container(a_name("full", number), 1_000 * number + n))


@dataclass(frozen=True, slots=True)
class Authority:
    """A node with hostile and innocent records, and the folder in which a walk from it begins."""

    address: str
    client_config: Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    prefixes = 'prefixes=["99.900", "99.910", "0.NA", "0.0"]'
    folder = tmp_path_factory.mktemp("authority")
    settings = [prefixes, "authentication.anonymous_full_access=true", "store.fsync=false", "listen.udp_port=none"]
    with serving(folder, settings=settings) as node:
        address = node.address("tcp")
        records = asyncio.run(_populate(address))
        client = folder / "client"
        client.mkdir()
        (client / "bootstrap_handles").write_bytes(write_bootstrap(records, int(time.time() * 1e3)))
        yield Authority(address, client)


async def _populate(address: str) -> dict[bytes, tuple[HandleValue, ...]]:
    """Write all records; those that a walk begins with."""
    now, world = time.time(), World()
    world.certify(ROOT, key(0), Issuer(ROOT, key(0)), EVERYTHING, now)
    world.certify(PREFIX, key(2), Issuer(ROOT, key(0)), UNDER_PREFIX, now)
    issuer, mallory = Issuer(PREFIX, key(2), (PREFIX, ROOT)), Issuer(MALLORY, key(3))
    async with Resolver(address, transports=("tcp",)) as resolver:
        admin = Administrator(resolver, "99.900/ADMIN", 300, secret=SECRET)
        site = HandleValue(1, "HS_SITE", (await resolver.site()).to_octets())
        await admin.create("0.0/0.0", world.handles[ROOT.handle], overwrite=True)
        await admin.create("0.NA/99.900", [site, *world.handles[PREFIX.handle]], overwrite=True)
        await admin.create("0.NA/99.910", [site, *keys()], overwrite=True)
        for number in range(FULL):
            await admin.create(a_name("full", number), signatures(number))
        for number in range(SMALL):
            name = a_name("small", number)
            data = sign_values(name.encode(), VALUES[:2], mallory, now)
            await admin.create(name, [*VALUES[:2], HandleValue(400, "HS_SIGNATURE", data)])
        for number in range(FRESH):
            await admin.create(innocent(number), sign_record(innocent(number).encode(), VALUES[:2], issuer, now))
    return {ROOT_HANDLE: (site,), ROOT_OWNER: (HandleValue(301, "HS_PUBKEY", key(0).signer.public_key_octets),)}


@contextmanager
def verifying(
    authority: Authority, folder: Path, *, verify: str = "report", program: tuple[str, ...] = PROGRAM
) -> Iterator[Serving]:
    """A recursive node in front of the authority."""
    settings = (
        "role=recursive",
        "resolution.recursion=true",
        f"resolution.client_config={authority.client_config}",
        "resolution.prefix_packets_per_s=100000",
        f"trust.verify={verify}",
    )
    with serving(folder, settings=settings, program=program) as node:
        yield node


class Attack:
    """Hostile records asked for one after the other from a host of its own, on several connections."""

    def __init__(self, address: str) -> None:
        self._address = host_and_port(address)
        self._numbers = cycle(range(SMALL))
        self._ends = threading.Event()
        self._threads: list[threading.Thread] = []
        self.asked = 0

    def __enter__(self) -> Attack:
        self._ends.clear()
        self._threads = [threading.Thread(target=self._run) for _ in range(ATTACKERS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with socket.create_connection(self._address, 10, (ATTACKER, 0)) as sock:
            while not self._ends.is_set():
                ask(sock, a_name("small", next(self._numbers)))
                self.asked += 1


def ask(sock: socket.socket, name: str) -> None:
    """A resolution that succeeds."""
    header = Header(int(OpCode.RESOLUTION), 0, REQUEST_FLAGS, SERIAL_UNKNOWN, expiration=int(time.time()) + 100)
    body = encode_request(ResolutionRequest(name.encode()), CURRENT)
    sock.sendall(build(Envelope(int.from_bytes(os.urandom(4), "big"), 0), header, body).to_octets())
    envelope = receive(sock, ENVELOPE_OCTETS)
    message = decode_message(envelope + receive(sock, int.from_bytes(envelope[16:20], "big")))
    assert message.header.response_code == ResponseCode.SUCCESS, (name, message.body[:200])


def receive(sock: socket.socket, octets: int) -> bytes:
    """Exactly so many octets."""
    parts = []
    while octets:
        parts.append(sock.recv(min(octets, 65_536)))
        assert parts[-1], "the node closed the connection"
        octets -= len(parts[-1])
    return b"".join(parts)


def seconds_used(process: int) -> float:
    """Processor time of all threads of a process, to a hundredth of a second."""
    fields = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


@pytest.mark.parametrize(("start", "number"), [("full", FULL), ("small", 25)])
async def test_cost_for_a_client_that_verifies(authority: Authority, start: str, number: int) -> None:
    """Everything it does for such a record: receive, decode, judge. The small ones make it look at the keys."""
    trust = trust_of([key(0).signer.public_key_octets])
    async with Resolver(authority.address, transports=("tcp",), trust=trust) as resolver:
        costs = []
        for each in range(min(number, FULL)):
            began = time.thread_time()
            record = await resolver.resolve(a_name(start, each), verify="report")
            costs.append((time.thread_time() - began) * 1e3)
            assert record.verdict is not None
            assert record.verdict.outcome is Outcome.NOT_CHECKED if start == "full" else Outcome.INVALID
    print(f"{start}: {min(costs):.1f} ms of CPU, median {median(costs):.1f} ms")
    assert min(costs) <= COST_MS


@pytest.mark.parametrize(("start", "number"), [("full", FULL), ("small", 25)])
def test_cost_for_a_node_that_verifies(authority: Authority, tmp_path: Path, start: str, number: int) -> None:
    """The processor time of the whole process, compared with that of a node which only passes the record on."""
    costs = {}
    for verify in ("off", "report"):
        (tmp_path / verify).mkdir()
        with (
            verifying(authority, tmp_path / verify, verify=verify) as node,
            socket.create_connection(host_and_port(node.address("tcp")), 10) as sock,
        ):
            ask(sock, innocent(0))  # the way is known
            began = seconds_used(node.process.pid)
            for each in range(number):
                ask(sock, a_name(start, each))
            costs[verify] = (seconds_used(node.process.pid) - began) / number * 1e3
    print(f"{start}: {costs['off']:.1f} ms of CPU each without verification, {costs['report']:.1f} ms with")
    assert costs["report"] - costs["off"] <= COST_MS


def times_of(sock: socket.socket, names: list[str]) -> list[float]:
    """What resolutions one after the other take, in ms."""
    taken = []
    for name in names:
        began = time.perf_counter()
        ask(sock, name)
        taken.append((time.perf_counter() - began) * 1e3)
    return taken


class Compared:
    """An innocent client alone and beside the attack, by turns, since the machine has other work too.

    Each record is asked for twice: its signatures are verified for the client then, or have been before.
    """

    def __init__(self) -> None:
        self._times: dict[tuple[str, str], list[float]] = defaultdict(list)

    def measure(self, sock: socket.socket, names: Iterator[str], attack: Attack) -> None:
        for _ in range(BURSTS):
            self._burst(sock, names, "alone")
            asked = attack.asked
            with attack:
                time.sleep(BEGINNING_S)
                self._burst(sock, names, "beside")
            assert attack.asked > asked, "the attack went on"

    def _burst(self, sock: socket.socket, names: Iterator[str], when: str) -> None:
        chosen = list(islice(names, INNOCENT_REQUESTS))
        for what in ("new", "known"):
            self._times[what, when] += times_of(sock, chosen)

    @property
    def ratio(self) -> float:
        """How many times longer its medians are beside the attack, the worse of the two."""
        ratios = []
        for what in ("new", "known"):
            alone, beside = median(self._times[what, "alone"]), median(self._times[what, "beside"])
            print(f"{what}: alone {alone:.2f} ms, beside {beside:.2f} ms")
            ratios.append(beside / alone)
        return max(ratios)


def compared(authority: Authority, folder: Path, attempts: int, program: tuple[str, ...] = PROGRAM) -> float:
    """The best ratio of some attempts."""
    ratios: list[float] = []
    names = map(innocent, count())
    with (
        verifying(authority, folder, program=program) as node,
        socket.create_connection(host_and_port(node.address("tcp")), 10) as sock,
    ):
        ask(sock, a_name("small", 0))  # the way is known
        attack = Attack(node.address("tcp"))
        while len(ratios) < attempts and (not ratios or ratios[-1] > RATIO_MAX):
            attempt = Compared()
            attempt.measure(sock, names, attack)
            ratios.append(attempt.ratio)
    return min(ratios)


def test_an_innocent_client_keeps_its_median(authority: Authority, tmp_path: Path) -> None:
    assert compared(authority, tmp_path, ATTEMPTS) <= RATIO_MAX


def test_without_the_bounds_it_would_not(authority: Authority, tmp_path: Path) -> None:
    assert compared(authority, tmp_path, 1, UNBUDGETED) > RATIO_MAX
