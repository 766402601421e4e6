"""What a mirror of ours believes of a stream of format 3: nothing that the signed manifest does not prove.

Entries of a queue are held until its end is read; then the tree over what the mirror had before and these entries must
be the one the primary signed for this very asking. Only then is the queue handed out. What is refused, and why:
:data:`idnode_registry.errors.REFUSALS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from idnode_protocol.replication import (
    FORMAT_JOURNAL,
    STATUS_REDUMP,
    End,
    Entry,
    Head,
    Manifest,
    Queue,
    QueueEnd,
    Record,
    Withheld,
)
from idnode_registry import format as record_format
from idnode_registry import journal
from idnode_registry.errors import CorruptStore, DumpNeeded, FeedRefused, SpoolFull
from idnode_registry.merkle import NO_LEAVES, Frontier, leaf_hash
from idnode_registry.replication.manifest import FeedManifest, QueueHead, in_range, queue_key

SPOOL_OCTETS_MAX: Final = 64 * 1024 * 1024
"""Of one queue, held until it is proven."""

KeyCheck = Callable[[bytes, bytes], bool]
"""(octets, signature) -> whether one of the keys this mirror trusts signed them."""


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """A journal entry of the primary; ``state`` is ``ba handle`` and value list, None when it is gone or came later."""

    entry: journal.Entry
    state: bytes | None


@dataclass(frozen=True, slots=True)
class ProvenQueue:
    """Entries up to ``head``, proven; those that are not for this mirror are left out."""

    head: QueueHead
    entries: tuple[ProvenEntry, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for: the nonce and range of the wish, and how many entries of a queue at most.

    ``shares``: the mirror is one server of several and gets entries about the others' names as leaf hashes only.
    """

    nonce: bytes
    after: bytes
    until: bytes | None
    entries: int
    shares: bool = False


@dataclass(slots=True)
class _Open:
    """The queue being read."""

    head: QueueHead
    tree: Frontier
    octets: int = 0
    entries: list[ProvenEntry] = field(default_factory=list)


class JournalCheck:
    """Takes the records of one stream in order; raises FeedRefused, SpoolFull and DumpNeeded.

    ``known`` are the trees of the queues as far as the mirror has them.
    """

    def __init__(
        self,
        asked: Asked,
        known: Mapping[tuple[bytes, int], Frontier],
        is_trusted: KeyCheck,
        *,
        spool_octets_max: int = SPOOL_OCTETS_MAX,
    ) -> None:
        self._asked, self._known, self._is_trusted = asked, known, is_trusted
        self._spool_octets_max = spool_octets_max
        self._due: dict[tuple[bytes, int], QueueHead] = {}
        self._open: _Open | None = None
        self.manifest: FeedManifest | None = None
        self.is_complete = False

    def take(self, record: Head | Record) -> ProvenQueue | None:
        """A queue when this record was its end."""
        if isinstance(record, Head):
            self._head(record)
            return None
        if isinstance(record, Manifest):
            self._manifest(record)
            return None
        if self.manifest is None:
            raise FeedRefused("malformed", "the stream does not begin with a manifest")
        match record:
            case Queue(name):
                self._begin(name)
            case Entry(octets, state):
                self._entry(octets, state)
            case Withheld(leaf):
                if not self._asked.shares:
                    raise FeedRefused("withheld", "an entry was left out for other servers, but the mirror has none")
                self._leaf(leaf, 32)
            case QueueEnd():
                return self._end_of_queue()
            case End():
                self._end()
            case _:
                raise FeedRefused("malformed", f"{type(record).__name__} has no place in this stream")
        return None

    def _head(self, head: Head) -> None:
        if head.format != FORMAT_JOURNAL:
            text = (
                f"the server answered in format {head.format}: it is no idnode; set the mirror's dialect to reference"
            )
            raise FeedRefused("malformed", text)
        if head.status == STATUS_REDUMP:
            raise DumpNeeded("the primary no longer keeps the entries that follow ours")

    def _manifest(self, record: Manifest) -> None:
        if self.manifest is not None:
            raise FeedRefused("malformed", "a second manifest")
        manifest = checked_manifest(record.octets, self._asked, self._is_trusted)
        queues = {queue.key: queue for queue in manifest.queues}
        known = in_range({prefix for prefix, _ in self._known}, manifest.after, manifest.until)
        for key, tree in self._known.items():
            if key[0] in known and key not in queues and tree.size:
                raise FeedRefused("rollback", f"queue {key} is gone, of which the mirror has {tree.size} entries")
        for queue in manifest.queues:
            self._check_queue(queue)
        self.manifest = manifest

    def _check_queue(self, queue: QueueHead) -> None:
        mine = self._known.get(queue.key, NO_LEAVES)
        if queue.serial < mine.size:
            text = f"queue {queue.key} ends at entry {queue.serial}, the mirror has {mine.size}"
            raise FeedRefused("rollback", text)
        if queue.serial == mine.size and queue.tree != mine:
            raise FeedRefused("forked", f"queue {queue.key} has another past up to entry {mine.size}")
        if queue.serial - mine.size > self._asked.entries:
            text = f"queue {queue.key} is to bring {queue.serial - mine.size} entries, {self._asked.entries} were asked"
            raise FeedRefused("endless", text)
        if queue.serial > mine.size:
            self._due[queue.key] = queue

    def _begin(self, name: str) -> None:
        if self._open is not None:
            raise FeedRefused("malformed", "a queue begins inside another")
        head = self._due.pop(queue_key(name), None)
        if head is None:
            raise FeedRefused("endless", f"queue {name[:64]!r} was not announced, or comes twice")
        self._open = _Open(head, self._known.get(head.key, NO_LEAVES))

    def _leaf(self, leaf: bytes, size: int) -> _Open:
        queue = self._open
        if queue is None:
            raise FeedRefused("malformed", "an entry outside of a queue")
        if queue.tree.size >= queue.head.serial:
            raise FeedRefused("endless", f"more entries of queue {queue.head.key} than the manifest announces")
        queue.tree = queue.tree.append(leaf)
        queue.octets += size
        if queue.octets > self._spool_octets_max:
            raise SpoolFull(f"queue {queue.head.key} brings more than {self._spool_octets_max} octets at once")
        return queue

    def _entry(self, octets: bytes, state: bytes | None) -> None:
        queue = self._leaf(leaf_hash(octets), len(octets) + len(state or b""))
        try:
            entry = journal.parse(octets)
            if state is None and entry.record is not None:
                state = record_format.state_octets(entry.record)
        except (CorruptStore, IndexError) as wrong:
            raise FeedRefused("malformed", str(wrong)) from wrong
        if entry.serial != queue.tree.size:
            raise FeedRefused("forged", f"entry {entry.serial} stands where entry {queue.tree.size} belongs")
        if state is not None and sha256(state).digest() != entry.digest_after:
            raise FeedRefused("forged", f"the record sent with entry {entry.serial} is not the one the entry names")
        queue.entries.append(ProvenEntry(entry, state))

    def _end_of_queue(self) -> ProvenQueue:
        queue, self._open = self._open, None
        if queue is None:
            raise FeedRefused("malformed", "the end of a queue that did not begin")
        if queue.tree.size < queue.head.serial:
            text = f"queue {queue.head.key} ends at entry {queue.tree.size}, announced was {queue.head.serial}"
            raise FeedRefused("withheld", text)
        if queue.tree != queue.head.tree:
            raise FeedRefused("forged", f"the entries of queue {queue.head.key} are not those the primary signed")
        for proven in queue.entries:
            if proven.entry.run is not None:
                raise DumpNeeded(f"entry {proven.entry.serial} is a bulk load of {proven.entry.run.count} records")
        return ProvenQueue(queue.head, tuple(queue.entries))

    def _end(self) -> None:
        if self._open is not None or self._due:
            raise FeedRefused("withheld", f"{len(self._due) + bool(self._open)} announced queues did not come")
        self.is_complete = True


def checked_manifest(octets: bytes, asked: Asked, is_trusted: KeyCheck) -> FeedManifest:
    """The manifest, its signature, nonce and range checked. Raises FeedRefused."""
    manifest = FeedManifest.from_octets(octets)
    if not is_trusted(manifest.signed_octets, manifest.signature):
        raise FeedRefused("key", "the manifest is signed by none of the keys this mirror trusts")
    if manifest.nonce != asked.nonce:
        raise FeedRefused("stale", "the manifest was made for another asking")
    ends_later = asked.until is not None and (manifest.until is None or manifest.until > asked.until)
    if manifest.after != asked.after or ends_later:
        raise FeedRefused("malformed", "the manifest is about another range of prefixes than was asked")
    if in_range([queue.prefix for queue in manifest.queues], manifest.after, manifest.until) != [
        queue.prefix for queue in manifest.queues
    ]:
        raise FeedRefused("malformed", "the manifest names prefixes outside of its range")
    return manifest
