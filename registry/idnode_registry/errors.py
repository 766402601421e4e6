"""Every error of the registry floor, grouped by when it happens. One root; the docstring is what the message means."""

from __future__ import annotations


class RegistryError(Exception):
    """Root of all errors of this floor; never raised itself."""


# --- opening -----------------------------------------------------------------------------------------------------


class OpeningError(RegistryError):
    """The store cannot be opened; nothing was changed. Root of the errors of opening."""


class StoreLocked(OpeningError):
    """Another process holds the folder; talk to that node by protocol, or stop it first."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"the store in {path} is in use by another process: ask the running node instead, or stop it and try again"
        )


class FormatRefused(OpeningError):
    """The file is not a store of ours, or of a format, key scheme or feature this version does not know."""


class EngineMissing(OpeningError):
    """The store is of an engine whose library is not installed."""

    def __init__(self, engine: str, extra: str) -> None:
        self.engine = engine
        super().__init__(f"the engine {engine} is not installed: pip install 'idnode[{extra}]'")


class CaseModeMismatch(OpeningError):
    """The store was created with the other case mode, which is fixed for its life."""

    def __init__(self, path: str, stored: str, asked: str) -> None:
        self.stored = stored
        self.asked = asked
        super().__init__(
            f"the store in {path} was created with case mode {stored!r} and cannot be opened as {asked!r}: "
            f"set the case mode to {stored!r}, or export its records and import them into a new store"
        )


# --- reading -----------------------------------------------------------------------------------------------------


class ReadingError(RegistryError):
    """Stored octets cannot be used. Root of the errors of reading."""


class CorruptRecord(ReadingError):
    """The stored octets fail their checksum, or lie under another name: never served; restore the record."""


class CorruptStore(ReadingError):
    """A structure of the store (a bucket head, the prefix table, a page) is damaged; run check, restore a backup."""


class UnknownForm(ReadingError):
    """The record is stored in a form, version or with flags this version cannot read; use the newer idnode."""


class StoreClosed(ReadingError):
    """The store was closed; open it again."""


# --- writing -----------------------------------------------------------------------------------------------------


class WritingError(RegistryError):
    """The write was refused or failed. Root of the errors of writing."""


class StoreReadOnly(WritingError):
    """A commit failed; this process writes no more. ``in_doubt``: whether this very write was kept is unknown."""

    def __init__(self, reason: str, *, in_doubt: bool = False) -> None:
        self.reason = reason
        self.in_doubt = in_doubt
        tail = "; whether this write was kept is unknown: read it back after the restart" if in_doubt else ""
        super().__init__(f"the store is read-only since {reason}: restart the node once the disk is sound{tail}")


class StoreFull(WritingError):
    """No disk space is left above the reserve; nothing of this write was kept. Works again once space is free."""


class StoreBusy(WritingError):
    """More writes are queued than the bound allows; nothing was kept, try again later."""


class NameMismatch(WritingError):
    """The batch's record does not carry the name it is stored under; a fault of the calling code, nothing was kept."""


class RunRefused(WritingError):
    """A bulk run is not sorted by storage key, repeats a name or meets a stored record; nothing was kept."""


class NotRepresentable(WritingError):
    """A name or record is longer than the stored form can hold; nothing was kept."""


# --- bulk loading ------------------------------------------------------------------------------------------------


class LoadingError(RegistryError):
    """A bulk load cannot go on. Root of the errors of bulk loading."""


class RowsRefused(LoadingError):
    """Rows name what is stored already, or the same record twice; nothing was stored. ``complaints`` name the lines."""

    def __init__(self, complaints: list[str]) -> None:
        self.complaints = complaints
        super().__init__("; ".join(complaints) + ": correct the input, or skip what exists")


class OtherLoad(LoadingError):
    """The work folder belongs to a load of another input that was not finished."""

    def __init__(self, work: str, label: str) -> None:
        self.label = label
        super().__init__(f"{work} holds an unfinished load of {label}: finish that one first, or forget it (--restart)")


class CorruptWork(LoadingError):
    """A work file of a bulk load is damaged; what was stored so far is sound."""


# --- asking ------------------------------------------------------------------------------------------------------


class AskingError(RegistryError):
    """The question cannot be answered as put. Root of the errors of asking."""


class FeedRetained(AskingError):
    """The journal was cut: entries before ``oldest`` are gone. Start from a snapshot, then follow from there."""

    def __init__(self, oldest: int) -> None:
        self.oldest = oldest
        super().__init__(f"the journal is retained from serial {oldest} on: take a snapshot and follow from there")


class MalformedValues(AskingError):
    """Octets given as a value list do not follow the layout (docs/protocol.md §2.1)."""


class ProofRefused(AskingError):
    """A Merkle proof was asked for sizes or indexes that the tree does not have, or whose leaves were cut."""


class TemplateRefused(AskingError):
    """A namespace, its template or a regular expression in it cannot be used; its owner must correct what is named."""


class TemplateTooCostly(TemplateRefused):
    """Evaluating the template takes more steps, or makes more octets, than are allowed; simplify it."""


class RangeRefused(AskingError):
    """A range cannot be registered, or named, as put; the message says what to correct, or what it overlaps."""


# --- mirroring ---------------------------------------------------------------------------------------------------


class MirroringError(RegistryError):
    """A mirror could not take what it was sent. Root of the errors of mirroring; what it holds stays as it was."""


class FeedRefused(MirroringError):
    """What came is not what the primary vouches for; nothing of it was taken. ``kind`` is one of REFUSALS."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {text}")


class SpoolFull(MirroringError):
    """A queue's news are larger than is held before they are proven; ask for fewer entries at once."""


class DumpNeeded(MirroringError):
    """The journal no longer says what was missed (cut, or a bulk load); take a dump."""


REFUSALS = {
    "malformed": "octets that are no manifest, entry or queue",
    "key": "signed by none of the keys this mirror trusts",
    "stale": "vouched for another asking than ours: an old answer",
    "rollback": "less than the mirror already has, or a queue it knows is gone",
    "forked": "another past than the one the mirror has",
    "forged": "entries or records that the signed manifest does not prove",
    "endless": "more than was announced or asked for",
    "withheld": "less than was announced",
}
"""Why a feed is refused."""
