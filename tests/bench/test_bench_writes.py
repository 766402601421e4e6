"""What is acknowledged is there, what is not there is a fault, and workload files mean what they say."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from idnode_bench.cli import app
from idnode_bench.commands.writes import verified
from idnode_bench.errors import BenchError
from idnode_bench.load.engine import Request
from idnode_bench.load.keys import KeyPlan
from idnode_bench.load.mixes import Mix, parse_workload
from idnode_bench.load.schedule import Schedule
from idnode_bench.population.factory import Population
from idnode_bench.results import Report
from idnode_bench.targets import writing
from idnode_bench.targets.writing import Book, Writer, same_but_for_time
from tests.bench.simulated_server import SimulatedServer, load

BUSY = ("fell behind", "requests lost", "not sent")
"""Faults that a busy machine causes."""
WORKLOADS = Path(__file__).parents[2] / "bench" / "workloads"


def bench(*arguments: object) -> Result:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def faults(report: Report) -> list[str]:
    found = [fault for runs in report.rounds for run in runs for fault in run.faults]
    return [fault for fault in found if not any(known in fault for known in BUSY)]


@pytest.mark.parametrize("way", ["library", "native", "rest"])
def test_registrations_are_acknowledged_and_read_back(way: str, tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    done = bench(
        "register", "--way", way, "--rate", 60, "--seconds", 1, "--rounds", 1, "--records", 50, "--prefixes", 6,
        "--kind", "small", "--connections", 4, "--json", file,
    )  # fmt: skip
    assert done.exit_code in (0, 1), done.output
    report = Report.from_json(json.loads(file.read_text()))
    assert faults(report) == [], done.output
    run = report.rounds[0][0]
    assert run.received > 20
    assert dict(run.errors) == {}
    back = run.details["read_back"]
    assert back["sampled"] > 20
    assert back["gone"] == 0
    assert report.summary["acknowledged"] == run.received


def test_what_was_acknowledged_and_is_gone_is_a_fault() -> None:
    run = load(Schedule("constant", 1.0, 50.0, window=64), lambda clock: SimulatedServer(clock, 0.001))
    book = Book(Population(100), run=1)
    book.acknowledged.extend(range(10))
    there = {number: book.values(number) for number in range(10)}
    assert verified(run, book, lambda numbers: {number: there[number] for number in numbers}, 1).valid
    stamped = {number: tuple(replace(value, timestamp=5) for value in values) for number, values in there.items()}
    assert verified(run, book, lambda numbers: {number: stamped[number] for number in numbers}, 1).valid
    gone = verified(run, book, lambda numbers: {**dict.fromkeys(numbers), 0: there[0]}, 1)
    assert any("9 of 10 acknowledged" in fault for fault in gone.faults)
    assert not same_but_for_time(there[1], there[2])


def test_new_records_lie_under_the_populations_prefixes_and_nowhere_twice() -> None:
    population = Population(10_000, 1, "reference")
    book = Book(population, run=7)
    records = [book.record(number) for number in range(3_000)]
    assert len({record.handle for record in records}) == 3_000
    assert not {record.handle for record in records} & {record.handle for record in population}
    known = {prefix.name for prefix in Population(10**6).prefixes()}
    prefixes = [record.prefix for record in records]
    assert set(prefixes) <= known
    assert len(set(prefixes[:50])) > 20, "prefixes are interleaved, not one after the other"


def test_updates_and_deletions_take_what_was_acknowledged() -> None:
    writer = Writer(Book(Population(100), run=1))
    assert writer.place(Request("delete", 0, 0.0, 0.0)) == ("create", 0)
    for _ in range(400):
        writer.done(*writer.place(Request("create", 0, 0.0, 0.0)))
    assert writer.place(Request("update", 0, 0.0, 0.0)) == ("update", 400)
    assert writer.place(Request("delete", 0, 0.0, 0.0)) == ("delete", 1)
    assert writer.place(Request("delete", 0, 0.0, 0.0)) == ("delete", 2)


def test_mixes_keep_their_weights() -> None:
    mix = Mix((("resolve", 90.0), ("create", 9.0), ("list", 1.0)))
    drawn = Counter(islice(mix.operations(1), 20_000))
    assert drawn["resolve"] == pytest.approx(18_000, rel=0.02)
    assert drawn["create"] == pytest.approx(1_800, rel=0.1)
    assert drawn["list"] == pytest.approx(200, rel=0.3)
    keys = KeyPlan().keys(10, 1)
    chosen = list(islice(mix.choose(keys, 1), 50))
    assert [operation for operation, _ in chosen] == list(islice(mix.operations(1), 50))


@pytest.mark.parametrize("way", ["native", "rest"])
def test_workload_file_loads_a_node(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "SPARE", 5)
    text = (WORKLOADS / "factory.toml").read_text()
    text = text.replace("rate_per_s = 500", "rate_per_s = 100").replace("seconds = 10", "seconds = 1")
    text = text.replace("resolve = 90", "resolve = 60").replace("delete = 0.5", "delete = 5")
    text = text.replace("list = 0.5", "list = 5").replace("create = 6", "create = 30")
    (tmp_path / "w.toml").write_text(
        text.replace('write = "native"', f'write = "{way}"').replace("update = 3", "update = 9")
    )
    file = tmp_path / "r.json"
    done = bench(
        "mixed",
        tmp_path / "w.toml",
        "--rounds",
        1,
        "--records",
        100,
        "--prefixes",
        6,
        "--connections",
        4,
        "--json",
        file,
    )
    assert done.exit_code in (0, 1), done.output
    report = Report.from_json(json.loads(file.read_text()))
    assert faults(report) == [], done.output
    run = report.rounds[0][0]
    assert dict(run.errors) == {}, done.output
    assert {"resolve", "create", "update", "list"} <= set(run.operations)
    assert sum(operation["sent"] for operation in run.operations.values()) == run.sent
    assert run.details["read_back"]["sampled"] > 5


@pytest.mark.parametrize("path", sorted(WORKLOADS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_workload_files_can_be_used(path: Path) -> None:
    assert parse_workload(path.read_text()).mix.weights


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mix = [", "is TOML"),
        ("", "lacks"),
        ("[mix]\nresolve = 0", "above 0"),
        ("[mix]\nresolves = 1", "has no resolves"),
        ("[mix]\nresolve = 1\n[loads]\nrate = 1", "no section"),
        ("[mix]\nresolve = 1\n[load]\nrate = 1", "has no rate"),
        ("[mix]\nresolve = 1\n[load]\nmodel = 'open'", "closed, constant"),
        ("[mix]\nresolve = 1\n[load]\nmodel = 'ramp'", "needs its rates"),
        ("[mix]\nresolve = 1\n[keys]\ndistribution = 'zipfian'", "no distribution"),
        ("[mix]\nresolve = 1\n[ways]\nwrite = 'udp'", "ways:"),
        ("[mix]\nresolve = 'often'", "garbles"),
    ],
)
def test_workload_files_that_mean_nothing_are_refused(text: str, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        parse_workload(text)
