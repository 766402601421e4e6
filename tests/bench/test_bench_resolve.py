"""The harness counts right: one population for Python and C, wrong and lost replies found, a bad run called invalid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from idnode.adapters import Adapters, real_adapters
from idnode_bench import native
from idnode_bench.errors import BenchError, NoAnswer, NotLoopback
from idnode_bench.generator import Load
from idnode_bench.interleave import run_interleaved
from idnode_bench.messages import AnswerStyle, reply_octets, request_octets
from idnode_bench.population import Population, to_file_octets
from idnode_bench.resolve import Result, Workload, faults_of, run_resolve
from idnode_bench.target import Target, c_lookup, parse_target
from idnode_protocol.message import decode_message

RECORDS = 200
LOAD = Load(seconds=0.3, warmup_s=0.05, warm_pass=True, window=64)


@pytest.fixture(scope="module")
def adapters() -> Iterator[Adapters]:
    adapters = real_adapters()
    yield adapters
    adapters.close()


def workload_in(folder: Path, population: Population, tools: native.NativeTools | None) -> Workload:
    file = folder / f"population-{population.seed}"
    file.write_bytes(b"".join(to_file_octets(population)))
    return Workload(population, file, tools)


@pytest.fixture(scope="module")
def tools(adapters: Adapters) -> native.NativeTools:
    return native.build(adapters.disk)


@pytest.fixture
def peer(tools: native.NativeTools, tmp_path: Path) -> Iterator[Target]:
    with c_lookup(tools.lookup, workload_in(tmp_path, Population(RECORDS), tools).file, None) as target:
        yield target


def test_population_is_deterministic_and_sorted() -> None:
    records = list(Population(RECORDS, 7))
    assert records == list(Population(RECORDS, 7))
    assert records != list(Population(RECORDS, 8))
    suffixes = [record.suffix for record in records]
    assert suffixes == sorted(set(suffixes))


def test_population_has_real_messages_of_one_fragment() -> None:
    record = next(iter(Population(1)))
    reply = reply_octets(record, AnswerStyle())
    assert 240 <= len(reply) <= 280
    for octets in (request_octets(record.handle, 5), reply):
        assert decode_message(octets).to_octets() == octets


@pytest.mark.parametrize("generator", ["c", "python"])
def test_right_replies_are_counted(
    generator: str, peer: Target, adapters: Adapters, tools: native.NativeTools, tmp_path: Path
) -> None:
    workload = workload_in(tmp_path, Population(RECORDS), tools if generator == "c" else None)
    result = run_resolve(adapters, peer, workload, LOAD)
    assert result.generator == generator
    assert result.received == result.sent > 1_000
    assert (result.mismatched, result.lost, result.unexpected) == (0, 0, 0)
    assert result.rate_per_s == pytest.approx(result.received / result.duration_s, rel=0.01)
    assert (result.latency_us["p50"] or 0) > 0
    assert result.latency_us.get("p99.99") is None, "reported from too few samples"


@pytest.mark.parametrize("generator", ["c", "python"])
def test_another_population_is_refused(
    generator: str, peer: Target, adapters: Adapters, tools: native.NativeTools, tmp_path: Path
) -> None:
    workload = workload_in(tmp_path, Population(RECORDS, 2), tools if generator == "c" else None)
    with pytest.raises(NoAnswer, match=r"wrong answer to 99\.900/B0000000"):
        run_resolve(adapters, peer, workload, LOAD)


@pytest.mark.parametrize("generator", ["c", "python"])
def test_wrong_and_missing_records_are_found(
    generator: str, peer: Target, adapters: Adapters, tools: native.NativeTools, tmp_path: Path
) -> None:
    """The generator expects one record more than the server holds, and another content in one."""
    population = Population(RECORDS + 1)
    workload = workload_in(tmp_path, population, tools if generator == "c" else None)
    records = workload.records()
    records[7] = replace(records[7], values=records[7].values[:-1] + b"\x01")
    octets = workload.file.read_bytes()
    original = next(record for number, record in enumerate(population) if number == 7).values
    workload.file.write_bytes(
        octets.replace(records[7].handle + octets_of(original), records[7].handle + octets_of(records[7].values))
    )
    result = run_resolve(adapters, peer, workload, replace(LOAD, seconds=0.6, warm_pass=False))
    assert result.mismatched > 0
    assert result.lost > 0
    assert any("differ" in fault for fault in result.faults)
    assert not result.valid


def octets_of(values: bytes) -> bytes:
    return len(values).to_bytes(4, "big") + values


def result_of(**changes: object) -> Result:
    good = Result("t", "c", "closed", 1000, 1000, 0, 0, 0, 1.0, 1000.0, {}, 0, LOAD, server_cpu_share=0.97)
    return replace(good, **changes)  # type: ignore[arg-type]


def test_faults_name_what_makes_a_run_invalid() -> None:
    assert faults_of(result_of()) == ()
    assert "lost" in faults_of(result_of(lost=5))[0]
    assert faults_of(result_of(lost=1)) == ()
    assert "differ" in faults_of(result_of(mismatched=1))[0]
    assert "limit" in faults_of(result_of(server_cpu_share=0.5))[0]
    assert "nothing" in faults_of(result_of(received=0))[0]


def test_interleaving_turns_the_order_and_compares_round_by_round() -> None:
    order: list[tuple[str, int]] = []

    def run(target: Target, number: int) -> Result:
        order.append((target.name, number))
        return result_of(target=target.name, rate_per_s={"a": 50.0, "b": 100.0}[target.name] * (number + 1))

    found = run_interleaved([Target("a", "127.0.0.1", 1), Target("b", "127.0.0.1", 2)], 3, run)
    assert order == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    assert found.ratios() == [0.5, 0.5, 0.5]
    assert (found.median_rate(0), found.median_rate(1)) == (100.0, 200.0)


def test_only_loopback_unless_owned() -> None:
    assert parse_target("udp://localhost:2641") == Target("target", "127.0.0.1", 2641)
    assert parse_target("udp://[::1]:2641").host == "::1"
    with pytest.raises(NotLoopback, match="--i-own-this-host"):
        parse_target("udp://192.0.2.1:2641")
    assert parse_target("udp://192.0.2.1:2641", own_host=True).host == "192.0.2.1"
    for wrong in ("127.0.0.1:2641", "udp://127.0.0.1", "udp://example.org:2641"):
        with pytest.raises(BenchError):
            parse_target(wrong)
