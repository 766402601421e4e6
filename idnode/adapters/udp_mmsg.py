"""Datagrams by ``recvmmsg`` and ``sendmmsg``: two system calls for a batch of 64 and its answers (Linux, 64 bit).

Everything the kernel reads or fills is laid out once, when the socket is bound::

    headers[i] -> name   names[i * name_octets]        one raw socket address per datagram
               -> vector vectors[i] -> arena[...]      its octets
                  length (written by recvmmsg)

Receiving copies the used part of the arena and of the names out once per batch and slices the copies: that costs less
than a memoryview per datagram. Sending joins the answers into one string, copies that into the arena once, and writes
only start and length per datagram, through memoryviews; a ctypes attribute per datagram would cost more than the rest.
Datagrams of one answer go to the kernel as one message, which it cuts.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from idnode.adapters.net import BATCH, SLOT_OCTETS, Address, BatchSocket, Datagram
from idnode.adapters.peers import IPV4_PEER_OCTETS, IPV6_PEER_OCTETS
from idnode_protocol.limits import DATAGRAM_OCTETS_MAX

SEND_ARENA_OCTETS: Final = 128 * 1024
"""Two of the longest datagrams UDP can carry, or 64 of 2 KiB: a longer batch goes out in parts."""

_SO_TIMESTAMPNS: Final = 35
_STAMP_OCTETS: Final = 32  # struct cmsghdr (16 octets), struct timespec (16): of the first datagram only
_STAMP: Final = struct.Struct("@qq")
_NANO: Final = 1e-9
SEGMENT_OCTETS: Final = DATAGRAM_OCTETS_MAX
"""Of an answer in several datagrams all but the last are as long as this. Handed over as one message that the kernel
cuts (UDP_SEGMENT, Linux 4.18), two of them cost 0.7 of what they cost apart."""
_SOL_UDP: Final = 17
_UDP_SEGMENT: Final = 103
_SEGMENT: Final = struct.Struct("@NiiH")  # struct cmsghdr, and the length of a datagram
_SEGMENT_OCTETS: Final = 24  # the same, up to the next multiple of 8
_CANNOT_CUT: Final = frozenset({errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP, errno.ENOPROTOOPT})
_MSG_DONTWAIT: Final = 0x40
_MSG_TRUNC: Final = 0x20  # asks recvmmsg for the true length of what it had to cut
_TRY_AGAIN: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM})


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct mmsghdr with its struct msghdr flattened; natural alignment puts the padding where C has it."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_octets", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_octets", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("padding", ctypes.c_int),  # msghdr is a struct of its own in C, so it ends on a multiple of 8
        ("length", ctypes.c_uint32),
    )


_HEADER_OCTETS: Final = ctypes.sizeof(_Header)
_VECTOR_OCTETS: Final = ctypes.sizeof(_Vector)


def _load() -> tuple[Any, Any] | None:
    """The two functions of the C library; None where they, or the layout above, are missing."""
    if sys.platform != "linux" or struct.calcsize("P") != 8:
        return None
    try:
        library = ctypes.CDLL(None, use_errno=True)
        receive, send = library.recvmmsg, library.sendmmsg
    except (OSError, AttributeError):
        return None
    receive.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    send.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    return receive, send


_FUNCTIONS: Final = _load()
IS_AVAILABLE: Final = _FUNCTIONS is not None


class _Layout:
    """One direction's memory: arena, names, vectors, headers, each pointing into the one before."""

    def __init__(self, arena_octets: int, slot_octets: int, name_octets: int) -> None:
        self._owned = (
            (ctypes.c_char * arena_octets)(),
            (ctypes.c_char * (BATCH * name_octets))(),
            (_Vector * BATCH)(),
            (_Header * BATCH)(),
        )
        arena, names, vectors, headers = self._owned
        self.arena_at = ctypes.addressof(arena)
        self.headers_at = ctypes.addressof(headers)
        for i in range(BATCH):
            vectors[i] = _Vector(self.arena_at + i * slot_octets, slot_octets)
            headers[i].name = ctypes.addressof(names) + i * name_octets
            headers[i].name_octets = name_octets
            headers[i].vectors = ctypes.addressof(vectors) + i * _VECTOR_OCTETS
            headers[i].vector_count = 1
        self.arena = memoryview(arena).cast("B")
        self.names = memoryview(names).cast("B")
        self.vectors = memoryview(vectors).cast("B").cast("Q")
        self.head = headers[0]
        self._headers = headers
        self.controls = (
            memoryview(headers).cast("B").cast("Q")[_Header.control_octets.offset // 8 :: _HEADER_OCTETS // 8]
        )
        self.lengths = memoryview(headers).cast("B").cast("I")[_Header.length.offset // 4 :: _HEADER_OCTETS // 4]

    def point_controls(self, address: int) -> None:
        """Where the control message lies that the headers share; none has it while its ``controls`` is 0."""
        for header in self._headers:
            header.control = address


def _messages(lengths: list[int], peers: list[bytes]) -> tuple[list[int], list[bytes], list[int]]:
    """Datagrams joined to messages that the kernel cuts every SEGMENT_OCTETS: datagrams, peer and octets of each.

    A datagram of just that length is joined with the next one to the same peer that is not longer.
    """
    counts: list[int] = []
    names: list[bytes] = []
    totals: list[int] = []
    before = 0
    for length, peer in zip(lengths, peers, strict=True):
        if before == SEGMENT_OCTETS and 0 < length <= SEGMENT_OCTETS and peer == names[-1]:
            counts[-1] += 1
            totals[-1] += length
        else:
            counts.append(1)
            names.append(peer)
            totals.append(length)
        before = length
    return counts, names, totals


class MmsgUdpSocket(BatchSocket):
    """The fast datagram socket."""

    def __init__(self, sock: socket.socket, address: Address) -> None:
        super().__init__(address)
        if _FUNCTIONS is None:
            raise RuntimeError("this platform has no recvmmsg; bind a PlainUdpSocket")
        self._recvmmsg, self._sendmmsg = _FUNCTIONS
        self._sock = sock
        self._fd = sock.fileno()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._name_octets = size = IPV4_PEER_OCTETS if address.family == "ipv4" else IPV6_PEER_OCTETS
        self._in = _Layout(BATCH * SLOT_OCTETS, SLOT_OCTETS, size)
        self._out = _Layout(SEND_ARENA_OCTETS, 0, size)
        self._segments = True
        self._controls = 0  # headers of _out that may still ask for cutting, from the first on
        control = _SEGMENT.pack(_SEGMENT.size, _SOL_UDP, _UDP_SEGMENT, SEGMENT_OCTETS)
        self._segment = ctypes.create_string_buffer(control, _SEGMENT_OCTETS)
        self._out.point_controls(ctypes.addressof(self._segment))
        self._stamp = (ctypes.c_char * _STAMP_OCTETS)()
        self._has_stamps = self._ask_for_stamps()
        self._places = [(i * SLOT_OCTETS, slice(i * size, (i + 1) * size)) for i in range(BATCH)]

    def _ask_for_stamps(self) -> bool:
        """The kernel notes when a datagram came, and tells it for the first of a batch, which is the oldest."""
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        except OSError:
            return False
        self._in.head.control = ctypes.addressof(self._stamp)
        self._in.head.control_octets = _STAMP_OCTETS
        return True

    def fileno(self) -> int:
        return self._fd

    def add_reader(self, callback: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, callback)

    def remove_reader(self) -> None:
        if self._loop is not None and not self._loop.is_closed() and self._fd >= 0:
            self._loop.remove_reader(self._fd)
        self._loop = None

    def receive_batch(self) -> list[Datagram]:
        memory = self._in
        count: int = self._recvmmsg(self._fd, memory.headers_at, BATCH, _MSG_DONTWAIT | _MSG_TRUNC, None)
        if count <= 0:
            return self._nothing_received()
        if self._has_stamps:
            self._read_stamp()
        lengths: list[int] = memory.lengths[:count].tolist()
        self.counters.received += count
        if max(lengths) > SLOT_OCTETS:
            self.counters.cut += sum(length > SLOT_OCTETS for length in lengths)
            lengths = [min(length, SLOT_OCTETS) for length in lengths]
        octets = bytes(memory.arena[: count * SLOT_OCTETS])
        names = bytes(memory.names[: count * self._name_octets])
        return [
            (octets[start : start + length], names[place])
            for (start, place), length in zip(self._places, lengths, strict=False)
        ]

    def _read_stamp(self) -> None:
        head = self._in.head
        if head.control_octets == _STAMP_OCTETS:
            seconds, nanoseconds = _STAMP.unpack_from(self._stamp, _STAMP_OCTETS - _STAMP.size)
            self.received_at = seconds + nanoseconds * _NANO
        else:
            self.received_at = 0.0
            head.control_octets = _STAMP_OCTETS

    def _nothing_received(self) -> list[Datagram]:
        code = ctypes.get_errno()
        if code == errno.EBADF:
            raise OSError(code, "the datagram socket is closed")
        return []  # nothing there, interrupted, or an ICMP error that belongs to nobody in particular

    def send_batch(self, batch: Sequence[Datagram]) -> int:
        if len(batch) <= BATCH:
            return self._send_part(batch)
        return sum(self._send_part(batch[start : start + BATCH]) for start in range(0, len(batch), BATCH))

    def _send_part(self, part: Sequence[Datagram]) -> int:
        """At most BATCH datagrams; halves the part until it fits into the arena."""
        answers = [octets for octets, _ in part]
        lengths = list(map(len, answers))
        joined = b"".join(answers)
        if len(joined) > SEND_ARENA_OCTETS:
            half = len(part) // 2
            if not half:
                self.counters.dropped += 1
                return 0
            return self._send_part(part[:half]) + self._send_part(part[half:])
        peers = [peer for _, peer in part]
        if self._segments and SEGMENT_OCTETS in lengths:
            counts, peers, lengths = _messages(lengths, peers)
        else:
            counts = [1] * len(part)
        names = b"".join(peers)
        # Names are 16 or 28 octets: a sum that is right means that each of them is.
        if len(names) != len(peers) * self._name_octets:
            raise ValueError(f"a peer is not of this socket's family, {self.address.family}")
        memory = self._out
        memory.arena[: len(joined)] = joined
        memory.names[: len(names)] = names
        vectors = memory.vectors
        at = memory.arena_at
        place = 0
        for length in lengths:
            vectors[place] = at
            vectors[place + 1] = length
            at += length
            place += 2
        if len(counts) < len(part) or self._controls:
            self._set_controls(counts)
        return self._hand_over(part, counts)

    def _set_controls(self, counts: list[int]) -> None:
        """Have the kernel cut those messages that are several datagrams, and no others."""
        controls = self._out.controls
        for place, count in enumerate(counts):
            controls[place] = _SEGMENT_OCTETS if count > 1 else 0
        for place in range(len(counts), self._controls):
            controls[place] = 0
        self._controls = len(counts) if max(counts, default=1) > 1 else 0

    def _hand_over(self, part: Sequence[Datagram], counts: list[int]) -> int:
        """Give the prepared headers to the kernel. A message it refuses by itself does not hold up the others.

        ``counts``: datagrams of each message. A kernel or a device that does not cut messages is not asked again.
        """
        first = sent = 0
        while first < len(counts):
            taken: int = self._sendmmsg(
                self._fd, self._out.headers_at + first * _HEADER_OCTETS, len(counts) - first, _MSG_DONTWAIT
            )
            if taken > 0:
                sent += sum(counts[first : first + taken])
                first += taken
                continue
            code = ctypes.get_errno()
            if code == errno.EINTR:
                continue
            if code == errno.EBADF:
                raise OSError(code, "the datagram socket is closed")
            if code in _TRY_AGAIN:
                break  # the buffer is full: the rest is lost, as it would be in the network
            if counts[first] > 1 and code in _CANNOT_CUT:
                self._segments = False
                begun = sum(counts[:first])
                self.counters.sent += sent
                self.counters.dropped += begun - sent
                return sent + self._send_part(part[begun:])
            first += 1
        self.counters.sent += sent
        self.counters.dropped += len(part) - sent
        return sent

    def close(self) -> None:
        if self._fd < 0:
            return
        self.remove_reader()
        self._fd = -1
        self._sock.close()
