"""The short way of a cache miss answers what the general path answers, octet for octet, or leaves it alone.

The oracle is :meth:`idnode.native.NativeEngine.answer`, the way of TCP and of everything unusual.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.answer_cache import Entry, datagrams_of, entry_of, may_be_cached, question_key
from idnode.config import ListenConfig, NodeConfig, StoreConfig
from idnode.demo import Administrator, seed_administrator, seed_prefix
from idnode.node import Node
from idnode.servers.udp import expiration_octets
from idnode.source import Source
from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag
from idnode_protocol.envelope import Envelope
from idnode_protocol.fragments import split_message
from idnode_protocol.handle import fold_name, split
from idnode_protocol.header import Header
from idnode_protocol.requests import (
    HandleRequest,
    RemoveValuesRequest,
    ResolutionRequest,
    ValuesRequest,
    encode_request,
)
from idnode_protocol.value import HandleValue, Reference, values_to_octets
from idnode_protocol.values.site import HashOption
from idnode_protocol.versions import CURRENT, Version
from idnode_registry import format as record_format
from idnode_registry.ask import Ask
from idnode_registry.engines.memory import MemoryStore
from idnode_registry.journal import Operation, appender
from idnode_registry.ranges.asks import RangeCode, about
from idnode_registry.ranges.names import parse_range
from idnode_registry.store import Batch, Store
from tests.idnode.test_answer_cache import NAME, SIGNER, VARIANTS, message

SOURCE = Source("udp", "127.0.0.1", 40_000, True)
PREFIX_HANDLE = b"0.NA/99.900"
NAMESPACE = HandleValue(50, "HS_NAMESPACE", b"<n><template delimiter='@'><value type='URL' data='x'/></template></n>")
DELEGATION = HandleValue(7, "HS_SERV.PREFIX", b"0.SERV/99")
PRIVATE = 0x0C
RANGE, PRIVATE_RANGE = parse_range(b"99.901/SN{0001-0999}"), parse_range(b"99.901/P{1-9}")
OTHER_RANGE = parse_range(b"99.901/SN{1000-1999}")
SERIAL = HandleValue(1, "URL", b"https://example.org/${serial}")
HIDDEN = replace(SERIAL, permissions=PRIVATE)
URL = HandleValue(1, "URL", b"https://example.org/1")
SECOND = replace(URL, index=2)
RECORDS: dict[bytes, tuple[HandleValue, ...]] = {
    b"99.900/part": (URL,),
    b"99.900/Part": (URL,),
    b"99.900/alias": (HandleValue(1, "HS_ALIAS", b"99.900/part"),),
    b"99.900/": (URL,),
    b"99.900/a/b": (URL,),
    b"99.900/part@1": (URL,),
    b"99.900/\xff\xfe": (URL,),
    b"99.900/none": (),
    b"99.900/key": (replace(URL, permissions=PRIVATE), HandleValue(300, "HS_SECKEY", b"k", permissions=PRIVATE)),
    b"99.900/mixed": (URL, HandleValue(300, "HS_SECKEY", b"k", permissions=PRIVATE), replace(URL, index=301)),
    b"99.900/nobody": (replace(URL, permissions=0),),
    b"99.900/references": (
        replace(URL, references=(Reference(b"99.900/x", 1), Reference(b"", 2))),
        replace(URL, index=2),
    ),
    b"99.901/part": (URL,),
    b"99.902/unhomed": (URL,),
    b"0.TYPE/x": (URL,),
    **{b"99.900/%d" % size: (replace(URL, data=b"x" * size),) for size in (380, 381, 382, 383, 384, 870, 900, 5_000)},
}
"""What is stored, homed or not. The sizes are about the ends of one datagram and of two."""
FAULTS = (b"checksum", b"form", b"values", b"name", b"short", b"empty")
"""Records that are stored damaged: :func:`damage`."""
NAMES = [
    *RECORDS,
    *(b"99.900/" + fault for fault in FAULTS),
    *(b"99.900/absent", b"99.900/part@7", b"99.901/absent", b"99.902/absent", b"99.903/x", b"*HOMED/0.NA/99.900"),
    *(PREFIX_HANDLE, b"0.NA/99.900.1", b"0.NA/99.901", b"0.na/0.na", b"99.900", b"99.900.1/x", b"0.na/99.900/x", b""),
    *(b"99.901/SN0001", b"99.901/sn0002", b"99.901/SN0009", b"99.901/SN1000", b"99.901/P3"),
    *(b"/", b"/x", b"x" * 2_048, b"99.900/" + b"x" * 400),
]


def put(store: Store, name: bytes, values: bytes) -> None:
    """Store a record, homed or not."""
    record = record_format.pack(name, 0, values)
    entry = appender(now=1.0, operation=Operation.CREATE, handle=name, actor=b"", after_image=False)
    prefix, suffix = split(fold_name(name, whole=store.case_mode == "fold-all"))
    store.submit(Batch(prefix, suffix, None, record, entry)).result()


def damage(store: MemoryStore) -> None:
    """Records that no writer of ours would leave, one for each fault."""
    good = record_format.pack(b"99.900/checksum", 0, values_to_octets([URL]))
    values = values_to_octets([URL])[:-1] + b"\1"
    octets = {
        "CHECKSUM": good[:-1] + b"\7",
        "FORM": b"\x09" + good[1:],
        "VALUES": record_format.pack(b"99.900/values", 0, values),
        "NAME": good,
        "SHORT": good[:16],
        "EMPTY": b"",
    }
    records = store._buckets[b"99.900", 0].records
    for fault, record in octets.items():
        records[fault.encode() if store.case_mode == "fold-all" else fault.lower().encode()] = record


CaseMode = Literal["fold-all", "fold-prefix"]


class Twins:
    """A node, asked both ways."""

    def __init__(self, node: Node, adapters: SimulatedAdapters) -> None:
        self.node, self.adapters = node, adapters
        self.quick = 0
        """Requests that took the short way."""

    @classmethod
    async def start(cls, adapters: SimulatedAdapters, case_mode: CaseMode = "fold-all") -> Twins:
        config = NodeConfig(
            listen=ListenConfig(addresses=("127.0.0.1",), http_port=None), store=StoreConfig(case_mode=case_mode)
        )
        node = Node(config, adapters, SIGNER)
        await node.start()
        administrator = Administrator(b"99.900/ADMIN", b"secret", SIGNER.public_key_octets)
        seed_prefix(node.registry, b"99.900", administrator, node.sites, adapters.clock.now())
        seed_administrator(node.registry, administrator, adapters.clock.now())
        twins = cls(node, adapters)
        for prefix in (b"0.NA/99.901", b"0.NA/0.TYPE"):
            await twins.do(OpCode.HOME_PREFIX, HandleRequest(prefix))
        for asked in (about(RangeCode.REGISTER, RANGE, (SERIAL,)), about(RangeCode.REGISTER, PRIVATE_RANGE, (HIDDEN,))):
            await node.ask(asked)
        await twins.do(OpCode.DELETE_HANDLE, HandleRequest(b"99.901/SN0009"))
        for name, values in RECORDS.items():
            if case_mode == "fold-prefix" or name != b"99.900/Part":
                put(node.store, name, values_to_octets(values))
        assert isinstance(node.store, MemoryStore)
        damage(node.store)
        return twins

    async def do(self, opcode: int, request: Any) -> None:
        """A change, whether or not it is one."""
        await self.node.ask(Ask(opcode, request, REQUEST_FLAGS | OpFlag.OWE | OpFlag.DNR))

    def quickly(self, request: bytes) -> list[bytes] | None:
        """The datagrams of the short way."""
        engine = self.node.engine
        key = question_key(request)
        question = engine.quick.question(key)
        if question is None:
            return None
        entry = engine.quick.answer(question, key, engine.pace.read(engine.get, [question[1]], 0.0)[0])
        if entry is None:
            return None
        now = self.adapters.clock.now()
        assert entry == entry_of(b"".join((entry[0], bytes(4), entry[1], bytes(6), _whole(entry))))
        return datagrams_of(entry, request, expiration_octets(now))

    async def compare(self, request: bytes) -> bool:
        """Whether the short way answers; if it does, the general one must have answered the same."""
        found = self.quickly(request)
        if found is None:
            return False
        assert may_be_cached(request)
        (whole,) = (await self.node.engine.answer(request, SOURCE)).messages
        assert found == split_message(whole)
        self.quick += 1
        return True


def _whole(entry: Entry) -> bytes:
    return entry[2] + b"".join(part[8:] for part in entry[3])


def run(main: Callable[[Twins], Coroutine[Any, Any, None]], case_mode: CaseMode = "fold-all") -> None:
    """``main(twins)`` with a node of its own."""

    async def started(adapters: SimulatedAdapters) -> None:
        twins = await Twins.start(adapters, case_mode)
        try:
            await main(twins)
        finally:
            await twins.node.stop()

    run_simulated(started, seed=1)


def ask(name: bytes, *, flags: int = REQUEST_FLAGS, version: Version = CURRENT, suggested: Version = CURRENT) -> bytes:
    return message(
        Envelope(7, 0, version, suggested),
        Header(1, flags=flags, expiration=99, recursion_count=3),
        encode_request(ResolutionRequest(name), CURRENT),
    )


LONG_WAY = frozenset(
    {
        *(b"99.900/none", b"99.900/nobody", b"99.902/unhomed", b"99.902/absent", b"99.903/x"),
        *(b"*HOMED/0.NA/99.900", PREFIX_HANDLE, b"0.NA/99.900.1", b"0.NA/99.901", b"0.na/0.na", b"99.900"),
        *(b"99.901/SN0009", b"99.901/P3", b"99.900.1/x", b"0.na/99.900/x", b"", b"/", b"/x", b"x" * 2_048),
        *(b"99.900/" + fault for fault in FAULTS),
    }
)
"""Names the short way leaves to the general one; with it stand those whose values are not public, without PO."""


@pytest.mark.parametrize("case_mode", ["fold-all", "fold-prefix"])
def test_both_ways_give_the_same_octets(case_mode: CaseMode) -> None:
    """Every name of the corpus in three spellings, with every flag the cache allows, at every version."""

    async def main(twins: Twins) -> None:
        for name in NAMES:
            for flags in (REQUEST_FLAGS, REQUEST_FLAGS ^ OpFlag.PO, 0, OpFlag.AT | OpFlag.DNR):
                is_short = name not in LONG_WAY and (flags & OpFlag.PO or name not in (b"99.900/key", b"99.900/mixed"))
                is_short = is_short and name != b"99.900/key"
                for version in (CURRENT, Version(2, 0), Version(2, 9), Version(5, 5), Version(1, 0), Version(3, 0)):
                    request = ask(name, flags=int(flags), version=version, suggested=version)
                    assert await twins.compare(request) == is_short, (name, flags, version)
            for spelled in (name.upper(), name.lower(), name.swapcase()):
                await twins.compare(ask(spelled))

    run(main, case_mode)


def test_whatever_is_no_plain_question_is_left() -> None:
    async def main(twins: Twins) -> None:
        short = {name for name, request in VARIANTS.items() if await twins.compare(request)}
        plain = {"request id", "site serial", "recursion count", "reserved", "expiration"}
        versions = {"version", "old version", "suggested minor", "suggested major"}
        flags = {f"flag {int(flag):08x}" for flag in (OpFlag.AT, OpFlag.CA, OpFlag.PO, OpFlag.DNR, OpFlag.REC)}
        assert short == plain | versions | flags | {"spelling"}

    run(main)


def test_the_comparison_can_fail() -> None:
    """A record that lies under the name but is not what the registry would answer with is seen."""

    async def main(twins: Twins) -> None:
        engine = twins.node.engine
        record = engine.get(b"99.901", b"PART")
        engine.get = lambda prefix, suffix: record
        with pytest.raises(AssertionError):
            await twins.compare(ask(b"99.900/alias"))

    run(main)


CHANGES: dict[str, tuple[int, Any]] = {
    "unhome": (OpCode.UNHOME_PREFIX, HandleRequest(PREFIX_HANDLE)),
    "home": (OpCode.HOME_PREFIX, HandleRequest(PREFIX_HANDLE)),
    "home another": (OpCode.HOME_PREFIX, HandleRequest(b"0.NA/99.902")),
    "namespace": (OpCode.ADD_VALUES, ValuesRequest(PREFIX_HANDLE, (NAMESPACE,))),
    "no namespace": (OpCode.REMOVE_VALUES, RemoveValuesRequest(PREFIX_HANDLE, (50,))),
    "delegate": (OpCode.ADD_VALUES, ValuesRequest(PREFIX_HANDLE, (DELEGATION,))),
    "register a range": (RangeCode.REGISTER, about(RangeCode.REGISTER, OTHER_RANGE, (SERIAL,)).request),
    "delete a range": (RangeCode.DELETE, about(RangeCode.DELETE, RANGE).request),
    "override a member": (OpCode.CREATE_HANDLE, ValuesRequest(b"99.901/SN0001", (URL,))),
    "delete a member": (OpCode.DELETE_HANDLE, HandleRequest(b"99.901/SN0001")),
    "root": (OpCode.HOME_PREFIX, HandleRequest(b"0.NA/0.NA")),
    "root namespace": (OpCode.CREATE_HANDLE, ValuesRequest(b"0.NA/0.NA", (NAMESPACE,))),
    "create": (OpCode.CREATE_HANDLE, ValuesRequest(b"99.900/absent", (URL,))),
    "delete": (OpCode.DELETE_HANDLE, HandleRequest(b"99.900/part")),
    "hide": (OpCode.MODIFY_VALUES, ValuesRequest(b"99.900/part", (replace(URL, permissions=PRIVATE),))),
}
"""What is done in between."""


@st.composite
def questions(draw: st.DrawFn) -> bytes:
    """A request the corpus knows something about, perhaps spelled otherwise, perhaps with octets changed."""
    name = draw(st.sampled_from(NAMES) | st.binary(max_size=40).map(lambda end: b"99.900/" + end))
    name = draw(st.sampled_from([name, name.upper(), name.lower()]))
    flags = draw(st.integers(0, 0xFFF).map(lambda bits: bits << 20) | st.just(REQUEST_FLAGS))
    version = Version(draw(st.sampled_from([1, 2, 3, 5])), draw(st.integers(0, 12)))
    suggested = Version(draw(st.sampled_from([0, 2, 3, 5])), draw(st.integers(0, 12)))
    lists = draw(st.sampled_from([((), ()), ((), ()), ((1,), ()), ((), ("URL",)), ((300,), ("HS_ALIAS",))]))
    tail = draw(st.sampled_from([b"", b"", bytes(4), b"\0\0\0\1x"]))
    body = encode_request(ResolutionRequest(name, *lists, tail), CURRENT)
    header = Header(1, flags=int(flags), recursion_count=draw(st.integers(0, 255)), site_serial=draw(st.integers(0, 9)))
    octets = bytearray(message(Envelope(draw(st.integers(0, 2**32 - 1)), 0, version, suggested), header, body))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        octets[draw(st.integers(0, len(octets) - 1))] = draw(st.integers(0, 255))
    return bytes(octets)


@given(
    st.sampled_from(["fold-all", "fold-prefix"]), st.lists(questions() | st.sampled_from(sorted(CHANGES)), max_size=40)
)
def test_whatever_is_asked_and_done_in_between(case_mode: CaseMode, steps: list[bytes | str]) -> None:
    async def main(twins: Twins) -> None:
        for step in steps:
            if isinstance(step, str):
                await twins.do(*CHANGES[step])
                for name in (b"99.900/part", b"99.900/absent", b"99.902/unhomed", b"99.900/part@7", b"99.901/SN0001"):
                    await twins.compare(ask(name))
            else:
                await twins.compare(step)

    run(main, case_mode)


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_seen_by_the_next_question(change: str) -> None:
    """Asked before it, so that whatever is remembered is there, and after it."""

    async def main(twins: Twins) -> None:
        if change in ("home", "no namespace"):
            await twins.do(*CHANGES["unhome" if change == "home" else "namespace"])
        if change == "delegate":
            await twins.do(*CHANGES["root"])
        for _ in range(2):
            for name in NAMES:
                await twins.compare(ask(name))
            await twins.do(*CHANGES[change])
        assert twins.quick > len(NAMES) // 2

    run(main)


def test_a_server_of_several_answers_for_its_own_names_only() -> None:
    async def main(twins: Twins) -> None:
        server = twins.node.site.servers[0]
        site = replace(
            twins.node.site, hash_option=int(HashOption.WHOLE), servers=(server, replace(server, server_id=2))
        )
        assert await twins.compare(ask(NAME))
        for name in NAMES:
            await twins.compare(ask(name))
        await twins.node.join_site(replace(site, serial=9), 1)
        own = [name for name in NAMES if await twins.compare(ask(name))]
        assert 5 < len(own) < len(RECORDS) - 5
        answered = twins.quickly(ask(own[0]))
        assert answered is not None
        assert answered[0][32:34] == b"\0\x09"

    run(main)
