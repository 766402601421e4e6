"""What the tests of rights share: a registry to ask, people who ask, and HS_ADMIN values for them."""

from __future__ import annotations

import random
from typing import Final

from idnode_protocol.codes import ALL_ADMIN_PERMISSIONS, REQUEST_FLAGS, AdminPermission, OpCode, OpFlag
from idnode_protocol.requests import AnyRequest, HandleRequest, RemoveValuesRequest, ResolutionRequest, ValuesRequest
from idnode_protocol.value import HandleValue, Reference
from idnode_protocol.values.admin import AdminRecord
from idnode_protocol.values.vlist import encode_vlist
from idnode_registry.ask import SYSTEM, Ask, Caller, Reply
from idnode_registry.engines.memory import MemoryStore
from idnode_registry.registry import Registry, RegistrySettings
from idnode_registry.store import CaseMode

PREFIX: Final = b"0.NA/99.900"
NAME: Final = b"99.900/part"
USER: Final = Caller(b"99.900/USER", 300)
OTHER: Final = Caller(b"99.900/OTHER", 300)
Bits = AdminPermission
EVERYTHING: Final = int(ALL_ADMIN_PERMISSIONS)


def url(index: int = 1, data: bytes = b"https://example.org/", permissions: int = 0x0E) -> HandleValue:
    return HandleValue(index, "URL", data, permissions=permissions)


def admin(
    bits: int = EVERYTHING, who: Caller | Reference = USER, index: int = 100, kind: str = "HS_ADMIN"
) -> HandleValue:
    """An HS_ADMIN value that gives ``bits`` to ``who``."""
    return HandleValue(index, kind, AdminRecord(int(bits), who.handle or b"", who.index).to_octets())


def group(*members: Caller | Reference, index: int = 200) -> HandleValue:
    """An HS_VLIST value."""
    return HandleValue(index, "HS_VLIST", encode_vlist([Reference(each.handle or b"", each.index) for each in members]))


class Desk:
    """A registry that homes 99.900 and its prefix handle; every method answers with a code."""

    def __init__(self, settings: RegistrySettings | None = None, case_mode: CaseMode = "fold-all") -> None:
        self.now = 1_000.0
        self.registry = Registry(MemoryStore(case_mode), settings, rng=random.Random(1).randbytes)
        for homed in (b"0.NA/99.900", b"0.NA/0.NA/99"):
            assert self.do(OpCode.HOME_PREFIX, HandleRequest(homed), SYSTEM).is_success

    def do(self, opcode: int, request: AnyRequest, caller: Caller = USER, flags: int = 0, without: int = 0) -> Reply:
        asked = Ask(opcode, request, int(REQUEST_FLAGS | flags) & ~without)
        return self.registry.execute(asked, caller, self.now).result(30)

    def given(self, name: bytes, *values: HandleValue) -> None:
        """This is what is stored under ``name``."""
        request = ValuesRequest(name, values)
        assert self.do(OpCode.CREATE_HANDLE, request, SYSTEM, OpFlag.OWE | OpFlag.DNR).is_success

    def create(self, name: bytes, *values: HandleValue, caller: Caller = USER, flags: int = 0) -> int:
        return self.do(OpCode.CREATE_HANDLE, ValuesRequest(name, values), caller, flags).code

    def replace(self, name: bytes, *values: HandleValue, caller: Caller = USER) -> int:
        return self.create(name, *values, caller=caller, flags=OpFlag.OWE)

    def delete(self, name: bytes, caller: Caller = USER) -> int:
        return self.do(OpCode.DELETE_HANDLE, HandleRequest(name), caller).code

    def add(self, name: bytes, *values: HandleValue, caller: Caller = USER, flags: int = 0) -> int:
        return self.do(OpCode.ADD_VALUES, ValuesRequest(name, values), caller, flags).code

    def modify(self, name: bytes, *values: HandleValue, caller: Caller = USER) -> int:
        return self.do(OpCode.MODIFY_VALUES, ValuesRequest(name, values), caller).code

    def remove(self, name: bytes, *indexes: int, caller: Caller = USER) -> int:
        return self.do(OpCode.REMOVE_VALUES, RemoveValuesRequest(name, indexes), caller).code

    def read(self, name: bytes, *indexes: int, caller: Caller = USER, public: bool = False) -> int:
        request = ResolutionRequest(name, indexes)
        return self.do(OpCode.RESOLUTION, request, caller, without=0 if public else OpFlag.PO).code

    def list(self, name: bytes, caller: Caller = USER) -> int:
        return self.do(OpCode.LIST_HANDLES, HandleRequest(name), caller).code

    def home(self, name: bytes, caller: Caller = USER) -> int:
        return self.do(OpCode.HOME_PREFIX, HandleRequest(name), caller).code

    def unhome(self, name: bytes, caller: Caller = USER) -> int:
        return self.do(OpCode.UNHOME_PREFIX, HandleRequest(name), caller).code

    def homed(self, caller: Caller = USER) -> int:
        return self.do(OpCode.LIST_HOMED_PREFIXES, HandleRequest(), caller).code

    def times(self, name: bytes) -> dict[int, int]:
        """index -> timestamp of what is stored."""
        return {value.index: value.timestamp for value in self.registry.values(name) or ()}
