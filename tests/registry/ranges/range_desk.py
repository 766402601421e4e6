"""What the tests of ranges share: a registry, ranges to register in it, and the names that exist as a plain dict."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

from idnode.adapters.disk import RealDisk
from idnode_protocol.codes import REQUEST_FLAGS, OpCode
from idnode_protocol.octets import Reader
from idnode_protocol.requests import AnyRequest, HandleRequest, RemoveValuesRequest, ResolutionRequest, ValuesRequest
from idnode_protocol.responses import ResolutionResponse
from idnode_protocol.value import HandleValue
from idnode_registry.ask import SYSTEM, Ask, Caller, Reply
from idnode_registry.engines.memory import MemoryStore, deterministic_source
from idnode_registry.engines.opening import open_folder
from idnode_registry.ranges.asks import RangeCode, about, walk
from idnode_registry.ranges.names import parse_range
from idnode_registry.registry import Registry, RegistrySettings
from idnode_registry.store import CaseMode, Store
from tests.registry.test_registry_machine import Kind

PREFIX: Final = b"99.900.1"
LINK: Final = HandleValue(1, "URL", b"https://example.org/${suffix}?n=${serial}")
KINDS: Final[tuple[Kind, ...]] = ("memory", "hostile", "lmdb", "rocksdb")


def store_of(kind: Kind, folder: Path, case_mode: CaseMode = "fold-all", seed: int = 1) -> Store:
    """A store of a kind; of those on disk the one in ``folder``, new or not."""
    if kind in ("lmdb", "rocksdb"):
        return open_folder(str(folder), case_mode, disk=RealDisk(), engine=kind, fsync=False)
    is_hostile = kind == "hostile"
    return MemoryStore(case_mode, 8 if is_hostile else 1, hostile=is_hostile, rng=deterministic_source(seed))


def durable_store(folder: Path) -> Store:
    """The store in a folder, as a node opens it."""
    return open_folder(str(folder), "fold-all", disk=RealDisk())


class RangeDesk:
    """A registry that homes 99.900.1, asked by the node itself unless a caller is named."""

    def __init__(self, store: Store, settings: RegistrySettings | None = None) -> None:
        self.now = 1_000.0
        self.registry = Registry(store, settings, rng=random.Random(1).randbytes)
        assert self.do(Ask(OpCode.HOME_PREFIX, HandleRequest(b"0.NA/" + PREFIX))).is_success

    def do(self, ask: Ask, caller: Caller = SYSTEM) -> Reply:
        return self.registry.execute(ask, caller, self.now).result(30)

    def ask(self, opcode: int, request: AnyRequest, caller: Caller = SYSTEM, flags: int = 0) -> int:
        return self.do(Ask(opcode, request, int(REQUEST_FLAGS | flags)), caller).code

    def register(
        self, text: bytes, *values: HandleValue, overwrite: bool = False, caller: Caller = SYSTEM
    ) -> tuple[int, str]:
        """(code, text of the refusal)."""
        ask = about(RangeCode.REGISTER, parse_range(text), values or (LINK,), overwrite=overwrite)
        reply = self.do(ask, caller)
        return reply.code, getattr(reply.response, "text", "")

    def unregister(self, text: bytes, caller: Caller = SYSTEM) -> int:
        return self.do(about(RangeCode.DELETE, parse_range(text)), caller).code

    def read(self, name: bytes) -> dict[int, bytes] | None:
        """index -> data of what a name resolves to, None = not found; the answer repeats the name as it was spelled."""
        reply = self.do(Ask(OpCode.RESOLUTION, ResolutionRequest(name)))
        if reply.code == 100:
            return None
        if reply.code == 200:
            return {}
        assert reply.code == 1, reply
        assert reply.octets is not None
        response = ResolutionResponse.decode(Reader(reply.octets))
        assert response.handle == name
        return {value.index: value.data for value in response.values}

    def create(self, name: bytes, *values: HandleValue, flags: int = 0, caller: Caller = SYSTEM) -> int:
        return self.ask(OpCode.CREATE_HANDLE, ValuesRequest(name, values), caller, flags)

    def add(self, name: bytes, *values: HandleValue, caller: Caller = SYSTEM) -> int:
        return self.ask(OpCode.ADD_VALUES, ValuesRequest(name, values), caller)

    def modify(self, name: bytes, *values: HandleValue, caller: Caller = SYSTEM) -> int:
        return self.ask(OpCode.MODIFY_VALUES, ValuesRequest(name, values), caller)

    def remove(self, name: bytes, *indexes: int, caller: Caller = SYSTEM) -> int:
        return self.ask(OpCode.REMOVE_VALUES, RemoveValuesRequest(name, indexes), caller)

    def delete(self, name: bytes, caller: Caller = SYSTEM) -> int:
        return self.ask(OpCode.DELETE_HANDLE, HandleRequest(name), caller)

    def stored(self, prefix: bytes = PREFIX) -> list[bytes]:
        """What a list of the native protocol tells."""
        reply = self.do(Ask(OpCode.LIST_HANDLES, HandleRequest(b"0.NA/" + prefix)))
        assert reply.pages is not None
        return sorted(name for page in reply.pages for name in page)

    def expanded(self, limit: int = 7, prefix: bytes = PREFIX) -> list[bytes]:
        """Every name, walked page by page."""
        names: list[bytes] = []
        cursor = b""
        while True:
            page = self.do(walk(RangeCode.EXPAND, prefix, cursor, limit)).ranges
            assert page is not None
            assert len(page.names) <= limit
            names += page.names
            if page.cursor is None:
                return names
            cursor = page.cursor

    def sound(self) -> None:
        """The registry's own inspection finds nothing."""
        assert list(self.registry.check()) == []
