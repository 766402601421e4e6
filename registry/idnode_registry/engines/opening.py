"""Which engine a store's folder is of, and opening it with that one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from idnode_registry.disk import Disk
from idnode_registry.engines.embedded import EmbeddedStore
from idnode_registry.engines.lmdb_file import DATA_NAME
from idnode_registry.errors import EngineMissing, FormatRefused
from idnode_registry.store import CaseMode, EngineName

DEFAULT_ENGINE: Final[EngineName] = "lmdb"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine: the file by which its folders are known, and its class, imported when it is needed."""

    mark: str
    home: str
    extra: str = ""
    """What of this distribution brings its library; empty = it always comes."""
    has_cache: bool = False
    """Whether it keeps a cache of its own in memory."""

    def opener(self, name: str) -> Callable[..., EmbeddedStore]:
        """Its ``open``; raises EngineMissing."""
        module, _, kind = self.home.partition(":")
        try:
            found: Any = getattr(import_module(module), kind)
        except ModuleNotFoundError as wrong:
            if not self.extra:
                raise
            raise EngineMissing(name, self.extra) from wrong
        opened: Callable[..., EmbeddedStore] = found.open
        return opened


ENGINES: Final[dict[EngineName, Engine]] = {
    "lmdb": Engine(DATA_NAME, "idnode_registry.engines.lmdb:LmdbStore"),
    "rocksdb": Engine("CURRENT", "idnode_registry.engines.rocks:RocksStore", "rocksdb", has_cache=True),
}


def engine_of(disk: Disk, path: str) -> EngineName | None:
    """The engine that made the store in a folder; None when no store is there. Raises FormatRefused for two."""
    try:
        names = frozenset(disk.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    found = [name for name, engine in ENGINES.items() if engine.mark in names]
    if len(found) > 1:
        raise FormatRefused(f"{path} holds the files of {' and '.join(found)}: keep one store in a folder")
    return found[0] if found else None


def open_folder(
    path: str,
    case_mode: CaseMode,
    *,
    disk: Disk,
    engine: EngineName | None = None,
    fsync: bool = True,
    cache_octets: int | None = None,
) -> EmbeddedStore:
    """Open the store in ``path`` with the engine that made it; a new one with ``engine``, else with the default.

    ``cache_octets`` is for engines with a cache of their own; None = their default. Raises FormatRefused when another
    engine made it, EngineMissing, and what the engine raises.
    """
    found = engine_of(disk, path)
    if engine is not None and found is not None and found != engine:
        raise FormatRefused(
            f"the store in {path} was made by the engine {found}, not {engine}: ask for {found}, or give another folder"
        )
    chosen = found or engine or DEFAULT_ENGINE
    has_cache = ENGINES[chosen].has_cache and cache_octets is not None
    options = {"cache_octets": cache_octets} if has_cache else {}
    return ENGINES[chosen].opener(chosen)(path, case_mode, disk=disk, fsync=fsync, **options)
