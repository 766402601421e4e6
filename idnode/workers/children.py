"""What runs inside each process of the node, from its first line to its last."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

from idnode.adapters import Adapters, real_adapters
from idnode.adapters.errors import AdapterError
from idnode.adapters.processes import ParentLine
from idnode.adapters.shared import SharedWords
from idnode.demo import home_prefix
from idnode.event_loop import run, settle
from idnode.keeping import load_key
from idnode.workers.nodes import RegistryNode, ResolverNode
from idnode.workers.plan import Failed, NodePlan, Ready
from idnode.workers.ring import RingWriter
from idnode_registry.errors import RegistryError

Work = Callable[[Adapters, asyncio.Event], Awaitable[None]]


def registry_main(line: ParentLine, plan: NodePlan) -> None:
    """The process that writes."""

    async def work(adapters: Adapters, stop: asyncio.Event) -> None:
        shared = SharedWords.open(plan.ring, is_writable=True)
        node = RegistryNode(plan, adapters, load_key(adapters, plan.key_file), RingWriter(shared.words))
        async with node:
            for prefix in plan.config.prefixes:
                home_prefix(node.registry, prefix.encode("utf-8"), adapters.clock.now())
            await node.open()
            settle()
            line.send(Ready(len(node.registry.homed_prefixes())))
            await stop.wait()
            await node.close()

    _run(line, plan, work, shares_ports=False)


def resolver_main(line: ParentLine, plan: NodePlan, number: int) -> None:
    """One of those that resolve."""

    async def work(adapters: Adapters, stop: asyncio.Event) -> None:
        shared = SharedWords.open(plan.ring, is_writable=False)
        async with ResolverNode(plan, number, adapters, load_key(adapters, plan.key_file), shared) as node:
            settle()
            line.send(Ready(len(node.registry.homed_prefixes())))
            await stop.wait()

    _run(line, plan, work, shares_ports=True)


def _run(line: ParentLine, plan: NodePlan, work: Work, *, shares_ports: bool) -> None:
    """Work until the parent says stop; what cannot work says why. The last orphan tidies up."""
    gc.freeze()  # what was imported for all processes stays shared, and out of the collector's way
    adapters = real_adapters(shares_ports=shares_ports)

    async def main() -> int:
        stop = asyncio.Event()
        line.when_told_to_stop(stop)
        try:
            await work(adapters, stop)
        except (RegistryError, AdapterError, OSError, ValueError) as wrong:
            line.send(Failed(str(wrong), isinstance(wrong, AdapterError)))
        return 0

    try:
        run(main(), plan.config.log.level)
    finally:
        adapters.close()
        if line.is_orphan:
            adapters.disk.remove_tree(plan.folder)
