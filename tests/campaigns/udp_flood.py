"""A process that offers datagrams at a rate, whatever comes back: an open loop, as a crowd is one.

    udp_flood.py KIND HOST PORT RATE_PER_S SECONDS

KIND says what each datagram asks (:data:`KINDS`), or is ``random``: handles that do not exist, never the same twice.
Out: ``{"offered", "seconds", "rate_per_s", "refused"}`` as one JSON line. Where Linux can (4.18 and later) one system
call hands over a whole package of datagrams (UDP_SEGMENT); only so does one core of a two-core machine offer several
times what the other can answer. Answers are not read: the kernel drops them when this socket's buffer is full, which
costs the node as much as a reader would.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count, repeat
from select import select

from idnode_bench.targets.native import request_octets
from idnode_protocol.codes import OpCode, OpFlag
from idnode_protocol.envelope import Envelope
from idnode_protocol.header import Header
from idnode_protocol.message import build
from idnode_protocol.requests import HandleRequest, ResolutionRequest, encode_request
from idnode_protocol.versions import CURRENT

HANDLE = b"99.900/ADMIN"
UDP_SEGMENT = 103
"""Linux's socket option; Python does not name it."""
PACKAGE = 32
"""Datagrams per system call; 64 is the most that older kernels take."""
BEHIND_MAX_S = 0.05
"""What could not be offered for so long is not made up for in one burst."""


def _general(opcode: OpCode, flags: int, number: int) -> bytes:
    asked = HandleRequest(HANDLE) if opcode is OpCode.GET_SITE_INFO else ResolutionRequest(HANDLE)
    header = Header(int(opcode), flags=flags, expiration=0x7FFFFFFF)
    return build(Envelope(number, 0), header, encode_request(asked, CURRENT)).to_octets()


KINDS: dict[str, Callable[[int], bytes]] = {
    "plain": lambda number: request_octets(HANDLE, number),
    "general": lambda number: _general(OpCode.GET_SITE_INFO, 0, number),
    "certified": lambda number: _general(OpCode.RESOLUTION, int(OpFlag.CT), number),
}
"""Answered from the cache; through the chain of links, in a task; the same and signed by a worker."""


def packages(kind: str) -> Iterator[list[bytes]]:
    """The next package of datagrams, all of one length, for ever; ``random`` begins at the microsecond."""
    if kind != "random":
        yield from repeat([KINDS[kind](number) for number in range(1, PACKAGE + 1)])
    digits = b"%016d"
    before, after = request_octets(b"99.900/N" + digits % 0, 1).split(digits % 0)
    for start in count(time.time_ns() // 1_000, PACKAGE):
        yield [before + digits % number + after for number in range(start, start + PACKAGE)]


def sender(host: str, port: int, kind: str) -> tuple[socket.socket, Callable[[], int]]:
    """A connected socket, and what sends the next package: the number of datagrams the kernel took."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((host, port))
    supply = packages(kind)
    size = len(next(supply)[0])
    try:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
    except OSError:
        return sock, lambda: sum(sock.send(each) > 0 for each in next(supply))
    return sock, lambda: sock.send(b"".join(next(supply))) // size


def flood(kind: str, host: str, port: int, rate_per_s: float, seconds: float) -> dict[str, float]:
    """Offer until the time is over."""
    sock, send = sender(host, port, kind)
    offered = refused = 0
    with closing(sock):
        began = now = time.perf_counter()
        due_from, due_offset = began, 0
        while now - began < seconds:
            wanted = (now - due_from) * rate_per_s
            if wanted - due_offset > BEHIND_MAX_S * rate_per_s:
                due_from, due_offset, wanted = now, 0, 0.0
            if due_offset > wanted:
                select((), (), (), (due_offset - wanted) / rate_per_s)
            else:
                try:
                    taken = send()
                except ConnectionRefusedError:
                    refused, taken = refused + 1, 0
                offered += taken
                due_offset += max(taken, 1)
            now = time.perf_counter()
    took = now - began
    return {"offered": offered, "seconds": took, "rate_per_s": offered / took, "refused": refused}


if __name__ == "__main__":
    kind, host, port, rate, seconds = sys.argv[1:]
    print(json.dumps(flood(kind, host, int(port), float(rate), float(seconds))))
