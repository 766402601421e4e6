"""The C programs and the generator in Python ask the same, accept the same, and find the same faults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from os import kill
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from threading import Timer

import pytest

from idnode.adapters import Adapters, real_adapters
from idnode_bench import native
from idnode_bench.errors import BenchError, NoAnswer
from idnode_bench.lanes import Asked, Lane, NativeLane, python_lane
from idnode_bench.load.keys import KeyPlan, SequenceHash
from idnode_bench.load.native_load import NativeLoad, compact
from idnode_bench.load.rows import write_rows
from idnode_bench.load.schedule import Schedule
from idnode_bench.population.factory import Population, Record
from idnode_bench.population.files import wire_octets
from idnode_bench.population.layouts import Kind
from idnode_bench.results import PopulationFacts, Run
from idnode_bench.targets.addresses import Target
from idnode_bench.targets.native import ListedRecords, Source
from idnode_bench.targets.servers import c_program

CLOSED = Schedule("closed", 0.3, window=64)
FACTS = PopulationFacts(200, "small", 1, "uniform")


@pytest.fixture(scope="module")
def adapters() -> Iterator[Adapters]:
    made = real_adapters()
    yield made
    made.close()


@pytest.fixture(scope="module")
def tools(adapters: Adapters) -> native.NativeTools:
    return native.build(adapters.disk)


@contextmanager
def served(tools: native.NativeTools, folder: Path, records: Sequence[Record]) -> Iterator[Target]:
    file = folder / "served"
    file.write_bytes(b"".join(wire_octets(records, len(records))))
    with c_program("c", tools.lookup, ("--population", str(file))) as server:
        yield replace(server.target("udp"), pid=None)


def lane_of(
    generator: str, adapters: Adapters, tools: native.NativeTools, folder: Path, target: Target, source: Source,
    plan: KeyPlan | None = None, count: int = 0,
) -> Lane:  # fmt: skip
    asked = Asked(source, plan or KeyPlan(), FACTS)
    slow = python_lane(adapters, target, asked, connections=1, warmup_s=0.05)
    if generator == "python":
        return slow
    rows = write_rows(adapters.disk, tools, folder, source, asked.plan, 1, 2_000)
    load = NativeLoad(tools.load, rows.file, rows.file_order, warm_pass=True, warmup_s=0.05, count=count)
    return NativeLane(target.name, adapters, target, load, FACTS, slow)


def measured(lane: Lane, schedule: Schedule = CLOSED) -> Run:
    return lane.run(schedule, 1, "measure", first=True)


@pytest.mark.parametrize("kind", ["small", "reference"])
@pytest.mark.parametrize("generator", ["c", "python"])
def test_right_replies_are_counted(
    generator: str, kind: Kind, adapters: Adapters, tools: native.NativeTools, tmp_path: Path
) -> None:
    population = Population(200, 1, kind)
    with served(tools, tmp_path, list(population)) as target:
        run = measured(lane_of(generator, adapters, tools, tmp_path, target, population))
    assert run.generator == generator
    assert run.received == run.sent > 100
    assert (run.mismatched, run.lost, run.unexpected, dict(run.errors)) == (0, 0, 0, {})
    assert run.achieved_per_s == pytest.approx(run.received / run.duration_s, rel=0.01)
    assert run.response_us == run.service_us
    assert run.valid
    assert sum(second.achieved for second in run.series) == run.received


@pytest.mark.parametrize("generator", ["c", "python"])
def test_open_loop_offers_what_it_was_told(
    generator: str, adapters: Adapters, tools: native.NativeTools, tmp_path: Path
) -> None:
    population = Population(200)
    with served(tools, tmp_path, list(population)) as target:
        lane = lane_of(generator, adapters, tools, tmp_path, target, population)
        run = measured(lane, Schedule("poisson", 1.0, 500.0, window=4096))
    assert run.sent == pytest.approx(500, rel=0.2)
    assert run.sent == run.received
    assert sum(second.offered for second in run.series) == run.sent
    assert run.health.lag_max_us is not None
    assert (run.response_us["p50"] or 0) >= (run.service_us["p50"] or 0)


def test_both_generators_ask_the_same(adapters: Adapters, tools: native.NativeTools, tmp_path: Path) -> None:
    population, expected = Population(200), SequenceHash()
    for key in islice(KeyPlan().keys(200, 1), 1_000):
        expected.add(key)
    with served(tools, tmp_path, list(population)) as target:
        lane = lane_of("c", adapters, tools, tmp_path, target, population, count=1_000)
        hashes = [measured(lane, replace(CLOSED, seconds=30)).sequence_hash for _ in range(2)]
    assert hashes == [str(expected)] * 2


@pytest.mark.parametrize("generator", ["c", "python"])
def test_wrong_and_missing_records_are_found(
    generator: str, adapters: Adapters, tools: native.NativeTools, tmp_path: Path
) -> None:
    """The generator expects another content in one record, and one record more than the server holds."""
    records = list(Population(50))
    with served(tools, tmp_path, records[:-1]) as target:
        records[7] = replace(records[7], values=records[7].values[:-1] + b"\x01")
        lane = lane_of(generator, adapters, tools, tmp_path, target, ListedRecords(tuple(records)))
        if isinstance(lane, NativeLane):
            lane.load = replace(lane.load, warm_pass=False)
        run = measured(lane)
    assert run.mismatched > 0
    assert run.errors["RC 100"] > 0
    assert any("differ" in fault for fault in run.faults)
    assert any("RC 100" in fault for fault in run.faults)


@pytest.mark.parametrize("change", ["none", "value", "length"])
def test_hashes_find_what_full_comparison_finds(
    change: str, adapters: Adapters, tools: native.NativeTools, tmp_path: Path
) -> None:
    records = list(Population(50, kind="reference"))
    expected = list(records)
    if change == "value":
        expected[9] = replace(records[9], values=records[9].values[:-200] + b"?" + records[9].values[-199:])
    if change == "length":
        expected[9] = replace(records[9], values=records[9].values + b"\0")
    compact(tools.load, wire_octets(expected, len(expected)), tmp_path / "hashed")
    assert (tmp_path / "hashed").stat().st_size < 60 * len(records)
    with served(tools, tmp_path, records) as target:
        lane = lane_of("c", adapters, tools, tmp_path, target, Population(50, kind="reference"))
        assert isinstance(lane, NativeLane)
        lane.load = replace(lane.load, rows=tmp_path / "hashed")
        run = measured(lane)
    assert run.received > 100
    assert (run.mismatched > 0) == (change != "none")


@pytest.mark.parametrize("generator", ["c", "python"])
def test_absent_handles_are_right_when_they_are_not_found(
    generator: str, adapters: Adapters, tools: native.NativeTools, tmp_path: Path
) -> None:
    plan = KeyPlan(miss_ratio=1.0)
    with c_program("echo", tools.echo, ()) as server:
        target = replace(server.target("udp"), pid=None)
        run = measured(lane_of(generator, adapters, tools, tmp_path, target, Population(200), plan))
        assert run.received == run.sent > 100
        assert run.valid
        with pytest.raises(NoAnswer, match="wrong answer"):
            measured(lane_of("c", adapters, tools, tmp_path, target, Population(200)))
        wrong = measured(lane_of("python", adapters, tools, tmp_path, target, Population(200)))
        assert wrong.errors == {"RC 100": wrong.received}


def test_nobody_there_is_said(adapters: Adapters, tools: native.NativeTools, tmp_path: Path) -> None:
    target = Target("nobody", "udp", "127.0.0.1", adapters.net.free_ports(1)[0])
    with pytest.raises(NoAnswer, match="no answer"):
        measured(lane_of("c", adapters, tools, tmp_path, target, Population(200)))


def test_damaged_files_are_refused(adapters: Adapters, tools: native.NativeTools, tmp_path: Path) -> None:
    whole = b"".join(wire_octets(list(Population(20)), 20))
    target = Target("nobody", "udp", "127.0.0.1", 9)
    lane = lane_of("c", adapters, tools, tmp_path, target, Population(20))
    assert isinstance(lane, NativeLane)
    lane.load = replace(lane.load, rows=tmp_path / "damaged")
    for damaged in (whole[:-1], whole[:10], b"XXXX" + whole[4:], whole[:7] + b"\x09" + whole[8:]):
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises(BenchError, match="population file"):
            measured(lane)
    with pytest.raises(BenchError, match="cut short"):
        compact(tools.load, [whole[:-1]], tmp_path / "hashed")


@contextmanager
def paused(pid: int, after_s: float, for_s: float) -> Iterator[None]:
    """Another process stands still for a while."""
    timers = [Timer(after_s, kill, (pid, SIGSTOP)), Timer(after_s + for_s, kill, (pid, SIGCONT))]
    for timer in timers:
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.join()


def paused_run(
    adapters: Adapters, tools: native.NativeTools, folder: Path, schedule: Schedule, for_s: float = 0.8
) -> Run:
    population = Population(50)
    file = folder / "served"
    file.write_bytes(b"".join(wire_octets(list(population), 50)))
    with c_program("c", tools.lookup, ("--population", str(file))) as server:
        lane = lane_of("c", adapters, tools, folder, replace(server.target("udp"), pid=None), population)
        with paused(server.pid, 0.7, for_s):
            return measured(lane, schedule)


def test_open_loop_in_c_reports_a_pause(adapters: Adapters, tools: native.NativeTools, tmp_path: Path) -> None:
    schedule = Schedule("constant", 2.0, 500.0, window=4096, lost_after_s=5.0)
    run = paused_run(adapters, tools, tmp_path, schedule)
    assert run.sent == run.received == 1_000
    assert (run.response_us["p75"] or 0) > 100_000, "two fifths of the requests were due while nobody answered"
    assert (run.response_us["max"] or 0) > 700_000


def test_closed_loop_in_c_hides_it(adapters: Adapters, tools: native.NativeTools, tmp_path: Path) -> None:
    run = paused_run(adapters, tools, tmp_path, Schedule("closed", 2.0, window=1, lost_after_s=5.0))
    assert (run.response_us["p90"] or 0) < 100_000
    assert (run.response_us["max"] or 0) > 700_000


def test_unanswered_requests_are_lost_and_their_late_answers_unexpected(
    adapters: Adapters, tools: native.NativeTools, tmp_path: Path
) -> None:
    schedule = Schedule("constant", 2.0, 200.0, window=4096, lost_after_s=0.3)
    run = paused_run(adapters, tools, tmp_path, schedule)
    assert run.lost > 20
    assert run.unexpected > 20
    assert run.lost + run.received == run.sent == 400
    assert any("lost" in fault for fault in run.faults)
    assert sum(second.errors for second in run.series) == run.lost
