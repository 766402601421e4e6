"""The parent of a node of several processes: starts them, starts those anew that die, stops them in order.

It serves nothing itself. The registry process is there before the resolvers are started and until they have ended, so
that whatever they took can be finished.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from idnode.adapters import Adapters
from idnode.adapters.clock import RealClock
from idnode.adapters.errors import AdapterError
from idnode.adapters.net import Address, address_of
from idnode.adapters.net_real import CAN_SHARE_PORTS
from idnode.adapters.processes import Child, Processes
from idnode.adapters.shared import SharedWords
from idnode.config import ListenConfig, NodeConfig
from idnode.keeping import load_key
from idnode.logs import NodeLog
from idnode.workers.board import Board
from idnode.workers.children import registry_main, resolver_main
from idnode.workers.plan import Failed, NodePlan, Ready
from idnode.workers.ring import RING_WORDS, make_ring
from idnode_registry.engines.opening import engine_of
from idnode_registry.errors import OpeningError

PRELOADED: Final = ("idnode.workers.children", "uvloop")
PAUSES_S: Final = (0.0, 0.05, 0.1, 0.2, 0.5)
"""Before a process that died is started again: by how often it did so lately. Writing goes on within 2 s even then."""
STEADY_S: Final = 10.0
"""Whoever lived that long has a clean record."""
STOP_S: Final = 15.0


class WorkersRefused(ValueError):
    """The settings, or the surroundings, do not go together with several processes; ``workers`` has to be 1."""


class WorkerCannotListen(AdapterError):
    """A process of the node cannot listen; the message is its own."""


class _Slot:
    """One process of the node, whichever it is at the moment."""

    def __init__(self, supervisor: Supervisor, name: str, main: Callable[..., None], *arguments: Any) -> None:
        self.name = name
        self.is_serving = False
        self.ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self._supervisor = supervisor
        self._main, self._arguments = main, arguments
        self._child: Child | None = None
        self._stopping = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        """Start it again and again until it is to stop."""
        clock, failures = self._supervisor.adapters.clock, 0
        while not self._stopping.is_set():
            began = clock.monotonic()
            await self._live()
            failures = 0 if clock.monotonic() - began >= STEADY_S else min(failures + 1, len(PAUSES_S))
            with suppress(TimeoutError):
                async with clock.timeout(PAUSES_S[max(0, failures - 1)]):
                    await self._stopping.wait()

    async def _live(self) -> None:
        """One life, from its start to its end."""
        try:
            child = self._supervisor.processes.start(f"idnode {self.name}", self._main, *self._arguments)
        except OSError as wrong:
            self._fail(Failed(f"the process {self.name} cannot be started: {wrong}", False))
            return
        self._child = child
        while (message := await child.receive()) is not None:
            if isinstance(message, Ready):
                self.is_serving = True
                self._supervisor.note(self, child)
                if not self.ready.done():
                    self.ready.set_result(message)
            elif isinstance(message, Failed):
                self._fail(message)
        was_serving, self.is_serving = self.is_serving, False
        self._supervisor.note(self, None)
        if was_serving and not self._stopping.is_set():
            self._supervisor.log.write("process-lost", process=self.name, status=child.exit_code)
        if not self.ready.done():
            self._fail(Failed(f"the process {self.name} ended with status {child.exit_code} before it answered", False))

    def _fail(self, failed: Failed) -> None:
        if not self.ready.done():
            self.ready.set_exception((WorkerCannotListen if failed.is_listening else OpeningError)(failed.text))
            self._stopping.set()
        else:
            self._supervisor.log.write("process-failed", process=self.name, reason=failed.text)

    async def stop(self) -> None:
        """Let it finish what is under way; after 15 s it is ended."""
        self._stopping.set()
        if self._child is not None:
            self._child.tell_to_stop()
        try:
            async with self._supervisor.adapters.clock.timeout(STOP_S):
                await asyncio.wait({self._task})
        except TimeoutError:
            if self._child is not None:
                self._child.kill()
            await asyncio.wait({self._task})
        if self.ready.done() and not self.ready.cancelled():
            self.ready.exception()


class Supervisor:
    """``async with Supervisor(config, adapters, key_file) as node`` runs a node of ``1 + config.workers`` processes."""

    def __init__(self, config: NodeConfig, adapters: Adapters, key_file: Path) -> None:
        """Raises :class:`WorkersRefused`."""
        if config.store.folder is None:
            raise WorkersRefused("workers share a store on disk: set store.folder, or workers = 1")
        if config.store.engine == "rocksdb" or engine_of(adapters.disk, str(config.store.folder)) == "rocksdb":
            raise WorkersRefused("a store of the engine rocksdb belongs to one process: set workers = 1, or use lmdb")
        if not CAN_SHARE_PORTS:
            raise WorkersRefused("only Linux deals connections out to several processes: set workers = 1")
        if not isinstance(adapters.clock, RealClock):
            raise WorkersRefused("a virtual clock belongs to one process: set workers = 1")
        self.adapters = adapters
        self.log = NodeLog(adapters.clock.now, adapters.clock.monotonic, mask_clients=config.log.mask_clients)
        self.config = config
        self.processes = Processes(PRELOADED)
        self.prefixes = 0
        self._key_file = key_file
        self._slots: list[_Slot] = []
        self._shared: SharedWords | None = None
        self._board: Board | None = None
        self._plan: NodePlan | None = None

    async def __aenter__(self) -> Supervisor:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        load_key(self.adapters, self._key_file)  # made here if there is none, so that all have the same
        workers = self.config.workers
        listen = await self._settled(self.config.listen)
        self.config = self.config.model_copy(update={"listen": listen})
        folder = self.adapters.disk.temporary_folder("idnode-workers-")
        one = self.config.model_copy(update={"workers": 1})
        self._plan = plan = NodePlan(one, self._key_file, folder, workers)
        self._shared = SharedWords.make(plan.ring, RING_WORDS)
        make_ring(self._shared.words)
        self._board = Board(self._shared.words)
        registry = _Slot(self, "registry", registry_main, plan)
        self._slots.append(registry)
        self.prefixes = (await registry.ready).prefixes
        self._slots += [_Slot(self, f"resolver {number}", resolver_main, plan, number) for number in range(workers)]
        await asyncio.gather(*(slot.ready for slot in self._slots))
        for transport in ("udp", "tcp", "http"):
            for address in self.addresses(transport):
                self.log.write("listen", transport=transport, address=str(address))

    def addresses(self, transport: str) -> list[Address]:
        """Where ``udp``, ``tcp`` or ``http`` is listened on."""
        listen = self.config.listen
        port: int | None = getattr(listen, f"{transport}_port")
        return [] if port is None else [address_of(host, port) for host in listen.addresses]

    async def _settled(self, listen: ListenConfig) -> ListenConfig:
        """The ports, known and free: among processes that share them nobody else would be noticed. Raises
        ListenFailed."""
        net, hosts = self.adapters.net, listen.addresses
        native, web = net.free_ports(2, hosts)
        tcp = native if listen.tcp_port == 0 else listen.tcp_port
        udp = (tcp or native) if listen.udp_port == 0 else listen.udp_port
        http = web if listen.http_port == 0 else listen.http_port
        for host in hosts:
            for port in filter(None, (tcp, http)):
                server = await net.listen_stream(asyncio.Protocol, host, port)
                server.close()
                await server.wait_closed()
            if udp is not None:
                net.udp_bind(host, udp).close()
        return listen.model_copy(update={"udp_port": udp, "tcp_port": tcp, "http_port": http})

    def note(self, slot: _Slot, child: Child | None) -> None:
        """A process answers now, or does not any more."""
        if self._board is not None:
            registry, *resolvers = self._slots
            serving = sum(each.is_serving for each in resolvers)
            self._board.write(self.config.workers, serving, writes=registry.is_serving)
        if child is not None:
            self.log.write("process", process=slot.name, pid=child.pid)

    async def _stop(self) -> None:
        registry, resolvers = self._slots[:1], self._slots[1:]
        await asyncio.gather(*(slot.stop() for slot in resolvers))
        await asyncio.gather(*(slot.stop() for slot in registry))
        self._slots.clear()
        self._board = None
        if self._shared is not None:
            self._shared.close()
            self._shared = None
        if self._plan is not None:
            await self.adapters.run_blocking(self.adapters.disk.remove_tree, self._plan.folder)
            self._plan = None
