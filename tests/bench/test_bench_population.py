"""Populations are the same everywhere, of the sizes they are meant to have, and a folder holds what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from idnode.adapters import Adapters, real_adapters
from idnode.config import NodeConfig
from idnode.node import open_store
from idnode_bench.commands.populate import write_slice
from idnode_bench.errors import BenchError, WrongPopulation
from idnode_bench.population import filling
from idnode_bench.population.factory import Population, Record
from idnode_bench.population.filling import Holding, fill, read_holding, store_config
from idnode_bench.population.layouts import Kind
from idnode_bench.population.ranged import RangedPopulation
from idnode_bench.targets.native import AnswerStyle, reply_octets, request_octets
from idnode_protocol.handle import fold
from idnode_protocol.message import decode_message
from idnode_protocol.octets import Reader
from idnode_protocol.value import HandleValue, decode_values
from idnode_registry import format as record_format

KINDS: tuple[Kind, ...] = ("reference", "small", "templated", "factory")


@pytest.fixture
def adapters() -> Iterator[Adapters]:
    made = real_adapters()
    yield made
    made.close()


def values_of(record: Record) -> tuple[HandleValue, ...]:
    return decode_values(Reader(record.values))


@pytest.mark.parametrize("kind", KINDS)
def test_records_are_computed_from_seed_and_number(kind: Kind) -> None:
    one, same, other = Population(50_000, 7, kind), Population(50_000, 7, kind), Population(50_000, 8, kind)
    numbers = range(0, 50_000, 977)
    assert [one.record(number) for number in numbers] == [same.record(number) for number in numbers]
    if kind != "templated":  # whose values are a function of the handle
        assert all(one.record(number).values != other.record(number).values for number in numbers)
    assert [one.record(number).handle for number in numbers] == [one.handle(number) for number in numbers]


def test_random_access_and_iteration_agree() -> None:
    population = Population(3_000, 3, "factory", prefix_count=40)
    assert list(population) == [population.record(number) for number in range(3_000)]
    prefix = next(population.prefixes())
    assert list(population.records_of(prefix, skip=5)) == list(population.records_of(prefix))[5:]


def test_prefixes_are_popular_as_zipf_says() -> None:
    population = Population(10**11, 1, "reference")
    prefixes = list(population.prefixes())
    assert len(prefixes) == 1_200
    assert len({prefix.name for prefix in prefixes}) == 1_200
    assert all(prefix.name.startswith(b"99.9") for prefix in prefixes)
    assert sum(prefix.records for prefix in prefixes) == 10**11
    assert prefixes[0].records / prefixes[9].records == pytest.approx(10, rel=1e-6)
    assert population.record(10**11 - 1).handle.startswith(prefixes[-1].name + b"/")


@pytest.mark.parametrize("kind", KINDS)
def test_records_are_sorted_and_unlike_within_a_prefix(kind: Kind) -> None:
    population = Population(5_000, 1, kind)
    for prefix in islice(population.prefixes(), 30):
        suffixes = [record.suffix for record in population.records_of(prefix)]
        assert suffixes == sorted(set(suffixes)) == [fold(suffix) for suffix in suffixes]


def test_reference_record_is_the_one_of_the_goals() -> None:
    """HS_ADMIN, 1000, 1001, ten attributes; about 250 octets of content, 48 of them from the stream; two fragments."""
    population = Population(100_000, 1, "reference")
    for number in (0, 77_777):
        record = population.record(number)
        values = values_of(record)
        assert [value.index for value in values] == [100, 1000, 1001, *range(2000, 2010)]
        assert values[0].has_type("HS_ADMIN")
        assert 220 <= sum(len(value.data) for value in values) <= 280
        reply = reply_octets(record, AnswerStyle())
        assert 760 <= len(reply) <= 840
        assert 492 < len(reply) - 20 <= 2 * 492
        drawn = [value.data for value in values if value.type in ("SERIAL_NUMBER", "ITEM_ID", "PALLET_ID")]
        digits = next(value.data for value in values if value.type == "MEASURED_VALUE").partition(b" ")[0]
        bits = 6 * sum(map(len, drawn)) + 3.32 * (len(digits) - 1)
        assert bits / 8 >= 48
    one, other = (values_of(population.record(number)) for number in (1, 2))
    unlike = {value.type for value, beside in zip(one, other, strict=True) if value.data != beside.data}
    assert unlike == {"SERIAL_NUMBER", "ITEM_ID", "PALLET_ID", "MEASURED_VALUE", "URL"}


@pytest.mark.parametrize(("kind", "values"), [("small", 2), ("templated", 2)])
def test_small_records_fit_one_fragment(kind: Kind, values: int) -> None:
    record = Population(1_000, 1, kind).record(999)
    assert len(values_of(record)) == values
    assert len(reply_octets(record, AnswerStyle())) - 20 <= 492


@pytest.mark.parametrize("kind", KINDS)
def test_messages_are_real(kind: Kind) -> None:
    record = Population(1_000, 1, kind).record(500)
    for octets in (request_octets(record.handle, 5), reply_octets(record, AnswerStyle())):
        assert decode_message(octets).to_octets() == octets


def test_mixed_population_has_records_of_many_sizes() -> None:
    population = Population(100_000, 1, "factory")
    assert len({len(population.record(number).values) for number in range(0, 100_000, 500)}) > 15


@pytest.mark.parametrize("engine", ["lmdb", "rocksdb"])
def test_filled_folder_holds_every_record_and_goes_on_where_it_was_cut(
    engine: str, adapters: Adapters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    population = Population(900, 5, "reference", prefix_count=4)
    monkeypatch.setattr(filling, "RUN_RECORDS", 100)
    told: list[int] = []

    def cut_off(done: int, _all: int) -> None:
        told.append(done)
        if done >= 500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(adapters, tmp_path, Holding(population, engine), progress=cut_off)
    filled = fill(adapters, tmp_path, Holding(population, engine))
    assert filled.loaded == 900 - told[-1]
    assert fill(adapters, tmp_path, Holding(population, engine)).loaded == 0
    assert read_holding(adapters, tmp_path) == Holding(population, engine)
    store = open_store(NodeConfig(store=store_config(tmp_path, engine)), adapters)
    try:
        for record in population:
            stored = store.get(record.prefix, fold(record.suffix))
            assert stored is not None
            header = record_format.header(stored)
            assert (header.handle, stored[header.values_offset :]) == (record.handle, record.values)
        assert list(store.check()) == []
    finally:
        store.close()
    with pytest.raises(WrongPopulation, match="another population"):
        fill(adapters, tmp_path, Holding(Population(901, 5, "reference", prefix_count=4), engine))


def test_folders_that_are_not_ours_are_refused(adapters: Adapters, tmp_path: Path) -> None:
    with pytest.raises(WrongPopulation, match="bench populate"):
        read_holding(adapters, tmp_path)
    (tmp_path / "store").mkdir()
    with pytest.raises(WrongPopulation, match="not the harness's"):
        fill(adapters, tmp_path, Holding(Population(10)))


def test_slices_are_written_as_text(adapters: Adapters, tmp_path: Path) -> None:
    population = Population(1_000, 1, "reference")
    assert write_slice(adapters, population, tmp_path / "a.jsonl", 990, 50) == 10
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["handle"].encode() for line in lines] == [population.handle(number) for number in range(990, 1_000)]
    assert lines[0]["values"][1]["type"] == "TEMPLATE_ID"
    assert write_slice(adapters, population, tmp_path / "a.csv", 0, 2) == 2
    rows = (tmp_path / "a.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 13
    with pytest.raises(BenchError, match=r"neither in \.csv"):
        write_slice(adapters, population, tmp_path / "a.txt", 0, 2)
    with pytest.raises(BenchError, match="ends at 1000"):
        write_slice(adapters, population, tmp_path / "a.csv", 1_000, 2)


@pytest.mark.parametrize("wrong", [lambda: Population(0), lambda: Population(10**13), lambda: Population(1, -1)])
def test_populations_are_bounded(wrong) -> None:
    with pytest.raises(ValueError, match="a population has"):
        wrong()
    with pytest.raises(IndexError):
        Population(10).record(10)


def test_ranged_population_knows_its_exceptions() -> None:
    ranged = RangedPopulation(Population(10_000, 2, "templated", prefix_count=7), overrides=40, tombstones=25)
    numbers = range(ranged.count)
    assert sum(map(ranged.is_override, numbers)) == 40
    assert sum(map(ranged.is_gone, numbers)) in (24, 25)  # the first chosen number has none before it
    found, gone = [], []
    for prefix in ranged.members.prefixes():
        found += list(ranged.overridden(prefix))
        gone += list(ranged.gone(prefix))
    assert found == [ranged.record(number) for number in numbers if ranged.is_override(number)]
    assert gone == [ranged.handle(number) for number in numbers if ranged.is_gone(number)]
    assert all(
        record.handle == ranged.members.record(number).handle
        for number, record in ((number, ranged.record(number)) for number in numbers if ranged.is_override(number))
    )
    for wrong in ((5_001, 0), (-1, 0), (3_000, 3_000)):
        with pytest.raises(ValueError, match="overrides and tombstones"):
            RangedPopulation(ranged.members, *wrong)
    with pytest.raises(ValueError, match="templated"):
        RangedPopulation(Population(10))
