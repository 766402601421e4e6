"""Ranges, overrides and tombstones under ``kill -9``: what was acknowledged is there, the rest whole or not."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.campaigns.range_writer import DATA
from tests.campaigns.results import Result
from tests.registry.ranges.range_desk import PREFIX, RangeDesk, durable_store
from tests.registry.ranges.test_range_machine import Model

ROOT: Final = Path(__file__).parents[2]
KILLS: Final = {"prove": 200}.get(os.environ.get("IDNODE_CAMPAIGN", ""), 6)
ACKNOWLEDGED: Final = (1, 80)

pytestmark = [pytest.mark.serial, pytest.mark.timeout(120 + 6 * KILLS)]


def applied(model: Model, verb: str, name: str) -> None:
    """What an operation that succeeded does to the model."""
    folded, text = model.fold(name), name
    values = model.all().get(folded)
    if verb == "register":
        head, _, rest = text.partition("{")
        serials, _, tail = rest.partition("}")
        first, _, last = serials.partition("-")
        model.ranges[text] = (head, tail, int(first), int(last), len(first), DATA)
    elif verb == "unregister":
        del model.ranges[text]
    elif verb == "add":
        assert values is not None
        model.own[folded] = {**values, 2: b"more"}
    elif verb == "create":
        model.own[folded] = {3: b"own"}
    else:
        model.own.pop(folded, None)
        (model.gone.add if model.covered(folded) else model.gone.discard)(folded)


def live(folder: Path, seed: int, acknowledged: int) -> tuple[list[tuple[list[str], int]], list[str] | None]:
    """(operations with their codes, the one under way) of a process that is killed after so many answers."""
    command = [sys.executable, "-m", "tests.campaigns.range_writer", str(folder), str(seed)]
    places = [str(ROOT), str(ROOT / "registry"), str(ROOT / "protocol")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    lines = []
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("<") and len(lines) >= 2 * acknowledged:
                break
        process.kill()
        lines += process.stdout.readlines()
    whole = [line for line in lines if line.endswith("\n")]
    asked = [json.loads(line[2:]) for line in whole if line.startswith(">")]
    codes = [int(line[2:]) for line in whole if line.startswith("<")]
    assert len(codes) >= acknowledged, lines
    done = list(zip(asked, codes, strict=False))
    return done, asked[len(codes)] if len(asked) > len(codes) else None


def found(desk: RangeDesk, names: set[str]) -> dict[str, dict[int, bytes] | None]:
    """What each name resolves to."""
    return {name: desk.read(PREFIX + b"/" + name.encode()) for name in names}


def test_no_acknowledged_change_is_lost(tmp_path: Path, seed: int, result: Result) -> None:
    random, model, operations, open_ones = Random(seed), Model(folds_all=True), 0, 0
    for kill in range(KILLS):
        done, under_way = live(tmp_path / "store", seed + kill, random.randint(*ACKNOWLEDGED))
        for (verb, name), code in done:
            if code == 1:
                applied(model, verb, name)
        operations += len(done)
        possible = [model]
        if under_way is not None:
            open_ones += 1
            later = copy.deepcopy(model)
            try:
                applied(later, *under_way)
                possible.append(later)
            except (AssertionError, KeyError):
                pass  # it would have been refused
        store = durable_store(tmp_path / "store")
        try:
            desk = RangeDesk(store)
            desk.sound()
            everything = [one.all() for one in possible]
            names = set().union(*everything, *(one.gone for one in possible))
            seen = found(desk, names)
            walked = sorted(name.partition(b"/")[2].decode().upper() for name in desk.expanded(limit=13))
            fitting = [
                one
                for one, there in zip(possible, everything, strict=True)
                if seen == {name: there.get(name) for name in names} and walked == sorted(there)
            ]
            assert fitting, f"kill {kill} of seed {seed}: {under_way}"
            model = fitting[-1]
        finally:
            store.close()
    print(f"kills {KILLS}, operations {operations}, under way {open_ones}")
    result.write("range-kills", kills=KILLS, acknowledged=operations, under_way=open_ones)
