"""The registry against a model of eighty lines that imports nothing of it, on every store: no difference in any step.

200 runs of 50 steps on each store in ``make test``, more under ``make prove``. A failing run prints seed and steps.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import pytest

from idnode.adapters.disk import RealDisk
from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag
from idnode_protocol.octets import Reader
from idnode_protocol.requests import HandleRequest, RemoveValuesRequest, ResolutionRequest, ValuesRequest
from idnode_protocol.responses import ReferralResponse, ResolutionResponse
from idnode_protocol.value import HandleValue, Reference
from idnode_protocol.values.admin import AdminRecord
from idnode_protocol.values.vlist import encode_vlist
from idnode_protocol.versions import CURRENT, Version
from idnode_registry.ask import ANONYMOUS, SYSTEM, Ask, Caller, Reply
from idnode_registry.engines.memory import MemoryStore, deterministic_source
from idnode_registry.engines.opening import open_folder
from idnode_registry.registry import Registry, RegistrySettings
from idnode_registry.store import Store
from tests.registry.model.referral_model import ReferringModel

RUNS: Final = {"test": 200, "fuzz": 2_000, "prove": 5_000}[os.environ.get("IDNODE_CAMPAIGN", "test")]
STEPS: Final = 50
OWNER, OTHER, GROUP = (b"99.900/ADMIN", 300), (b"99.900/Other", 7), (b"99.900/part-1", 200)
HOT: Final = (
    *(b"99.900/a", b"99.900/A", b"99.900/part-1", b"99.900/Part-1"),
    *(b"0.NA/99.900", b"0.NA/99.900.1", b"0.na/99.900.1.x"),
)
"""Where most steps happen, so that rules meet records that are worth ruling on."""
NAMES: Final = (
    b"99.900/",
    b"99.900/a",
    b"99.900/A",
    b"99.900/part-1",
    b"99.900/Part-1",
    b"99.900.1/x",
    b"99.901/x",
    b"99.900/\xff",
    b"0.NA/99.900",
    b"0.NA/99.900.1",
    b"99.900.1",
    b"99.900",
    *(b"99.900/" + b"n" * size for size in (440, 441, 443, 504, 506, 758, 2_041, 2_042)),
    b"99.900/" + b"m" * 2_000 + b"1",
    b"99.900/" + b"m" * 2_000 + b"2",
)
REFERRING: Final = ("HS_SERV.PREFIX", "HS_NA_Delegate", "hs_site.prefix")
LISTED: Final = (
    *(b"0.NA/99.900", b"99.900", b"0.NA/99.901", b"0.NA/0.NA/99", b"0.NA/0.NA/99.900"),
    *(b"0.NA/99.900.1", b"99.900.1.x"),
)
VERBS: Final = ("create",) * 4 + ("add", "modify", "remove", "delete", "resolve", "resolve", "list", "home")
CALLERS: Final = ("system", None, None, OWNER, OWNER, OTHER, OTHER, (OWNER[0], 301), (b"99.900/other", 8))

Kind: TypeAlias = Literal["memory", "hostile", "lmdb", "rocksdb"]


def stores(tmp_path: Path, kind: Kind, seed: int) -> Store:
    """A new store of a kind."""
    if kind in ("lmdb", "rocksdb"):
        return open_folder(str(tmp_path / f"store-{seed}"), "fold-all", disk=RealDisk(), engine=kind, fsync=False)
    is_hostile = kind == "hostile"
    buckets = 8 if is_hostile else 1
    return MemoryStore("fold-all", buckets, hostile=is_hostile, rng=deterministic_source(seed))


class Pair:
    """One registry and one model, told the same."""

    def __init__(self, store: Store, chance: random.Random) -> None:
        settings = RegistrySettings(server_admins=(Reference(*OWNER),))
        self.registry = Registry(store, settings, rng=chance.randbytes)
        self.model = ReferringModel(True, [OWNER])
        self.chance = chance
        self.now = 1_000
        self.version = CURRENT
        self.told: list[str] = []

    def ask(self, opcode: int, request: Any, who: Any, flags: int = REQUEST_FLAGS) -> Reply:
        caller = {"system": SYSTEM, None: ANONYMOUS}.get(who) or Caller(*who)
        return self.registry.execute(Ask(opcode, request, flags, self.version), caller, float(self.now)).result(30)

    def some_flags(self) -> tuple[int, bool]:
        """(flags, whether a write may be referred): DNR at times; a client older than 2.10 at times."""
        is_asked_to_stay = self.chance.random() < 0.2
        self.version = self.chance.choice((CURRENT, CURRENT, CURRENT, Version(2, 9)))
        self.told[-1] += f" stay={is_asked_to_stay} {self.version}"
        flags = REQUEST_FLAGS | (OpFlag.DNR if is_asked_to_stay else 0)
        return int(flags), not is_asked_to_stay and self.version == CURRENT

    def some_values(self) -> list[tuple[int, tuple[str, Any, int]]]:
        """Values as the model has them: (index, (type, data, permissions))."""
        chance, made = self.chance, []
        for _ in range(chance.choice((0, 1, 1, 2, 2, 3))):
            kind = chance.choice(("URL", "Url.x", "DESC", "HS_ADMIN", "HS_ADMIN", "HS_VLIST", *REFERRING))
            usual = {"HS_ADMIN": 100, "HS_VLIST": 200}.get(kind, chance.choice((1, 2, 3)))
            index = usual if chance.random() < 0.85 else chance.choice((1, 2, 100, 200, 0))
            data: Any = chance.choice((b"", b"one", b"two"))
            if kind == "HS_ADMIN":
                bits = chance.choice((0xFFF, 0xFFF, 0x00F, 0x3F0, 0x070, 0x20F, 0xDFF))
                data = (bits, *chance.choice((OWNER, OTHER, GROUP, GROUP, (OWNER[0], 0))))
            if kind == "HS_VLIST":
                data = [chance.choice((OWNER, OTHER, (b"99.900/a", 200))) for _ in range(chance.randrange(3))]
            made.append((index, (kind, data, chance.choice((0x0E, 0x0E, 0x0F, 0x0F, 0x0C, 0x0A, 0x00)))))
        return made

    def step(self) -> None:
        """One random operation on both; raises AssertionError at the first difference."""
        self.now += 1
        chance = self.chance
        verb = chance.choice(
            ("create",) * 4 + ("add", "modify", "remove", "delete", "resolve", "resolve", "list", "home")
        )
        who, name = chance.choice(CALLERS), chance.choice(HOT if chance.random() < 0.7 else NAMES)
        self.told.append(f"{verb} {who} {name[:40]!r}({len(name)})")
        getattr(self, f"do_{verb}", lambda who, name: self.do_write(verb, who, name))(who, name)

    def do_write(self, verb: str, who: Any, name: bytes) -> None:
        values = self.some_values()
        overwrites = verb in ("create", "add") and self.chance.random() < 0.4
        flags, refers = self.some_flags()
        flags |= OpFlag.OWE if overwrites else 0
        self.told[-1] += f" {values} overwrite={overwrites}"
        if verb == "remove":
            indexes = [index for index, _ in values]
            found = self.ask(OpCode.REMOVE_VALUES, RemoveValuesRequest(name, tuple(indexes)), who, int(flags))
            removed = [(index, None) for index in indexes]
            expected = self.model.write(verb, who, name, removed, self.now, refers=refers)
        else:
            opcode = {"create": OpCode.CREATE_HANDLE, "add": OpCode.ADD_VALUES, "modify": OpCode.MODIFY_VALUES}[verb]
            found = self.ask(opcode, ValuesRequest(name, tuple(map(to_value, values))), who, int(flags))
            expected = self.model.write(verb, who, name, values, self.now, overwrites, refers)
        assert found.code == expected, (self.told[-1], found, expected)

    def do_delete(self, who: Any, name: bytes) -> None:
        flags, refers = self.some_flags()
        found = self.ask(OpCode.DELETE_HANDLE, HandleRequest(name), who, flags)
        assert found.code == self.model.delete(who, name, refers)

    def do_resolve(self, who: Any, name: bytes) -> None:
        chance = self.chance
        indexes = tuple(chance.sample((1, 2, 3, 100), chance.choice((0, 0, 1, 2))))
        types = tuple(chance.sample(("URL", "URL.", "HS_ADMIN", "DESC"), chance.choice((0, 0, 1))))
        public = chance.random() < 0.6
        flags, _ = self.some_flags()
        flags = flags if public else flags & ~OpFlag.PO
        reply = self.ask(OpCode.RESOLUTION, ResolutionRequest(name, indexes, types), who, int(flags))
        code, values = self.model.resolve(who, name, indexes, types, public, not flags & OpFlag.DNR)
        assert reply.code == code, (self.told[-1], indexes, types, public, reply, code)
        if code == 303:
            told = self.model.told(self.model.key(name))
            expected = [to_value((index, value[:3]), value[3]) for index, value in sorted(told.items())]
            assert reply.response == ReferralResponse(b"", tuple(expected))
        if code == 1:
            assert reply.octets is not None
            response = ResolutionResponse.decode(Reader(reply.octets))
            expected = [to_value((index, value[:3]), value[3]) for index, value in sorted(values.items())]
            assert list(response.values) == expected
            assert response.handle == name

    def do_list(self, who: Any, name: bytes) -> None:
        prefix = self.chance.choice(LISTED)
        flags, refers = self.some_flags()
        reply = self.ask(OpCode.LIST_HANDLES, HandleRequest(prefix), who, flags)
        code, names = self.model.names(who, prefix if b"/" in prefix else b"0.NA/" + prefix, refers)
        assert reply.code == code, (prefix, who, reply, code)
        if code == 1:
            assert reply.pages is not None
            assert sorted(name for page in reply.pages for name in page) == names

    def do_home(self, who: Any, name: bytes) -> None:
        prefix = self.chance.choice((b"0.NA/99.900", b"0.na/99.900.1", b"0.NA/0.NA/99", b"99.901/x", b"0.NA/0.NA"))
        is_on = self.chance.random() < 0.85
        opcode = OpCode.HOME_PREFIX if is_on else OpCode.UNHOME_PREFIX
        self.told[-1] = f"{opcode} {prefix!r}"
        assert self.ask(opcode, HandleRequest(prefix), who).code == self.model.home(who, prefix, is_on)


def to_value(item: tuple[int, tuple[str, Any, int]], timestamp: int = 0) -> HandleValue:
    """A model's value on the wire."""
    index, (kind, data, permissions) = item
    if kind == "HS_ADMIN":
        data = AdminRecord(data[0], data[1], data[2]).to_octets()
    elif kind == "HS_VLIST":
        data = encode_vlist([Reference(*member) for member in data])
    return HandleValue(index, kind, data, permissions=permissions, timestamp=timestamp)


def prepared(pair: Pair) -> None:
    """Homed prefixes and administrators, so that most steps get further than "not homed"."""
    for prefix in (b"0.NA/99.900", b"0.NA/0.NA/99", b"0.NA/99.900.1"):
        assert pair.ask(OpCode.HOME_PREFIX, HandleRequest(prefix), "system").code == pair.model.home(
            "system", prefix, True
        )
    admin = [(100, ("HS_ADMIN", (0xFFF, *OWNER), 0x0E))]
    for name in (b"0.NA/99.900", b"0.NA/99.900.1"):
        request = ValuesRequest(name, tuple(map(to_value, admin)))
        code = pair.model.write("create", "system", name, admin, pair.now)
        assert pair.ask(OpCode.CREATE_HANDLE, request, "system").code == code == 1


@pytest.mark.grows
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("kind", ["memory", "hostile", "lmdb", "rocksdb"])
def test_no_difference_from_the_model(kind: Kind, part: int, tmp_path: Path, seed: int) -> None:
    for number in range(part, RUNS, 4):
        run_seed = seed + number
        chance = random.Random(run_seed)
        store = stores(tmp_path, kind, run_seed)
        pair = Pair(store, chance)
        try:
            prepared(pair)
            for _ in range(STEPS):
                pair.step()
            assert list(pair.registry.check()) == []
        except AssertionError:
            print(f"seed {run_seed} on {kind}:", *pair.told, sep="\n  ")
            raise
        finally:
            store.close()
