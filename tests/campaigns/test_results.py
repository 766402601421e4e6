"""A result file says everything needed to repeat the run; ``make test`` leaves none behind."""

from __future__ import annotations

import json
from pathlib import Path

from tests.campaigns.results import Result


def test_what_stands_in_a_result(tmp_path: Path) -> None:
    path = Result(tmp_path / "results", 77).write("kill9", kills=500, ok=12_345, wrong=[])
    assert path is not None
    assert path.name[10:] == "-kill9.json"
    written = json.loads(path.read_text())
    assert (written["report"], written["version"]) == ("kill9", 1)
    assert written["counts"] == {"kills": 500, "ok": 12_345, "wrong": []}
    assert written["environment"]["seed"] == 77
    assert {"git_commit", "git_dirty", "cpu", "cores", "kernel", "python", "packages"} <= written["environment"].keys()
    assert written["duration_s"] >= 0


def test_no_file_outside_make_prove(result: Result, campaign: str) -> None:
    assert (result.folder is None) == (campaign != "prove")
    assert Result(None, 1).write("kill9") is None
