"""From options to lanes: population, servers, generators, processors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from idnode.adapters import Adapters
from idnode_bench import native
from idnode_bench.commands.facts import facts_of
from idnode_bench.commands.options import Generator
from idnode_bench.counters import CountedLane, node_counters
from idnode_bench.errors import BenchError, PeerMissing
from idnode_bench.lanes import Asked, Lane, NativeLane, PythonLane, Watch, python_lane
from idnode_bench.learning import learnt
from idnode_bench.load.engine import Port
from idnode_bench.load.health import Subject
from idnode_bench.load.keys import KeyPlan
from idnode_bench.load.native_load import NativeLoad
from idnode_bench.load.rows import Rows, write_rows
from idnode_bench.machine import cores
from idnode_bench.native import NativeTools
from idnode_bench.peers.lanes import DNS, Peer, dns_load, peer_server
from idnode_bench.population.factory import PREFIXES_DEFAULT, Population
from idnode_bench.population.filling import Holding, fill, read_holding
from idnode_bench.population.layouts import Kind
from idnode_bench.results import PopulationFacts, Run
from idnode_bench.targets.addresses import TRANSPORTS, Target, parse_target
from idnode_bench.targets.memory import MemoryPort, memory_node
from idnode_bench.targets.native import Dialogue
from idnode_bench.targets.servers import own_node

FILLED_HERE_MAX: Final = 2_000_000
"""Records a command fills for itself; more are worth a folder that is kept."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What several commands are told."""

    targets: tuple[str, ...] = ()
    serve: bool = False
    transports: tuple[str, ...] = ("udp",)
    peers: tuple[Peer, ...] = ()
    generator: Generator = Generator.auto
    records: int = 100_000
    kind: Kind = "small"
    prefixes: int = PREFIXES_DEFAULT
    plan: KeyPlan = field(default_factory=KeyPlan)
    keys: int = 1_000_000
    seed: int = 1
    data: Path | None = None
    engine: str = "lmdb"
    handles: Path | None = None
    connections: int = 32
    warmup_s: float = 0.3
    warm: bool = True
    own_host: bool = False
    settings: tuple[str, ...] = ()
    """Of the own node, ``name=value``."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything is up: lanes in the order of the report, caveats, the folder that goes away afterwards."""

    lanes: tuple[Lane, ...]
    asked: Asked
    notes: tuple[str, ...]


@dataclass(slots=True)
class MemoryLane(PythonLane):
    """A node in this process, started anew for each run."""

    data: Path = Path()
    engine: str = "lmdb"
    dialogue: Dialogue | None = None

    async def measure(self, subject: Subject, warm: float) -> Run:
        assert self.dialogue is not None
        dialogue = self.dialogue
        node, socket = memory_node(self.adapters, self.data, self.engine)

        def make() -> Port:
            return MemoryPort(socket, dialogue)

        self.make_port = make
        async with node:
            return await PythonLane.measure(self, subject, warm)


@contextmanager
def prepared(adapters: Adapters, setup: Setup, watch: Watch) -> Iterator[Prepared]:
    """Fill, start, connect; everything is stopped and removed at the end. Raises :class:`BenchError`."""
    _check(setup)
    tools, notes = _tools(adapters, setup)
    server_core, load_core = _cores()
    if server_core is None:
        notes = (*notes, "one processor: the server and the generator share it")
    folder = adapters.disk.temporary_folder("idnode-bench-")
    try:
        with ExitStack() as stack:
            build = _Builder(adapters, setup, tools, folder, watch, server_core, load_core)
            lanes, asked = build.all(stack)
            yield Prepared(tuple(lanes), asked, notes)
    finally:
        adapters.disk.remove_tree(folder)


def _check(setup: Setup) -> None:
    if not setup.targets and not setup.serve and not setup.peers:
        raise BenchError("nothing to measure: give --target udp://host:port, --serve or --peer c")
    unknown = set(setup.transports) - set(TRANSPORTS)
    if unknown:
        raise BenchError(f"no transport {', '.join(sorted(unknown))}: {', '.join(TRANSPORTS)}")
    if setup.handles is not None and (setup.serve or setup.peers):
        raise BenchError("--handles is for a --target that was not filled by us, alone")
    if setup.serve and setup.data is None and setup.records > FILLED_HERE_MAX:
        raise BenchError(
            f"more than {FILLED_HERE_MAX:,} records: fill a folder with idnode bench populate, give --data"
        )
    if setup.serve and setup.data and {"in-process"} < set(setup.transports):
        raise BenchError("a served folder cannot be opened in this process too: measure in-process by itself")


def _tools(adapters: Adapters, setup: Setup) -> tuple[NativeTools | None, tuple[str, ...]]:
    if setup.generator is Generator.python and not setup.peers:
        return None, ("generator in Python, as asked for",)
    try:
        tools = native.build(adapters.disk)
    except PeerMissing as error:
        if setup.peers or setup.generator is Generator.c:
            raise
        return None, (f"generator in Python, so rates are lower bounds: {error}",)
    return tools, (f"C programs: {tools.compiled_with}",)


def _cores() -> tuple[int | None, int | None]:
    """One processor for the server, another for the generator; None, None on a machine with one."""
    available = cores()
    return (available[0], available[1]) if len(available) > 1 else (None, None)


@dataclass(slots=True)
class _Builder:
    adapters: Adapters
    setup: Setup
    tools: NativeTools | None
    folder: Path
    watch: Watch
    server_core: int | None
    load_core: int | None
    _rows: Rows | None = None
    _holding: Holding | None = None

    def all(self, stack: ExitStack) -> tuple[list[Lane], Asked]:
        setup = self.setup
        given = [parse_target(text, setup.own_host) for text in setup.targets]
        asked = self._asked(given)
        lanes = [self._lane(target, asked) for target in _named(given)]
        if setup.serve:
            lanes += self._served(stack, asked)
        lanes += [self._peer_lane(stack, peer, asked) for peer in setup.peers]
        return lanes, asked

    def _peer_lane(self, stack: ExitStack, peer: Peer, asked: Asked) -> Lane:
        assert self.tools is not None
        self.watch(f"starting {peer.value}")
        served = peer_server(self.adapters, peer, self.tools, asked, self.folder, self.server_core)
        lane = self._lane(stack.enter_context(served).target("udp"), asked)
        if peer not in DNS:
            return lane
        if not isinstance(lane, NativeLane):
            raise BenchError(f"{peer.value} is asked by the C generator only")
        load, facts = dns_load(self.adapters, asked, lane.load, self.folder)
        return replace(lane, load=load, facts=facts)

    def _asked(self, given: Sequence[Target]) -> Asked:
        setup = self.setup
        if setup.handles is not None:
            source = learnt(self.adapters, given[0], setup.handles)
            facts = PopulationFacts(source.count, "given handles", setup.seed, str(setup.plan))
            return Asked(source, setup.plan, facts)
        if setup.data is None:
            self._holding = Holding(Population(setup.records, setup.seed, setup.kind, setup.prefixes), setup.engine)
        else:
            self._holding = read_holding(self.adapters, setup.data)
        return Asked(self._holding.source, setup.plan, facts_of(self._holding, setup.plan))

    def _served(self, stack: ExitStack, asked: Asked) -> list[Lane]:
        setup, lanes = self.setup, list[Lane]()
        sockets = [name for name in setup.transports if name != "in-process"]
        if sockets:
            data, engine = self._filled("node")
            served = stack.enter_context(
                own_node(self.adapters, data, self.server_core, engine=engine, settings=setup.settings)
            )
            for transport in TRANSPORTS:
                if transport in sockets:
                    name = f"idnode {transport}" if len(setup.transports) > 1 else "idnode"
                    lane = self._lane(served.target(transport), asked)
                    lanes.append(CountedLane(name, lane, partial(node_counters, served.http_port)))
        if "in-process" in setup.transports:
            lanes.append(self._memory_lane(asked))
        return lanes

    def _filled(self, name: str) -> tuple[Path, str]:
        assert self._holding is not None
        if self.setup.data is not None:
            return self.setup.data, self._holding.engine
        data = self.folder / name
        self.watch(f"filling {self._holding.stored:,} records")
        fill(self.adapters, data, self._holding, durable=False)
        return data, self._holding.engine

    def _memory_lane(self, asked: Asked) -> MemoryLane:
        data, engine = self._filled("in-process")
        dialogue = Dialogue(asked.source)
        return MemoryLane(
            name="idnode in-process",
            transport="in-process",
            adapters=self.adapters,
            make_port=lambda: MemoryPort(memory_node(self.adapters, data, engine)[1], dialogue),
            facts=asked.facts,
            choose=asked.choose,
            warmup_s=self.setup.warmup_s,
            shares_cores=True,
            watch=self.watch,
            data=data,
            engine=engine,
            dialogue=dialogue,
        )

    def _lane(self, target: Target, asked: Asked) -> Lane:
        setup = self.setup
        slow = python_lane(
            self.adapters,
            target,
            asked,
            connections=setup.connections,
            warmup_s=setup.warmup_s,
            shares_cores=self.server_core is None,
            watch=self.watch,
        )
        if self.tools is None or target.transport != "udp" or setup.generator is Generator.python:
            return slow
        rows = self._rows = self._rows or write_rows(
            self.adapters.disk, self.tools, self.folder, asked.source, setup.plan, setup.seed, setup.keys
        )
        load = NativeLoad(
            self.tools.load,
            rows.file,
            rows.file_order,
            warm_pass=setup.warm,
            warmup_s=setup.warmup_s,
            core=self.load_core,
        )
        facts = replace(asked.facts, working_set=rows.working_set)
        shares = self.server_core is None
        return NativeLane(target.name, self.adapters, target, load, facts, slow, shares, self.watch)


def _named(targets: Sequence[Target]) -> list[Target]:
    """Their addresses as names when there are several."""
    if len(targets) < 2:
        return list(targets)
    return [Target(str(target), target.transport, target.host, target.port) for target in targets]
