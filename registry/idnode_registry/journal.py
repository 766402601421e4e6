"""The journal: what an entry says, who makes it, and when a head of its Merkle log is due for signing.

An entry is a canonical msgpack array (shortest integers, binary strings, no floats)::

    [serial, time us, operation, handle, record serial, digest before, digest after, actor]   + [record after]

``time`` is microseconds since 1970 UTC. ``handle`` is spelled as in the record. Digests are SHA-256 over handle and
value list, nil where there is no record. For a deletion ``record serial`` is that of the record deleted, else it equals
``serial``; so it does when a member of a range is deleted, which leaves a tombstone with a digest of its own. The ninth
element stands when after-images are on; a deletion that leaves nothing has none. A bulk load writes one entry: handle =
prefix, digest after = RFC 6962 root over the run's digests, ninth element = [count, first handle, last handle].

The leaf of entry n in the bucket's RFC 6962 log is these octets, so whoever holds the entry can prove it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import msgpack

from idnode_registry import format as record_format
from idnode_registry.errors import CorruptStore
from idnode_registry.store import BucketHead, EntryMaker, LoadEntryMaker, RunSummary

HEAD_INTERVAL_S: Final = 10.0
HEAD_ENTRIES: Final = 1_000
"""A head is signed every 10 s or 1,000 entries, whichever comes first, when there is anything new."""
_FIELDS: Final = 8
_DIGEST_OCTETS: Final = 32


class Operation(IntEnum):
    """What a change was. Numbers are for ever; readers keep numbers they do not know."""

    CREATE = 1
    ADD = 2
    MODIFY = 3
    REMOVE = 4
    DELETE = 5
    REPLACE = 6
    LOAD = 7


@dataclass(frozen=True, slots=True)
class Entry:
    """One parsed entry; see the module's head for the fields."""

    serial: int
    time_us: int
    operation: int
    handle: bytes
    record_serial: int
    digest_before: bytes | None
    digest_after: bytes | None
    actor: bytes
    record: bytes | None = None
    """After-image, None when they are off or nothing is left."""
    run: RunSummary | None = None
    """Of a bulk load."""


def encode(entry: Entry) -> bytes:
    """The canonical octets of an entry."""
    fields: list[Any] = [
        entry.serial,
        entry.time_us,
        int(entry.operation),
        entry.handle,
        entry.record_serial,
        entry.digest_before,
        entry.digest_after,
        entry.actor,
    ]
    if entry.run is not None:
        fields.append([entry.run.count, entry.run.first, entry.run.last])
    elif entry.record is not None:
        fields.append(entry.record)
    octets: bytes = msgpack.packb(fields, use_bin_type=True)
    return octets


def parse(octets: bytes) -> Entry:
    """The entry; raises CorruptStore unless the octets are the canonical form of one."""
    try:
        fields = msgpack.unpackb(octets, raw=False, strict_map_key=True)
        entry = _from_fields(fields)
    except (ValueError, TypeError, msgpack.UnpackException) as wrong:
        raise CorruptStore(f"a journal entry of {len(octets)} octets cannot be read: {wrong}") from wrong
    if encode(entry) != octets:
        raise CorruptStore(f"journal entry {entry.serial} is not in canonical form")
    return entry


def _from_fields(fields: Any) -> Entry:
    if not isinstance(fields, list) or len(fields) not in (_FIELDS, _FIELDS + 1):
        raise ValueError("not an array of 8 or 9 fields")
    serial, time_us, operation, handle, record_serial, before, after, actor = fields[:_FIELDS]
    numbers = (serial, time_us, operation, record_serial)
    if not all(type(number) is int for number in numbers) or not all(type(text) is bytes for text in (handle, actor)):
        raise TypeError("a field has the wrong type")
    for found in (before, after):
        if found is not None and (type(found) is not bytes or len(found) != _DIGEST_OCTETS):
            raise ValueError("a digest is not 32 octets")
    extra = fields[_FIELDS] if len(fields) > _FIELDS else None
    record, run = None, None
    if isinstance(extra, list):
        count, first, last = extra
        if type(count) is not int or type(first) is not bytes or type(last) is not bytes or after is None:
            raise TypeError("a run is not [count, first, last]")
        run = RunSummary(count, first, last, after)
    elif extra is not None:
        if type(extra) is not bytes:
            raise TypeError("an after-image is not octets")
        record = extra
    return Entry(serial, time_us, operation, handle, record_serial, before, after, actor, record, run)


def microseconds(now: float) -> int:
    """A clock reading (s since 1970) as entries carry it."""
    return round(now * 1_000_000)


def appender(*, now: float, operation: Operation, handle: bytes, actor: bytes, after_image: bool) -> EntryMaker:
    """The entry maker of one batch: ``handle`` as spelled, ``actor`` such as ``300:99.900/ADMIN``, empty = the node."""
    time_us = microseconds(now)

    def make(head: BucketHead, before: bytes | None, after: bytes | None) -> bytes:
        serial = head.serial + 1
        return encode(
            Entry(
                serial,
                time_us,
                operation,
                handle,
                serial if after is not None else record_format.serial_of(before or b""),
                None if before is None else record_format.digest(before),
                None if after is None else record_format.digest(after),
                actor,
                after if after_image else None,
            )
        )

    return make


def load_appender(*, now: float, prefix: bytes, actor: bytes) -> LoadEntryMaker:
    """The entry maker of one bulk load under ``prefix``."""
    time_us = microseconds(now)

    def make(head: BucketHead, run: RunSummary) -> bytes:
        serial = head.serial + 1
        return encode(Entry(serial, time_us, Operation.LOAD, prefix, serial, None, run.root, actor, None, run))

    return make


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A bucket's Merkle head, and the signature over :attr:`signed_octets`."""

    prefix: bytes
    bucket: int
    serial: int
    root: bytes
    time_us: int
    signature: bytes = b""

    @property
    def signed_octets(self) -> bytes:
        """What is signed: the canonical array without the signature, behind a name no other signature uses."""
        octets: bytes = msgpack.packb(["idnode-head-1", *self._fields()], use_bin_type=True)
        return octets

    def _fields(self) -> list[Any]:
        return [self.prefix, self.bucket, self.serial, self.root, self.time_us]

    def to_octets(self) -> bytes:
        octets: bytes = msgpack.packb([*self._fields(), self.signature], use_bin_type=True)
        return octets

    @classmethod
    def from_octets(cls, octets: bytes) -> SignedHead:
        """Raises CorruptStore."""
        try:
            prefix, bucket, serial, root, time_us, signature = msgpack.unpackb(octets, raw=False)
        except (ValueError, TypeError, msgpack.UnpackException) as wrong:
            raise CorruptStore(f"a signed head cannot be read: {wrong}") from wrong
        shapes = ((prefix, bytes), (bucket, int), (serial, int), (root, bytes), (time_us, int), (signature, bytes))
        if not all(type(found) is wanted for found, wanted in shapes):
            raise CorruptStore("a signed head has a field of the wrong type")
        return cls(prefix, bucket, serial, root, time_us, signature)


def heads_start(prefix: bytes, bucket: int) -> bytes:
    """What the names of a bucket's signed heads begin with, for ``Store.meta_names``; serials sort after it."""
    return b"head/" + bucket.to_bytes(4, "big") + len(prefix).to_bytes(2, "big") + prefix + b"/"


def head_name(head: SignedHead) -> bytes:
    """The meta name a signed head is kept under; one per serial, never removed."""
    return heads_start(head.prefix, head.bucket) + head.serial.to_bytes(8, "big")


class HeadSigner:
    """Decides when a bucket's head is due and makes the signed octets; the caller stores them with ``put_meta``.

    ``sign`` takes the octets to sign and returns the signature. Remembers one (serial, time) per bucket signed.
    """

    def __init__(
        self, sign: Callable[[bytes], bytes], *, interval_s: float = HEAD_INTERVAL_S, entries: int = HEAD_ENTRIES
    ) -> None:
        self._sign = sign
        self._interval_s = interval_s
        self._entries = entries
        self._signed: dict[tuple[bytes, int], tuple[int, float]] = {}

    def resume(self, head: SignedHead) -> None:
        """Take up a head signed by an earlier process, so that it is not signed again at once."""
        self._signed[head.prefix, head.bucket] = (head.serial, head.time_us / 1_000_000)

    def forget(self, prefix: bytes, bucket: int) -> None:
        """The bucket's last head could not be stored; it is due again."""
        self._signed.pop((prefix, bucket), None)

    def due(self, prefix: bytes, bucket: int, serial: int, now: float) -> bool:
        """Whether the head at ``serial`` wants signing: something is new, and it is old or much enough.

        A clock that was set back makes a head due: better one too many than none until the time comes round again.
        """
        signed_serial, signed_at = self._signed.get((prefix, bucket), (0, float("-inf")))
        fresh = serial - signed_serial
        return fresh > 0 and (fresh >= self._entries or not 0 <= now - signed_at < self._interval_s)

    def sign(self, prefix: bytes, bucket: int, head: BucketHead, now: float) -> SignedHead:
        """The signed head, remembered as the bucket's last."""
        unsigned = SignedHead(prefix, bucket, head.serial, head.tree.root(), microseconds(now))
        signature = self._sign(unsigned.signed_octets)
        self._signed[prefix, bucket] = (head.serial, now)
        return SignedHead(prefix, bucket, unsigned.serial, unsigned.root, unsigned.time_us, signature)
