"""A disk that is full for a while ends neither the signing of heads nor the node."""

from __future__ import annotations

from concurrent.futures import Future

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode_registry.errors import StoreFull
from idnode_registry.journal import heads_start
from tests.idnode.test_virtual_time import running


def test_heads_are_signed_once_there_is_space_again() -> None:
    async def main(adapters: SimulatedAdapters) -> tuple[int, int, int]:
        async with running(adapters) as node:
            store, tries = node.store, 0
            put_meta = store.put_meta

            def full(name: bytes, value: bytes | None) -> Future[None]:
                nonlocal tries
                tries += 1
                refused: Future[None] = Future()
                refused.set_exception(StoreFull("the disk's reserve is reached: free some space"))
                return refused

            def heads() -> int:
                return sum(
                    len(store.meta_names(heads_start(prefix, bucket)))
                    for prefix in store.prefixes()
                    for bucket in store.buckets(prefix)
                )

            store.put_meta = full  # type: ignore[method-assign]
            await adapters.clock.sleep(30)
            while_full, tried = heads(), tries
            store.put_meta = put_meta  # type: ignore[method-assign]
            await adapters.clock.sleep(30)
            return while_full, tried, heads()

    while_full, tried, afterwards = run_simulated(main, seed=3)
    assert while_full == 0
    assert 2 <= tried <= 31
    assert afterwards >= 3
