"""Signs the Merkle heads of the journal: every 10 s or 1,000 entries, whichever comes first (docs/architecture.md)."""

from __future__ import annotations

import asyncio
from typing import Final

from idnode.adapters import Adapters
from idnode_registry.crypto import Signer
from idnode_registry.errors import WritingError
from idnode_registry.journal import HEAD_INTERVAL_S, HeadSigner, SignedHead, head_name, heads_start
from idnode_registry.store import Store

LOOK_S: Final = 1.0
"""How often the heads are looked at; a thousand entries in less time are signed that much later."""


class HeadKeeper:
    """A task that looks at each bucket's head, signs those that are due and stores them beside the records."""

    def __init__(self, store: Store, signer: Signer, adapters: Adapters) -> None:
        self._store = store
        self._adapters = adapters
        self._signer = HeadSigner(lambda octets: signer.sign(octets, "sha256"))
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Take up the heads signed before and begin."""
        for prefix in self._store.prefixes():
            for bucket in self._store.buckets(prefix):
                names = self._store.meta_names(heads_start(prefix, bucket))
                known = self._store.get_meta(names[-1]) if names else None
                if known is not None:
                    self._signer.resume(SignedHead.from_octets(known))
        self._loop = asyncio.get_running_loop()
        self._changed.set()
        self._task = self._loop.create_task(self._run())

    def note(self) -> None:
        """A commit happened; may be called from the writer's thread. An idle node wakes nobody."""
        if self._loop is not None and not self._changed.is_set() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)

    async def stop(self) -> None:
        """Sign what is new, then end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            await self.sign_due(early_s=HEAD_INTERVAL_S)

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._adapters.clock.sleep(LOOK_S)
            await self.sign_due()
            if self._is_behind():
                self._changed.set()

    def _is_behind(self) -> bool:
        """Whether entries stand in the journal that no signed head covers yet."""
        store = self._store
        buckets = ((prefix, bucket) for prefix in store.prefixes() for bucket in store.buckets(prefix))
        far = self._adapters.clock.now() + 2 * HEAD_INTERVAL_S
        return any(
            self._signer.due(prefix, bucket, store.head(prefix, bucket).serial, far) for prefix, bucket in buckets
        )

    async def sign_due(self, early_s: float = 0.0) -> int:
        """Sign the heads due within ``early_s``; returns how many. A read-only or full store keeps its old heads."""
        signed = 0
        now = self._adapters.clock.now()
        for prefix in self._store.prefixes():
            for bucket in self._store.buckets(prefix):
                head = self._store.head(prefix, bucket)
                if self._store.read_only_reason is None and self._signer.due(
                    prefix, bucket, head.serial, now + early_s
                ):
                    made = await self._adapters.run_blocking(self._signer.sign, prefix, bucket, head, now)
                    try:
                        await asyncio.wrap_future(self._store.put_meta(head_name(made), made.to_octets()))
                    except WritingError:  # no space, or read-only by now: the records matter more, try again later
                        self._signer.forget(prefix, bucket)
                        return signed
                    signed += 1
        return signed
