"""Fills the data folder of a node: prefixes homed, an administrator, every record bulk-loaded, resumable.

::

    FOLDER/store            what ``idnode serve --set store.folder=FOLDER/store`` opens
    FOLDER/population.json  what it holds, written first: a load that was cut off goes on where it ended

The only place where the harness touches the registry.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final, get_args

from idnode.adapters import Adapters
from idnode.config import NodeConfig, StoreConfig
from idnode.demo import SECRET_KEY_INDEX, Administrator, seed_administrator, seed_prefix
from idnode_bench.errors import WrongPopulation
from idnode_bench.machine import elapsed_s, read_text
from idnode_bench.population.factory import Population, Prefix, prefix_name
from idnode_bench.population.layouts import GROUP_INDEX
from idnode_bench.population.ranged import REGISTERED_AT_S, RangedPopulation
from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag, ResponseCode
from idnode_protocol.handle import fold
from idnode_protocol.requests import HandleRequest, ValuesRequest
from idnode_protocol.value import HandleValue, Reference
from idnode_protocol.values.vlist import encode_vlist
from idnode_registry.ask import SYSTEM, Ask, Reply
from idnode_registry.crypto import Signer
from idnode_registry.format import pack
from idnode_registry.journal import load_appender
from idnode_registry.ranges.asks import RangeCode, about
from idnode_registry.registry import Registry
from idnode_registry.store import EngineName, Store

RUN_RECORDS: Final = 200_000
"""One bulk load, read whole into memory: about 200 MB of reference records."""
ADMIN_HANDLE: Final = b"99.900/BENCH"
ADMIN_SECRET: Final = b"bench-secret"
"""Of a throw-away node on loopback; the harness registers with it."""
ADMIN_PREFIX: Final = b"99.900"
DELETIONS_AT_ONCE: Final = 1_000
ENGINES: Final[tuple[str, ...]] = get_args(EngineName)

Progress = Callable[[int, int], None]
"""(records stored, records in all)."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What a fill did. ``loaded`` is without what an earlier one had stored."""

    loaded: int
    duration_s: float
    range_registered: int = 0

    @property
    def per_s(self) -> float:
        return self.loaded / self.duration_s if self.duration_s > 0 else 0.0


def store_folder(data: Path) -> Path:
    """Where the store of a data folder lies."""
    return data / "store"


def store_config(data: Path, engine: str = "lmdb") -> StoreConfig:
    """The store settings of a filled folder. Raises :class:`WrongPopulation` for an engine that there is not."""
    if engine not in ENGINES:
        raise WrongPopulation(f"there is no store engine {engine!r}: {', '.join(ENGINES)}")
    return StoreConfig(folder=store_folder(data), engine=engine)  # type: ignore[arg-type]  # seen above


@dataclass(frozen=True, slots=True)
class Holding:
    """What a folder holds: the records of ``population`` one by one, or by ranges when ``ranged`` is not None."""

    population: Population
    engine: str = "lmdb"
    ranged: RangedPopulation | None = None

    @property
    def source(self) -> Population | RangedPopulation:
        """Records by number."""
        return self.population if self.ranged is None else self.ranged

    @property
    def stored(self) -> int:
        """Records that are stored one by one."""
        return self.population.count if self.ranged is None else self.ranged.overrides

    @property
    def range_registered(self) -> int:
        """Identifiers that ranges register."""
        return 0 if self.ranged is None else self.ranged.count


def _description(holding: Holding, *, complete: bool) -> dict[str, object]:
    """The content of population.json. Only a complete folder is measured: others may write to it afterwards."""
    population, ranged = holding.population, holding.ranged
    return {
        "records": population.count,
        "seed": population.seed,
        "kind": population.kind,
        "prefixes": population.prefix_count,
        "engine": holding.engine,
        "ranges": None if ranged is None else {"overrides": ranged.overrides, "tombstones": ranged.tombstones},
        "complete": complete,
    }


def read_holding(adapters: Adapters, data: Path) -> Holding:
    """What a folder was filled with. Raises :class:`WrongPopulation`."""
    text = read_text(adapters.disk, data / "population.json")
    if text is None:
        raise WrongPopulation(f"{data} holds no population.json: fill it with idnode bench populate --data {data}")
    try:
        found = json.loads(text)
        population = Population(found["records"], found["seed"], found["kind"], found["prefixes"])
        if not found["complete"]:
            raise WrongPopulation(f"{data} was not filled to the end: run idnode bench populate --data {data} again")
        ranges = found["ranges"]
        ranged = None if ranges is None else RangedPopulation(population, ranges["overrides"], ranges["tombstones"])
        return Holding(population, found["engine"], ranged)
    except (ValueError, KeyError, TypeError) as wrong:
        raise WrongPopulation(f"{data}/population.json cannot be read: {wrong}") from wrong


def fill(
    adapters: Adapters,
    data: Path,
    holding: Holding,
    progress: Progress | None = None,
    *,
    durable: bool = True,
) -> Filled:
    """Load the records, register the ranges; what an earlier fill stored is kept. ``durable`` False is for a folder of
    one run: no fsync.

    No node may run over the folder. Raises :class:`WrongPopulation` when it holds another one, and the registry's own
    errors.
    """
    from idnode.node import open_store  # only filling needs the node's parts
    from idnode.switches import registry_settings

    config = NodeConfig(store=store_config(data, holding.engine).model_copy(update={"fsync": durable}))
    adapters.disk.makedirs(data)
    if _claim(adapters, data, holding):
        return Filled(0, 0.0)
    store = open_store(config, adapters)
    try:
        registry = Registry(store, registry_settings(config), rng=adapters.rng.octets)
        _prepare(adapters, registry, holding.population)
        filled = _load(adapters, store, holding, progress or (lambda _done, _all: None))
        if holding.ranged is not None:
            filled = replace(filled, range_registered=_register(registry, holding.ranged))
    finally:
        store.close()
    _describe(adapters, data, _description(holding, complete=True))
    return filled


def _claim(adapters: Adapters, data: Path, holding: Holding) -> bool:
    """Whether the folder holds all of this population already; else it is marked as holding some of it."""
    text = read_text(adapters.disk, data / "population.json")
    wanted, whole = (_description(holding, complete=complete) for complete in (False, True))
    if text is not None and json.loads(text) == whole:
        return True
    if text is not None and json.loads(text) != wanted:
        raise WrongPopulation(f"{data} holds another population ({text.strip()}): choose an empty folder")
    if text is None and adapters.disk.exists(store_folder(data)):
        raise WrongPopulation(f"{data} holds a store that is not the harness's: choose an empty folder")
    _describe(adapters, data, wanted)
    return False


def _describe(adapters: Adapters, data: Path, content: dict[str, object]) -> None:
    adapters.disk.write_atomic(data / "population.json", json.dumps(content).encode() + b"\n", 0o644)


def _prepare(adapters: Adapters, registry: Registry, population: Population) -> None:
    """Home every prefix; write its prefix handle and the group in it that the records name: our administrator."""
    now = adapters.clock.now()
    who = Administrator(ADMIN_HANDLE, ADMIN_SECRET, Signer.generate().public_key_octets)
    homed = set(registry.homed_prefixes())
    names = [ADMIN_PREFIX, *map(prefix_name, range(population.prefix_count))]
    for name in names:
        if b"0.NA/" + name not in homed:
            seed_prefix(registry, name, who, (), now)
    if b"0.NA/" + ADMIN_PREFIX not in homed:
        seed_administrator(registry, who, now)
    group = HandleValue(GROUP_INDEX, "HS_VLIST", encode_vlist([Reference(ADMIN_HANDLE, SECRET_KEY_INDEX)]))
    asks = [
        Ask(OpCode.ADD_VALUES, ValuesRequest(b"0.NA/" + name, (group,)), REQUEST_FLAGS | int(OpFlag.OWE | OpFlag.DNR))
        for name in names
    ]
    for name, future in zip(names, [registry.execute(ask, SYSTEM, now) for ask in asks], strict=True):
        _must(future.result(), ResponseCode.SUCCESS, name)


def _load(adapters: Adapters, store: Store, holding: Holding, progress: Progress) -> Filled:
    started, loaded, done = elapsed_s(), 0, 0
    for prefix in holding.population.prefixes():
        stored = _stored(store, prefix)
        done += stored
        rows = _rows(holding, prefix, stored)
        while run := list(islice(rows, RUN_RECORDS)):
            entry = load_appender(now=adapters.clock.now(), prefix=prefix.name, actor=b"")
            loaded += store.load(prefix.name, run, entry)
            done += len(run)
            progress(done, holding.stored)
    return Filled(loaded, elapsed_s() - started)


def _stored(store: Store, prefix: Prefix) -> int:
    """How many of the prefix's records an earlier fill stored: runs are loaded in order, each whole or not at all."""
    return sum(store.head(prefix.name, bucket).records for bucket in store.buckets(prefix.name))


def _rows(holding: Holding, prefix: Prefix, skip: int) -> Iterator[tuple[bytes, bytes]]:
    cut, ranged = len(prefix.name) + 1, holding.ranged
    if ranged is None:
        records = holding.population.records_of(prefix, skip)
    else:
        records = islice(ranged.overridden(prefix), skip, None)
    for record in records:
        yield fold(record.handle[cut:]), pack(record.handle, 0, record.values)


def _register(registry: Registry, ranged: RangedPopulation) -> int:
    """Register a range for each prefix over its overrides, delete the members that are to be gone; how many there are.

    What an earlier fill registered or deleted is found and left. Raises :class:`WrongPopulation`.
    """
    registered = 0
    for prefix in ranged.members.prefixes():
        name, values = ranged.range_of(prefix)
        done = registry.execute(about(RangeCode.REGISTER, name, values), SYSTEM, REGISTERED_AT_S).result()
        _must(done, ResponseCode.HANDLE_ALREADY_EXISTS, name.name)
        registered += name.count
        gone = ranged.gone(prefix)
        while group := list(islice(gone, DELETIONS_AT_ONCE)):
            asks = [Ask(OpCode.DELETE_HANDLE, HandleRequest(handle), REQUEST_FLAGS) for handle in group]
            for handle, future in zip(
                group, [registry.execute(ask, SYSTEM, REGISTERED_AT_S) for ask in asks], strict=True
            ):
                _must(future.result(), ResponseCode.HANDLE_NOT_FOUND, handle)
    return registered


def _must(reply: Reply, done_before: int, name: bytes) -> None:
    if not reply.is_success and reply.code != done_before:
        text = getattr(reply.response, "text", b"").decode("utf-8", "replace")
        raise WrongPopulation(f"{name.decode()}: response code {reply.code} {text}")
