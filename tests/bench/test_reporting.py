"""The page stands alone, the rows hold what the file holds, and a scale picture needs raw runs."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from idnode_bench.cli import app
from idnode_bench.errors import NotAResult
from idnode_bench.reporting.page import page
from idnode_bench.reporting.tables import hgrm, runs_csv, series_csv
from idnode_bench.results import Report
from idnode_bench.scale.points import read_measured
from idnode_bench.scale.projection import Machine, lines, project
from tests.bench.results_made import made_report, made_run, scale_report


def test_the_page_needs_nothing_else_and_escapes_everything() -> None:
    report = made_report([1000.0, 1100.0, 1200.0], notes=("<script>alert(1)</script>",), command=["idnode", "<b>"])
    text = page([report])
    assert "<script" not in text
    assert "&lt;b&gt;" in text
    assert text.count("<svg") == 4
    assert re.findall(r'(?:src|href)="http', text.replace("xlink:href", "")) == []


def test_faults_are_shown() -> None:
    report = made_report((), rounds=((made_run(faults=("the generator fell behind",)),),))
    assert "the generator fell behind" in page([report])
    assert "not valid" in page([report])


def test_rows_hold_what_the_file_holds() -> None:
    report = made_report([1000.0, 1100.0])
    rows = list(csv.DictReader(io.StringIO(runs_csv(report))))
    assert [float(row["achieved_per_s"]) for row in rows] == [1000.0, 1100.0]
    assert rows[0]["p99.99"] == ""  # 20,000 samples are too few
    seconds = list(csv.DictReader(io.StringIO(series_csv(report))))
    assert len(seconds) == 4
    lines_ = hgrm(report.rounds[0][0]).splitlines()
    values = [float(line.split()[0]) for line in lines_[2:]]
    assert values == sorted(values)


def test_a_result_goes_through_its_file_unchanged() -> None:
    text = json.dumps(scale_report().to_json())
    assert json.dumps(Report.from_json(json.loads(text)).to_json()) == text


def test_scale_measures_and_projects_apart() -> None:
    measured = read_measured(scale_report(slope=0.1, noise=0.02))
    fitted = lines(measured)
    assert len(fitted) == 2
    assert all(line.slope_low <= 0.1 <= line.slope_high for line in fitted.values())
    rows = {(row.engine, row.number): row for row in project(measured, Machine(disk_octets=2 * 10**12))}
    lmdb = rows["lmdb", 10**11]
    assert lmdb.disk_octets == 200 * 10**11
    assert lmdb.nodes == 15  # 20 TB over disks filled to 1.4 TB
    assert lmdb.hours_to_load == pytest.approx(10**11 / 15 / 200_000 / 3600)
    assert lmdb.cost_us is not None
    assert lmdb.cost_us.low < lmdb.cost_us.middle < lmdb.cost_us.high
    assert rows["rocksdb", 10**10].nodes == 1
    text = page([scale_report(noise=0.02)])
    measured_part, projected_part = text.split("Projected, not measured")
    assert "1e+11, the target" in projected_part
    assert "the target" not in measured_part
    assert "range-registered" in measured_part


def test_without_raw_runs_nothing_is_drawn() -> None:
    report = scale_report()
    for empty in (replace(report, rounds=()), replace(report, rounds=((made_run(faults=("lost",)),),))):
        with pytest.raises(NotAResult, match="no valid raw run"):
            page([empty])


def test_another_report_is_no_scale() -> None:
    with pytest.raises(NotAResult, match="bench resolve"):
        read_measured(made_report([1.0]))


@pytest.mark.parametrize("form", ["html", "csv", "series", "junit", "hgrm"])
def test_the_command_writes_every_form(tmp_path: Path, form: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(made_report([1000.0, 1001.0, 1002.0]).to_json()))
    out = tmp_path / "out"
    run = CliRunner().invoke(app, ["report", str(tmp_path / "a.json"), "--form", form, "-o", str(out)])
    assert run.exit_code == 0, run.output
    assert out.stat().st_size > 100
    if form == "junit":
        assert ElementTree.parse(out).getroot().get("tests") == "3"
