"""The commands as a user calls them, at tiny size: a node is filled, started, asked, compared; files and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from inspect import signature
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from idnode.adapters import real_adapters
from idnode_bench.cli import COMMANDS, app
from idnode_bench.commands import suite
from idnode_bench.commands.suite import STEPS, Step
from idnode_bench.errors import BenchError, NotLoopback
from idnode_bench.lanes import run_async
from idnode_bench.load.engine import Request
from idnode_bench.load.recorder import RIGHT
from idnode_bench.machine import elapsed_s, process_cpu_s, process_rss_octets
from idnode_bench.population.filling import read_holding
from idnode_bench.population.ranged import RangedPopulation
from idnode_bench.results import Report
from idnode_bench.targets.addresses import Target, parse_target
from idnode_bench.targets.memory import MemoryPort, memory_node
from idnode_bench.targets.native import Dialogue

BAD_SCHEDULE = ("fell behind", "requests lost", "not sent", "of a processor")
"""Faults that a busy machine causes; whatever else is found is a defect."""


def bench(*arguments: object) -> Result:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def report_of(file: Path) -> Report:
    report = Report.from_json(json.loads(file.read_text()))
    for runs in report.rounds:
        for run in runs:
            assert [fault for fault in run.faults if not any(known in fault for known in BAD_SCHEDULE)] == []
    return report


def test_node_is_filled_and_resolved_over_every_transport(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    transports = ["udp", "tcp", "http", "https", "in-process"]
    chosen = [part for name in transports for part in ("--transport", name)]
    done = bench(
        "resolve", "--serve", *chosen, "--records", 60, "--prefixes", 6, "--kind", "reference", "--rate", 60,
        "--seconds", 0.5, "--miss-ratio", 0.2, "--distribution", "zipf(0.9)", "--rounds", 1, "--json", file, "--stages",
        "--connections", 4, "--generator", "python",
    )  # fmt: skip
    assert done.exit_code in (0, 1), done.output
    report = report_of(file)
    assert [run.transport for run in report.rounds[0]] == transports
    assert all(run.received > 0 for run in report.rounds[0]), done.output
    assert all(dict(run.errors) == {} and run.mismatched == 0 for run in report.rounds[0])
    assert len({run.sequence_hash for run in report.rounds[0]}) == 1, "all were asked the same"
    assert set(report.summary["stages_us"]) == {"decode", "look up", "encode", "miss", "hit", "send"}
    assert all(cost > 0 for cost in report.summary["stages_us"].values())
    assert report.rounds[0][0].server_cpu_share is not None
    assert "idnode https" in done.output


def test_folder_is_populated_served_and_compared_with_c(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "r.json"
    done = bench("populate", "--records", 300, "--kind", "small", "--data", data, "--prefixes", 5)
    assert done.exit_code == 0, done.output
    assert "300 of 300 small records loaded" in done.output
    arguments = (
        "resolve",
        "--serve",
        "--data",
        data,
        "--peer",
        "c",
        "--model",
        "closed",
        "--set",
        "network.answer_cache_octets=0",
    )
    done = bench(*arguments, "--seconds", 0.3, "--rounds", 2, "--json", file)
    assert done.exit_code in (0, 1), done.output
    report = report_of(file)
    assert [run.target for run in report.rounds[0]] == ["idnode", "c"]
    assert report.rounds[0][0].population.records == 300
    assert report.summary["ratio"]["of"] == ["idnode", "c"]
    assert all(run.lost == 0 for runs in report.rounds for run in runs)
    cache = report.rounds[-1][0].details["answer_cache"]
    assert cache["misses"] >= report.rounds[-1][0].received
    assert cache["hits"] == 0, "the node was told to keep no answers"
    assert report.rounds[0][1].details["warm_pass"] is True


def test_calibration_knows_both_generators(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    done = bench("calibrate", "--seconds", 0.2, "--rounds", 1, "--json", file)
    assert done.exit_code == 0, done.output
    assert set(report_of(file).summary["ceiling_per_s"]) == {"c closed", "python closed"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("resolve",), "nothing to measure"),
        (("resolve", "--target", "udp://192.0.2.1:2641"), "--i-own-this-host"),
        (("resolve", "--serve", "--transport", "pigeon"), "no transport pigeon"),
        (("resolve", "--serve", "--distribution", "zipfian"), "no distribution"),
        (("resolve", "--serve", "--model", "ramp"), "needs its rates"),
        (("resolve", "--serve", "--to-rate", "5"), "--model ramp"),
        (("resolve", "--serve", "--records", "10000000"), "bench populate"),
        (("resolve", "--serve", "--data", "no-such-folder"), "population.json"),
        (("resolve", "--target", "udp://127.0.0.1:9", "--handles", "no-such-file"), "cannot be read"),
        (("populate",), "--data FOLDER"),
        (("populate", "--data", "unused", "--engine", "sqlite"), "no store engine"),
        (("populate", "--data", "unused", "--overrides", "5"), "add --range"),
        (("populate", "--data", "unused", "--range", "--records", "10", "--overrides", "9"), "at most half"),
        (("populate", "--export", "x.txt"), "neither in .csv"),
        (("saturate", "--serve", "--start", "5", "--limit", "2"), "below its limit"),
    ],
)
def test_what_cannot_be_measured_is_said(arguments: tuple[object, ...], said: str) -> None:
    done = bench(*arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_only_loopback_unless_owned() -> None:
    assert parse_target("udp://localhost:2641") == Target("target", "udp", "127.0.0.1", 2641)
    assert parse_target("tcp://[::1]:2641").host == "::1"
    with pytest.raises(NotLoopback, match="--i-own-this-host"):
        parse_target("http://192.0.2.1:8000")
    assert parse_target("udp://192.0.2.1:2641", own_host=True).host == "192.0.2.1"
    for wrong in ("127.0.0.1:2641", "udp://127.0.0.1", "udp://example.org:2641", "ftp://127.0.0.1:1", "udp://[x:1"):
        with pytest.raises(BenchError):
            parse_target(wrong)


def test_saturation_of_the_c_peer_is_searched_and_overloaded(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    done = bench(
        "saturate", "--peer", "c", "--records", 100, "--repeats", 1, "--step", 0.2, "--hold", 0.2, "--start", 50,
        "--limit", 100, "--overload", 2, "--recovery", 0.5, "--p99-ms", 2_000,
        "--lag-ms", 2_000, "--errors", 0.5, "--json", file,
    )  # fmt: skip
    assert done.exit_code in (0, 1), done.output
    report = report_of(file)
    found = report.summary["targets"]["c"]
    assert found["knee_per_s"]["median"] == 100
    assert found["reached_limit"]
    assert [run.phase for run in report.rounds[-1]] == ["hold", "overload", "recovery"]
    assert 0 < found["overload"]["goodput_share"] < 3
    assert "knee 100/s" in done.output


def test_suite_runs_its_steps_and_keeps_their_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (
        Step("good", "calibrates", ("calibrate", "--seconds", "0.1", "--rounds", "1", "--quiet")),
        Step("bad", "has nothing to measure", ("resolve",)),
    )
    monkeypatch.setattr(suite, "STEPS", steps)
    done = bench("all", "--out", tmp_path / "results")
    assert done.exit_code == 2
    assert "bad: failed with status 2" in done.output
    assert report_of(tmp_path / "results" / "good.json").report == "bench calibrate"
    assert bench("all", "--only", "good", "--list").output.splitlines()[0] == "good: calibrates"
    assert "no step ugly" in bench("all", "--only", "ugly").output


def test_children_count_as_the_server() -> None:
    """A shell that waits for a child that works: what the child uses is the server's."""
    command = ["sh", "-c", "sh -c 'while :; do :; done' & echo READY; wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"READY\n"
            disk = real_adapters().disk
            started = elapsed_s()
            while (used := process_cpu_s(disk, process.pid) or 0.0) < 0.05:
                assert elapsed_s() - started < 30
            assert used >= 0.05
            assert (process_rss_octets(disk, process.pid) or 0) > 0
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_steps_of_the_suite_are_commands(step: Step) -> None:
    """Every option of a step exists: asked for help, the command answers instead of running."""
    assert bench(*step.arguments, "--help").exit_code == 0
    command = next(command for command in COMMANDS if command.__name__ == step.arguments[0])
    known = set(signature(command).parameters)
    flags = {part.removeprefix("--").replace("-", "_") for part in step.arguments if part.startswith("--")}
    assert {{"rate": "per_s" if step.arguments[0] == "register" else "rate"}.get(flag, flag) for flag in flags} <= known


def test_a_hundred_thousand_million_are_registered_by_ranges_and_resolved(tmp_path: Path) -> None:
    """Every answer is compared; overrides and tombstones are met too, because the keys are those around them."""
    data, file = tmp_path / "data", tmp_path / "r.json"
    done = bench(
        "populate", "--records", 10**11, "--range", "--overrides", 300, "--tombstones", 200, "--prefixes", 6,
        "--data", data,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "100,000,000,000 identifiers registered by ranges" in done.output
    arguments = ("--keys", 3_000, "--model", "closed", "--seconds", 0.5, "--rounds", 1, "--json", file)
    done = bench("resolve", "--serve", "--data", data, *arguments)
    assert done.exit_code in (0, 1), done.output
    run = report_of(file).rounds[0][0]
    assert (run.population.range_registered, run.population.records) == (10**11, 300)
    assert run.received > 0
    holding = read_holding(real_adapters(), data)
    ranged = holding.ranged
    assert ranged is not None
    step = ranged.count // 300
    special = [number for place in range(300) for number in (place * step, place * step + 1)]
    special += [number for place in range(1, 200) for number in (place * (ranged.count // 200) - 1,)]
    assert sum(map(ranged.is_override, special)) >= 300
    assert sum(map(ranged.is_gone, special)) > 150
    stray = resolve_all(data, ranged, special)
    assert stray == []


def resolve_all(data: Path, ranged: RangedPopulation, numbers: list[int]) -> list[int]:
    """The numbers whose members are not answered as the population says, asked of a node in this process."""
    adapters = real_adapters()
    wrong: list[int] = []
    node, socket = memory_node(adapters, data)
    port = MemoryPort(socket, Dialogue(ranged))

    async def ask() -> None:
        async with node:
            waiting = set(numbers)

            def done(request: Request, outcome: str, *, answered: bool = True) -> None:
                number = request.key if request.key >= 0 else ~request.key
                waiting.discard(number)
                if outcome != RIGHT:
                    wrong.append(number)

            await port.open(done)
            for start in range(0, len(numbers), 64):
                batch = numbers[start : start + 64]
                keys = [~number if ranged.is_gone(number) else number for number in batch]
                port.send([Request("resolve", key, 0.0, 0.0) for key in keys])
                async with adapters.clock.timeout(20):
                    while not waiting.isdisjoint(batch):
                        await adapters.clock.sleep(0.001)

    try:
        run_async(ask)
    finally:
        adapters.close()
    return wrong
