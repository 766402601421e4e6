"""Carrying out what was decided: submit, decide anew when somebody else was faster, read back when nobody knows."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from idnode_protocol.codes import ResponseCode
from idnode_protocol.errors import RemoteError
from idnode_registry.ask import Ask, Caller, Reply, refusal
from idnode_registry.errors import (
    AskingError,
    FeedRetained,
    NotRepresentable,
    ReadingError,
    StoreBusy,
    StoreClosed,
    StoreFull,
    StoreReadOnly,
)
from idnode_registry.format import serial_of
from idnode_registry.plans import Plan
from idnode_registry.store import Batch, BucketHead, Outcome, Result, Store

if TYPE_CHECKING:
    from idnode_registry.registry import Registry

READ_ONLY: Final = "the store is read-only since a write failed; the operator has to restart the node on a sound disk"
STORAGE_FULL: Final = "storage full; the operator has to free some space"
DAMAGE: Final = (ReadingError, AskingError, RemoteError)
"""What reading a record raises that cannot be served."""
DAMAGED: Final = "the stored record is damaged and is not served; the operator has to restore it"
DAMAGED_LIST: Final = "a record in this list is damaged and the list ends here; the operator has to restore it"
ATTEMPTS_MAX: Final = 32
"""Each attempt fails only because another write of the same record succeeded."""

WRITE_REFUSALS: Final[dict[type[Exception], tuple[int, str]]] = {
    StoreReadOnly: (ResponseCode.SERVER_READ_ONLY, READ_ONLY),
    StoreFull: (ResponseCode.SERVER_BUSY, STORAGE_FULL),
    StoreBusy: (ResponseCode.SERVER_BUSY, "too many writes are waiting; try again"),
    StoreClosed: (ResponseCode.SERVER_BUSY, "the server is stopping"),
    NotRepresentable: (ResponseCode.INVALID_VALUE, "the record is longer than can be stored"),
    ReadingError: (ResponseCode.ERROR, DAMAGED),
}
"""Failure of a write (or a subclass) -> code and text; the first that fits. Anything else is a fault of ours."""


def refusal_for(wrong: BaseException) -> Reply | None:
    """The refusal of a failed read or write; None for what should not have happened."""
    for kind, (code, text) in WRITE_REFUSALS.items():
        if isinstance(wrong, kind):
            return refusal(code, text)
    return None


class Recorder:
    """A batch that remembers the journal entries it made, by serial: what a write left behind, if it left anything."""

    def __init__(self, batch: Batch) -> None:
        self._make = batch.entry
        self._entries: dict[int, bytes] = {}
        self.batch = replace(batch, entry=self._remember)

    def _remember(self, head: BucketHead, before: bytes | None, after: bytes | None) -> bytes:
        octets = self._make(head, before, after)
        self._entries[head.serial + 1] = octets
        return octets

    def was_applied(self, store: Store) -> bool | None:
        """Whether one of those entries stands in the journal; None when that part was cut and the record went on."""
        prefix, suffix = self.batch.prefix, self.batch.suffix
        bucket = store.bucket_of(prefix, suffix)
        try:
            return any(
                store.feed(prefix, bucket, serial - 1, 1) == [octets] for serial, octets in self._entries.items()
            )
        except FeedRetained:
            record = store.get(prefix, suffix)
            is_ours = record is not None and serial_of(record) in self._entries
            return True if is_ours else None


class Execution:
    """One request until its reply. Steps run on the caller's thread first, then on the writer's."""

    def __init__(self, registry: Registry, ask: Ask, caller: Caller, now: float) -> None:
        self._registry = registry
        self._ask = ask
        self._caller = caller
        self._now = now
        self._attempts = 0
        self.future: Future[Reply] = Future()
        self.future.set_running_or_notify_cancel()  # a client that goes away cancels nothing that is under way

    def start(self) -> Future[Reply]:
        self._step()
        return self.future

    def _step(self) -> None:
        decided = self._registry.answer(self._ask, self._caller, self._now)
        if isinstance(decided, Reply):
            self.future.set_result(decided)
            return
        self._attempts += 1
        if self._attempts > ATTEMPTS_MAX:
            text = "too many others write to this record at the same time; try again"
            self.future.set_result(refusal(ResponseCode.SERVER_BUSY, text))
            return
        recorder = Recorder(decided.batch)
        written = self._registry.store.submit(recorder.batch)
        written.add_done_callback(lambda done: self._written(decided, recorder, done))

    def _written(self, plan: Plan, recorder: Recorder, done: Future[Result]) -> None:
        """Whatever goes wrong here must reach the future: nobody else would hear of it."""
        try:
            self._settle(plan, recorder, done)
        except Exception as wrong:
            refused = refusal_for(wrong)
            if refused is None:
                self.future.set_exception(wrong)
            else:
                self.future.set_result(refused)

    def _settle(self, plan: Plan, recorder: Recorder, done: Future[Result]) -> None:
        outcome = done.result().outcome
        if outcome is Outcome.UNKNOWN:
            applied = recorder.was_applied(self._registry.store)
            self._registry.committed(plan)  # applied or not, forgetting cached answers is never wrong
            if applied is None:
                text = "it is not known whether this write was kept; read the record back"
                self.future.set_result(refusal(ResponseCode.ERROR, text))
                return
            outcome = Outcome.APPLIED if applied else Outcome.CONFLICT
        elif outcome is Outcome.APPLIED:
            self._registry.committed(plan)
        if outcome is Outcome.APPLIED:
            self.future.set_result(plan.reply)
        else:
            self._step()
