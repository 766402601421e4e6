"""``idnode load``: a file into a store nobody uses; what is wrong is named by line, and nothing is stored then."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from idnode.adapters import real_adapters
from idnode.cli import loading
from idnode.cli.main import app
from idnode_protocol.value import values_from_octets
from idnode_registry.bulk.loading import Progress
from idnode_registry.engines.opening import ENGINES, open_folder
from idnode_registry.format import handle_of, value_list
from idnode_registry.store import EngineName
from tests.idnode.cli.command_line import idnode, serving

COUNT = 300


def line(number: int, **members: Any) -> str:
    values = [
        {"index": 100, "type": "DESC", "data": {"format": "string", "value": "说明"}, "ttl": 60},
        {"index": 1, "type": "URL", "data": f"https://example.com/{number}"},
    ]
    return json.dumps({"handle": f"99.900/Part-{number:04}", "values": values, **members}, ensure_ascii=False)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A file in no order, with blank lines and without a last line end."""
    path = tmp_path / "records.jsonl"
    path.write_text("\n\n".join(line(number * 7 % COUNT) for number in range(COUNT)))
    return path


def load(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["load", *map(str, arguments)])


def stored(data: Path) -> int:
    adapters = real_adapters()
    store = open_folder(str(data / "store"), "fold-all", disk=adapters.disk)
    try:
        assert list(store.check()) == []
        return store.head(b"99.900", 0).records
    finally:
        store.close()
        adapters.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loaded_store_is_served(engine: EngineName, records: Path, tmp_path: Path) -> None:
    done = load(records, "--data", tmp_path, "--engine", engine, "--home")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith(f"loaded {COUNT} records in ")
    assert not (tmp_path / "store" / loading.WORK_NAME).exists()
    with serving(tmp_path, settings=[f"store.engine={engine}"]) as node:
        address = node.address("tcp")
        found = idnode("resolve", "99.900/part-0007", "--server", address, "--json")
        assert found.code == 0, found.err
        assert "https://example.com/7" in found.out
        refused = idnode("load", records, "--data", tmp_path)
        assert refused.code == 5
        assert "is in use by another process" in refused.err


def test_records_are_stored_as_a_create_request_would_store_them(records: Path, tmp_path: Path) -> None:
    assert load(records, "--data", tmp_path, "--home").exit_code == 0
    adapters = real_adapters()
    store = open_folder(str(tmp_path / "store"), "fold-all", disk=adapters.disk)
    record = store.get(b"99.900", b"PART-0007") or b""
    store.close()
    values = values_from_octets(bytes(value_list(record)))
    assert handle_of(record) == b"99.900/Part-0007"
    assert [(value.index, value.type, value.data, value.ttl) for value in values] == [
        (1, "URL", b"https://example.com/7", 86_400),
        (100, "DESC", "说明".encode(), 60),
    ]
    assert abs(values[0].timestamp - adapters.clock.now()) < 120
    adapters.close()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ("{", "not JSON"),
        ('{"values": []}', "handle"),
        (line(1, handle="99.900"), "has no slash between prefix and suffix"),
        (line(1, handle="99.950/x"), r"99\.950 is not homed in this store: give --home"),
        (line(1, values=[{"index": 0, "type": "URL", "data": "x"}]), "index 0 is below 1"),
        (line(1, values=[{"index": 1, "type": "A", "data": "x"}] * 2), "index 1 stands twice"),
        (line(1, values=[{"index": 1, "type": "A"}]), r"values\[0\]\.data"),
        (line(5), r"lines 5 and 402: both are 99\.900/PART-0005"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_stored(tmp_path: Path, wrong: str, text: str) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text(line(9_999))
    assert load(empty, "--data", tmp_path, "--home").exit_code == 0
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join([line(number) for number in range(1, 402)] + [wrong]))
    refused = load(path, "--data", tmp_path)
    assert refused.exit_code in (2, 5)
    assert_line(refused.stderr, text)
    assert stored(tmp_path) == 1
    path.write_text("\n".join(line(number) for number in range(1, 402)))
    assert load(path, "--data", tmp_path).exit_code == 0, "the corrected file"
    assert stored(tmp_path) == 402


def assert_line(told: str, text: str) -> None:
    assert re.search(text, told), told
    assert re.search(r"lines? (5 and )?402\b", told), told
    assert told.count("\n") == 1


def test_what_is_stored_is_refused_or_left_out(records: Path, tmp_path: Path) -> None:
    assert load(records, "--data", tmp_path, "--home").exit_code == 0
    again = load(records, "--data", tmp_path)
    assert again.exit_code == 5
    assert "line 1: 99.900/PART-0000 is stored already" in again.stderr
    left_out = json.loads(load(records, "--data", tmp_path, "--skip-existing", "--json").stdout)
    assert (left_out["loaded"], left_out["left_out"], left_out["resumed"]) == (0, COUNT, False)


def test_a_load_that_was_stopped_goes_on_and_another_file_does_not(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_in(step: str) -> Callable[[loading.Meter, Progress], None]:
        def report(meter: loading.Meter, progress: Progress) -> None:
            if progress.step == step:
                raise KeyboardInterrupt

        return report

    for step in ("read", "load"):
        with monkeypatch.context() as stopping:
            stopping.setattr(loading.Meter, "report", stop_in(step))
            stopped = load(records, "--data", tmp_path, "--home")
        assert (stopped.exit_code, stopped.stderr) == (1, "idnode: stopped; the same command goes on from here\n")
    other = tmp_path / "other.jsonl"
    other.write_text(line(9_999))
    refused = load(other, "--data", tmp_path)
    assert refused.exit_code == 5
    assert "holds an unfinished load of" in refused.stderr
    assert json.loads(load(records, "--data", tmp_path, "--json").stdout)["resumed"] is True
    assert stored(tmp_path) == COUNT
    assert load(other, "--data", tmp_path).exit_code == 0


def test_an_unfinished_load_can_be_forgotten(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(meter: loading.Meter, progress: Progress) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr(loading.Meter, "report", stop)
        assert load(records, "--data", tmp_path, "--home").exit_code == 1
    other = tmp_path / "other.jsonl"
    other.write_text(line(9_999))
    assert json.loads(load(other, "--data", tmp_path, "--restart", "--json").stdout)["resumed"] is False
    assert stored(tmp_path) == 1


def test_progress_is_for_terminals(records: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    adapters = real_adapters()
    for is_terminal in (False, True):
        monkeypatch.setattr("sys.stderr.isatty", lambda is_terminal=is_terminal: is_terminal)
        meter = loading.Meter(adapters.clock, 1_000)
        meter.passed(500)
        meter.report(Progress("read", 5_000, None))
        meter.report(Progress("load", 20, 40))
        meter.end()
        told = capsys.readouterr().err
        assert bool(told) == is_terminal
        assert not is_terminal or ("read: 5,000 records" in told and "load: 20 records" in told and "s left" in told)
    adapters.close()


def test_an_engine_nobody_knows(records: Path, tmp_path: Path) -> None:
    refused = load(records, "--data", tmp_path, "--engine", "sqlite")
    assert (refused.exit_code, refused.stderr) == (2, "idnode: there is no engine sqlite: take lmdb or rocksdb\n")
