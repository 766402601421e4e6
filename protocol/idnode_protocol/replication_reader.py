"""Octets of a replication stream in, records out: bounded, incremental, no I/O (docs/protocol.md §10.1).

What stands before the stream type's own part is the transport's business: :func:`stream_type` tells it from the first
four octets whether to switch to TLS. Everything behind goes into a :class:`StreamReader`, in pieces of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from idnode_protocol.errors import LimitExceeded, Malformed, Truncated
from idnode_protocol.octets import Reader, Writer
from idnode_protocol.replication import (
    RECORD_OCTETS_MAX,
    STREAM_SIGNED,
    STREAM_TLS,
    STREAM_UNSIGNED,
    Complete,
    End,
    Head,
    Record,
    decode_head,
    decode_record,
)

HASH_NAME_OCTETS_MAX: Final = 32
SIGNATURE_OCTETS_MAX: Final = 2_048
"""An RSA key of 16,384 bits."""

BlockVerifier = Callable[[bytes, bytes, bytes], bool]
"""(hash name, octets signed, signature) -> whether the signature is the primary's."""


def stream_type(octets: bytes) -> int:
    """The stream type in the first four octets; raises :class:`Malformed` for one nobody knows."""
    kind = int.from_bytes(octets[:4], "big", signed=True)
    if len(octets) < 4 or kind not in (STREAM_TLS, STREAM_SIGNED, STREAM_UNSIGNED):
        raise Malformed(f"unknown type {kind} of a replication stream", 0)
    return kind


def begin(kind: int, hash_name: bytes = b"SHA-256") -> bytes:
    """The octets that announce a stream of that type; with TLS all that follows is inside it."""
    writer = Writer().i32(kind)
    if kind == STREAM_SIGNED:
        writer.counted(hash_name)
    return writer.to_octets()


class StreamReader:
    """Records of one stream. ``verify`` is given for signed blocks (stream type 0) and then checks every one.

    Raises :class:`Malformed`, :class:`LimitExceeded`; a signature that is not the primary's is malformed, too, and the
    record before it is never handed out.
    """

    def __init__(self, *, is_dump: bool, verify: BlockVerifier | None = None) -> None:
        self._is_dump = is_dump
        self._verify = verify
        self._hash_name: bytes | None = None if verify else b""
        self._buffer = b""
        self.head: Head | None = None
        self.is_complete = False
        """The stream's own end was read; octets behind it are an error."""

    def feed(self, octets: bytes) -> Iterator[Head | Record]:
        """What these octets complete. Exhaust it before feeding more."""
        self._buffer += octets
        while self._buffer:
            if self.is_complete:
                raise Malformed(f"{len(self._buffer)} octets behind the end of a replication stream")
            reader = Reader(self._buffer)
            try:
                found = self._next(reader)
            except Truncated:
                if len(self._buffer) > RECORD_OCTETS_MAX:
                    raise LimitExceeded(f"a record of a replication stream above {RECORD_OCTETS_MAX} octets") from None
                return
            self._buffer = self._buffer[reader.position :]
            if found is not None:
                yield found

    def _next(self, reader: Reader) -> Head | Record | None:
        if self._hash_name is None:
            self._hash_name = reader.counted(HASH_NAME_OCTETS_MAX)
            return None
        if self.head is None:
            head = decode_head(reader, is_dump=self._is_dump)
            self._check_signature(reader)
            self.head = head
            return head
        record = decode_record(reader, self.head, is_dump=self._is_dump)
        if not isinstance(record, Complete):
            self._check_signature(reader)
        self.is_complete = isinstance(record, End | Complete)
        return record

    def _check_signature(self, reader: Reader) -> None:
        if self._verify is None:
            return
        signed = self._buffer[: reader.position]
        signature = reader.counted(SIGNATURE_OCTETS_MAX)
        if not self._verify(self._hash_name or b"", signed, signature):
            raise Malformed("a block of the replication stream is not signed by the primary's key")
