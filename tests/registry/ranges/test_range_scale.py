"""Many ranges under one prefix, 10^11 identifiers in all: found, counted, kept apart and kept in little memory."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path
from typing import Final

import pytest

from idnode_protocol.codes import OpCode
from idnode_protocol.requests import HandleRequest
from idnode_protocol.value import HandleValue, values_to_octets
from idnode_registry.format import pack
from idnode_registry.journal import load_appender
from idnode_registry.keys import order_key
from idnode_registry.ranges.names import RANGES_START, RangeName
from idnode_registry.ranges.ranges import Ranges
from idnode_registry.store import Store
from tests.registry.ranges.range_desk import LINK, PREFIX, RangeDesk, store_of
from tests.registry.test_registry_machine import Kind

NUMBER: Final = {"test": 4_000, "fuzz": 4_000, "prove": 100_000}
WIDTH: Final = 11
TEMPLATE: Final = values_to_octets([LINK, HandleValue(2, "DESC", b"part ${serial}")])


def loaded(store: Store, names: list[RangeName]) -> None:
    """The rows of ranges, as if each had been registered."""
    prefix = RANGES_START + PREFIX
    rows = [(name.folded(bytes.upper).suffix, pack(name.row, 0, TEMPLATE)) for name in names]
    rows.sort(key=lambda row: order_key(row[0]))
    assert store.load(prefix, rows, load_appender(now=1.0, prefix=prefix, actor=b"")) == len(rows)


@pytest.mark.grows
@pytest.mark.parametrize("heads", ["one head", "a head for each"])
def test_a_member_is_found_among_many_ranges(heads: str, tmp_path: Path, seed: int, campaign: str) -> None:
    number, chance = NUMBER[campaign], random.Random(seed)
    step = 10**WIDTH // number
    names = [
        RangeName.of(
            PREFIX, b"Sn" if heads == "one head" else b"m%06d-" % place, place * step, place * step + step - 1, WIDTH
        )
        for place in range(number)
    ]
    store = store_of("lmdb", tmp_path / "store")
    try:
        loaded(store, names)
        desk = RangeDesk(store)
        tracemalloc.start()
        assert desk.registry.ranges.registered(PREFIX) == 10**WIDTH
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert taken < number * (120 if heads == "one head" else 900)
        for name in chance.sample(names, 300):
            serial = chance.randrange(name.first, name.last + 1)
            member = name.member(serial)
            found = desk.read(member.upper())
            assert found == {
                1: b"https://example.org/%b?n=%0*d" % (member[len(PREFIX) + 1 :], WIDTH, serial),
                2: b"part %0*d" % (WIDTH, serial),
            }
            assert desk.read(member[:-1]) is None
            code, text = desk.register(RangeName.of(PREFIX, name.head, serial, serial, WIDTH).name)
            assert code == 101
            assert name.folded(bytes.upper).name.decode() in text
            assert name.head.upper().decode() in text
        gone = chance.sample(names, 50)
        for name in gone:
            assert desk.unregister(name.name) == 1
            assert desk.read(name.member(name.last)) is None
            assert desk.register(name.name)[0] == 1
        assert desk.registry.ranges.registered(PREFIX) == 10**WIDTH
        assert Ranges(store).registered(PREFIX) == 10**WIDTH
    finally:
        store.close()


def test_templates_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """More templates than may be kept: each is read again when it is asked for."""
    monkeypatch.setattr("idnode_registry.ranges.ranges.ASSEMBLIES_OCTETS_MAX", 20_000)
    desk = RangeDesk(store_of("memory", tmp_path))
    for number in range(100):
        data = b"%d/${serial}/" % number + b"x" * 1_000
        assert desk.register(PREFIX + b"/A%02d-{1-9}" % number, HandleValue(1, "URL", data))[0] == 1
    for _ in range(2):
        for number in range(100):
            assert desk.read(PREFIX + b"/A%02d-7" % number) == {1: b"%d/7/" % number + b"x" * 1_000}
    assert desk.registry.ranges._assemblies_octets <= 20_000


def test_prefixes_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """More ranges than may be kept: a prefix is read again when it is asked for."""
    monkeypatch.setattr("idnode_registry.ranges.ranges.RANGES_KEPT_MAX", 5)
    desk = RangeDesk(store_of("memory", tmp_path))
    ranges = desk.registry.ranges
    for number in range(6):
        prefix = b"99.900.1.%d" % number
        assert desk.ask(OpCode.HOME_PREFIX, HandleRequest(b"0.NA/" + prefix)) == 1
        for suffix in (b"/A{1-9}", b"/B{1-9}"):
            assert desk.register(prefix + suffix)[0] == 1
    for _ in range(2):
        for number in range(6):
            assert ranges.member(b"99.900.1.%d" % number, b"B7") is not None
            assert sum(held.number for held in ranges._kept.values()) <= 5
    monkeypatch.setattr("idnode_registry.ranges.ranges.RANGES_PER_PREFIX_MAX", 2)
    code, text = desk.register(b"99.900.1.0/C{1-9}")
    assert code == 101
    assert "at most 2 are allowed" in text


@pytest.mark.grows
@pytest.mark.parametrize("kind", ["lmdb", "rocksdb"])
def test_many_tombstones_and_overrides_however_their_rows_lie(kind: Kind, tmp_path: Path, campaign: str) -> None:
    """Enough of both that an engine learns to keep them short; none is counted or listed that is not there."""
    number = {"prove": 4_000}.get(campaign, 600)
    store = store_of(kind, tmp_path / "store")
    desk = RangeDesk(store)
    assert desk.register(PREFIX + b"/SN{0000-9999}")[0] == 1
    for serial in range(number):
        name = PREFIX + b"/SN%04d" % serial
        assert desk.delete(name) == 1
        assert desk.modify(PREFIX + b"/SN%04d" % (serial + 5_000), HandleValue(1, "URL", b"own/%d" % serial)) == 1
    for serial in range(0, number, 3):
        assert desk.create(PREFIX + b"/SN%04d" % serial, HandleValue(1, "URL", b"again/%d" % serial)) == 1
    for _ in range(2):
        again = -(-number // 3)
        assert desk.registry.count(PREFIX) == len(desk.stored()) == number + again
        assert len(desk.expanded(limit=997)) == 10_000 - number + again
        assert desk.read(PREFIX + b"/sn0001") is None
        assert desk.read(PREFIX + b"/sn0003") == {1: b"again/3"}
        assert desk.read(PREFIX + b"/sn5001") == {1: b"own/1"}
        desk.sound()
        store.close()
        store = store_of(kind, tmp_path / "store")
        desk = RangeDesk(store)
    store.close()
