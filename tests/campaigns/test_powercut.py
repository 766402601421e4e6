"""No acknowledged write is lost when the power goes; without fsync some are, so the harness can tell the difference."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from random import Random
from types import ModuleType
from typing import Any

import pytest

from tests.campaigns.results import Result

CYCLES = int(os.environ.get("IDNODE_POWERCUT_CYCLES") or {"prove": 200}.get(os.environ.get("IDNODE_CAMPAIGN", ""), 4))

pytestmark = [pytest.mark.serial, pytest.mark.timeout(60 + 60 * CYCLES)]


@pytest.fixture(scope="module")
def cuts(
    powercut: ModuleType, tmp_path_factory: pytest.TempPathFactory, seed: int, campaign: str
) -> dict[bool, list[Any]]:
    """The cycles with fsync (True) and without (False), each on a machine of its own, side by side."""
    folder, result = tmp_path_factory.mktemp("powercut"), Result.of(campaign, seed)

    def run(fsync: bool) -> list[Any]:
        machine = powercut.PowerCut(folder / str(fsync), fsync=fsync, random=Random(seed * 2 + fsync))
        return [machine.cycle() for _ in range(CYCLES)]

    with ThreadPoolExecutor(2) as pool:
        done = dict(zip((True, False), pool.map(run, (True, False)), strict=True))
    result.write("powercut", cycles=CYCLES, fsync_on=counts(done[True]), fsync_off=counts(done[False]))
    return done


def counts(cuts: list[Any]) -> dict[str, int]:
    """What a result file says of the cycles with or without fsync."""
    return {
        "cuts_that_lost": sum(bool(cut.lost) for cut in cuts),
        "cuts_with_wrong_records": sum(bool(cut.wrong) for cut in cuts),
        "cuts_with_damage": sum(bool(cut.problems or cut.error) for cut in cuts),
        "lost": sum(len(cut.lost) for cut in cuts),
        "acknowledged_before_the_last_cut": len(cuts[-1].acknowledged),
    }


def show(cuts: list[Any], mode: str) -> None:
    for number, cut in enumerate(cuts, 1):
        print(f"cycle {number} of {CYCLES}, fsync {mode}: {cut}")


def test_fsync_on_loses_nothing(cuts: dict[bool, list[Any]]) -> None:
    show(cuts[True], "on")
    assert [(len(cut.lost), cut.wrong, cut.problems, cut.error) for cut in cuts[True]] == [(0, (), (), None)] * CYCLES


def test_fsync_off_loses(cuts: dict[bool, list[Any]]) -> None:
    show(cuts[False], "off")
    assert sum(bool(cut.lost) for cut in cuts[False]) * 4 >= CYCLES * 3, "a cut that loses nothing proves nothing"


def test_ranges_read_back(powercut: ModuleType) -> None:
    assert powercut.numbers("1-3,7") == [1, 2, 3, 7]
    assert powercut.numbers("") == []
    with pytest.raises(powercut.PowerCutFailed, match="apt-get install some-package"):
        powercut.program("no-such-program", "some-package")
