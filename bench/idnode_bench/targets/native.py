"""The native dialogue of a bench: the one request it sends and the replies it accepts (docs/protocol.md §3, §4.1).

Every reply is compared octet for octet with what the population says; the request id, the expiration, and the
server's own habits in the header (flags, site serial), learnt from its first answer, are all that may differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct, pack, unpack_from
from typing import Final, Protocol

from idnode_bench.errors import NoAnswer
from idnode_bench.load.keys import KeyPlan
from idnode_bench.load.recorder import MISMATCH, RIGHT
from idnode_bench.population.factory import Record

# version, suggestion, session, request id, sequence, message length | opcode, response code, flags, site serial,
# recursion count, reserved, expiration, body length
_HEAD: Final = Struct(">4B4I 3IHBBII")
ENVELOPE_OCTETS: Final = 20
FRAGMENT_OCTETS_MAX: Final = 492
REQUEST_ID_MAX: Final = 0x7FFFFFFE
_FLAGS_PLAIN: Final = 0x19000000
_SITE_UNKNOWN: Final = 0xFFFF
_EXPIRES: Final = 0x7FFFFFFF
"""Servers do not check a request's expiration (docs/protocol.md §3.2): the same octets every time."""
_REQUEST_ID_AT: Final = 8
_SEQUENCE_AT: Final = 12
_CODE_AT: Final = 24
_EXPIRATION_AT: Final = 36
SUCCESS: Final = 1
NOT_FOUND: Final = 100


class Source(Protocol):
    """Records by number: a population, or a list of handles of somebody else's server."""

    @property
    def count(self) -> int: ...

    def record(self, number: int) -> Record: ...

    def handle(self, number: int) -> bytes: ...

    def missing(self, number: int) -> bytes:
        """A handle that is not found: the record's own when it is gone, else one beside it."""

    def is_gone(self, number: int) -> bool:
        """Whether the record was deleted."""


@dataclass(frozen=True, slots=True)
class ListedRecords:
    """Records that were learnt from the target itself, for a server that holds no population of ours."""

    records: tuple[Record, ...]

    @property
    def count(self) -> int:
        return len(self.records)

    def record(self, number: int) -> Record:
        return self.records[number]

    def handle(self, number: int) -> bytes:
        return self.records[number].handle

    def missing(self, number: int) -> bytes:
        return self.records[number].handle + b".X-NOT-REGISTERED"

    def is_gone(self, _number: int) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class AnswerStyle:
    """What an answer's header says besides the record: a server's habit."""

    flags: int = 0x99000000
    site_serial: int = 1


def request_octets(handle: bytes, request_id: int) -> bytes:
    """A plain resolution request for all values, protocol 2.11."""
    body = pack(">I", len(handle)) + handle + bytes(8)
    envelope = (2, 11, 2, 11, 0, request_id, 0, 28 + len(body))
    return _HEAD.pack(*envelope, 1, 0, _FLAGS_PLAIN, _SITE_UNKNOWN, 0, 0, _EXPIRES, len(body)) + body + bytes(4)


def reply_octets(record: Record, style: AnswerStyle) -> bytes:
    """The answer to it with request id and expiration 0."""
    body = pack(">I", len(record.handle)) + record.handle + record.values
    head = _HEAD.pack(2, 11, 2, 11, 0, 0, 0, 28 + len(body), 1, 1, style.flags, style.site_serial, 0, 0, 0, len(body))
    return head + body + bytes(4)


def without_volatile(reply: bytes) -> bytes:
    """The reply with request id and expiration set to 0, comparable with :func:`reply_octets`."""
    between = reply[_REQUEST_ID_AT + 4 : _EXPIRATION_AT]
    return reply[:_REQUEST_ID_AT] + bytes(4) + between + bytes(4) + reply[_EXPIRATION_AT + 4 :]


def request_id_of(octets: bytes) -> int:
    """The request id of a datagram or message, or -1 if it is too short to have one."""
    return int(unpack_from(">I", octets, _REQUEST_ID_AT)[0]) if len(octets) >= ENVELOPE_OCTETS else -1


def code_of(reply: bytes) -> int:
    """The response code of a whole message, or -1 if it is too short to be one."""
    return int(unpack_from(">I", reply, _CODE_AT)[0]) if len(reply) >= _HEAD.size else -1


class Whole:
    """Puts the fragments of answers together, by request id (docs/protocol.md §4.1)."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: dict[int, dict[int, bytes]] = {}

    def add(self, datagram: bytes) -> bytes | None:
        """The message, as one datagram would carry it, when ``datagram`` was its last missing part."""
        if len(datagram) < ENVELOPE_OCTETS:
            return datagram
        number, sequence, length = unpack_from(">III", datagram, _REQUEST_ID_AT)
        if length <= FRAGMENT_OCTETS_MAX:
            return datagram
        parts = self._parts.setdefault(number, {})
        parts[sequence] = datagram[ENVELOPE_OCTETS:]
        if len(parts) * FRAGMENT_OCTETS_MAX < length:
            return None
        del self._parts[number]
        envelope = bytearray(datagram[:ENVELOPE_OCTETS])
        envelope[2] &= 0xDF  # one of several datagrams: no more
        envelope[_SEQUENCE_AT : _SEQUENCE_AT + 4] = bytes(4)
        return bytes(envelope) + b"".join(parts[at] for at in sorted(parts))

    def forget(self, number: int) -> None:
        """The rest of this message will not be waited for."""
        self._parts.pop(number, None)


class Dialogue:
    """Requests and verdicts for one target."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._style: AnswerStyle | None = None
        self._last_id = 0

    def next_id(self) -> int:
        """Ids grow, so that the oldest request has the smallest; they start again long after."""
        self._last_id = self._last_id % REQUEST_ID_MAX + 1
        return self._last_id

    def request(self, key: int, request_id: int) -> bytes:
        """The request for a key: a record's number, or ``~number`` for an absent handle beside it."""
        handle = self.source.handle(key) if key >= 0 else self.source.missing(~key)
        return request_octets(handle, request_id)

    def outcome(self, key: int, reply: bytes) -> str:
        """RIGHT, MISMATCH or ``RC n``."""
        code = code_of(reply)
        if key < 0:
            return RIGHT if code == NOT_FOUND else MISMATCH if code == SUCCESS else f"RC {code}"
        if code != SUCCESS:
            return "protocol" if code < 0 else f"RC {code}"
        if self._style is None:
            self._style = AnswerStyle(*unpack_from(">IH", reply, 28))
        expected = reply_octets(self.source.record(key), self._style)
        return RIGHT if without_volatile(reply) == expected else MISMATCH


def learn(handle: bytes, reply: bytes) -> Record:
    """The record in an answer of a server that was not filled by us. Raises :class:`NoAnswer` when it has none."""
    code = code_of(reply)
    after = _HEAD.size + 4 + len(handle)
    if code != SUCCESS or reply[_HEAD.size + 4 : after] != handle:
        raise NoAnswer(f"{handle.decode('utf-8', 'replace')}: response code {code}, not a record")
    return Record(handle, reply[after:-4])


def asked_keys(source: Source, plan: KeyPlan, seed: int) -> Iterator[int]:
    """Keys as the plan draws them; of a record that is gone, the one that expects it not to be found."""
    for key in plan.keys(source.count, seed):
        yield ~key if key >= 0 and source.is_gone(key) else key
