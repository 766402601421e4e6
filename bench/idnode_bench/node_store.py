"""Fills the store of a node that has been started once. The only place where the harness touches the registry."""

from __future__ import annotations

from pathlib import Path

from idnode.adapters import Adapters
from idnode.config import NodeConfig, StoreConfig
from idnode_bench.errors import TargetFailed
from idnode_bench.population import PREFIX, Population
from idnode_protocol.handle import fold
from idnode_registry.engines.opening import engine_of
from idnode_registry.format import pack
from idnode_registry.journal import load_appender


def fill(adapters: Adapters, data: Path, population: Population) -> int:
    """Bulk-load the population into the store under the node's data folder; the number of records.

    The node must not be running. Raises :class:`TargetFailed` if it left no store, and the registry's own errors.
    """
    from idnode.node import open_store  # only filling needs the node's parts; measuring a given address does not

    folder = data / "store"  # of the demo node; the other nodes of its country have folders of their own
    if engine_of(adapters.disk, str(folder)) is None:
        raise TargetFailed(f"the node left no store in {folder}")
    store = open_store(NodeConfig(store=StoreConfig(folder=folder)), adapters)
    try:
        run = ((fold(record.suffix), pack(record.handle, 0, record.values)) for record in population)
        return store.load(PREFIX, run, load_appender(now=adapters.clock.now(), prefix=PREFIX, actor=b""))
    finally:
        store.close()
