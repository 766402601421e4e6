"""A node of several processes, started as a user does, on a store that has an administrator."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag
from idnode_protocol.envelope import Envelope
from idnode_protocol.header import SERIAL_UNKNOWN, Header
from idnode_protocol.message import build, decode_message
from idnode_protocol.octets import Reader
from idnode_protocol.requests import AnyRequest, ResolutionRequest, encode_request
from idnode_protocol.responses import ResolutionResponse
from idnode_protocol.value import HandleValue
from idnode_protocol.versions import CURRENT
from tests.campaigns.lives import Folder
from tests.idnode.cli.command_line import PROGRAM, Serving, serving

PREFIXES = "prefixes=99.900,99.901"
FAST = "store.fsync=false"
OPEN = "authentication.anonymous_full_access=true"
SMALL = "0.NA/99.901"
"""A record that fits into one datagram."""
ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class Several:
    """A running node; ``process`` names are those of its log: ``registry``, ``resolver 0`` and so on."""

    serving: Serving
    workers: int
    native: tuple[str, int] = field(init=False)

    def __post_init__(self) -> None:
        host, _, port = self.serving.address("tcp").rpartition(":")
        object.__setattr__(self, "native", (host, int(port)))

    def pids(self) -> dict[str, int]:
        """The processes that answered last under each name."""
        return {each["process"]: each["pid"] for each in self.serving.log if each["event"] == "process"}

    def kill(self, process: str) -> int:
        pid = self.pids()[process]
        os.kill(pid, signal.SIGKILL)
        return pid

    def http(
        self, path: str, *, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, header fields in lower case, body)."""
        url = f"http://{self.serving.address('http')}{path}"
        request = urllib.request.Request(url, body, headers or {}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return answer.status, {name.lower(): text for name, text in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as wrong:
            return wrong.code, {name.lower(): text for name, text in wrong.headers.items()}, wrong.read()

    def readiness(self) -> list[str]:
        reasons: list[str] = json.loads(self.http("/readyz")[2])["reasons"]
        return reasons


@contextmanager
def several(folder: Path, *settings: str, workers: int = 2, program: Sequence[str] = PROGRAM) -> Iterator[Several]:
    """The node; its records stay in ``folder``, so that it can be started again. Killed at the end if it still runs."""
    place = folder / "node"
    if not place.exists():
        Folder(place, "lmdb")
    with serving(place, settings=(PREFIXES, f"workers={workers}", *settings), program=program) as node:
        yield Several(node, workers)
        if node.process.poll() is None:
            assert node.stop() == 0


def message(opcode: int, request: AnyRequest, number: int = 1, flags: int = 0, *, without: int = 0) -> bytes:
    """A request without a credential; ``flags`` beside the usual ones, those in ``without`` clear."""
    header = Header(opcode, 0, (REQUEST_FLAGS | flags) & ~without, SERIAL_UNKNOWN, 0, 0, 0)
    return build(Envelope(number, 0, CURRENT, CURRENT), header, encode_request(request, CURRENT)).to_octets()


def question(handle: str, number: int = 1, flags: int = 0) -> bytes:
    return message(OpCode.RESOLUTION, ResolutionRequest(handle.encode()), number, int(OpFlag.PO) | flags)


def code_of(answer: bytes) -> int:
    return int.from_bytes(answer[24:28], "big")


def first_value(answer: bytes) -> bytes:
    """The data of the first value of a successful resolution."""
    return ResolutionResponse.decode(Reader(decode_message(answer).body)).values[0].data


def url(text: str) -> HandleValue:
    return HandleValue(1, "URL", text.encode())


class Stream:
    """A TCP connection that asks one message after the other."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, ANSWER_S)
        self._file = self._socket.makefile("rb")

    def send(self, octets: bytes) -> None:
        self._socket.sendall(octets)

    def receive(self) -> bytes:
        envelope = self._file.read(20)
        if len(envelope) < 20:
            raise ConnectionError("the connection was closed")
        return envelope + self._file.read(int.from_bytes(envelope[16:20], "big"))

    def ask(self, octets: bytes) -> bytes:
        self.send(octets)
        return self.receive()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Datagrams:
    """Many sockets, so that the kernel deals their questions out to all resolvers."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self.sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
        for sock in self.sockets:
            sock.connect(address)
            sock.settimeout(ANSWER_S)

    def ask(self, place: int, octets: bytes) -> bytes:
        """The answer with our number; others, to earlier questions, are passed over."""
        self.sockets[place].send(octets)
        while True:
            answer = self.sockets[place].recv(65_536)
            if answer[8:12] == octets[8:12]:
                return answer

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()

    def __enter__(self) -> Datagrams:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def until(holds: Callable[[], Any], seconds: float, every: float = 0.02) -> float:
    """Wait until ``holds()``; how long that took. Fails after ``seconds``."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s"
        time.sleep(every)
    return time.monotonic() - began


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def with_module(module: str) -> tuple[str, ...]:
    """``idnode`` with a module imported where all its processes come from."""
    code = (
        "import sys, idnode.workers.supervisor as s; "
        f"s.PRELOADED = (*s.PRELOADED, {module!r}); "
        "from idnode.cli.main import main; main()"
    )
    return sys.executable, "-c", code
