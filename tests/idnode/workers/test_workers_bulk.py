"""Resolution beside a bulk load at full speed in the registry process: p50 is at most 1.5 times what it is without.

Windows with and without the load take turns in one run, and medians are compared, so that what else the machine does
meets both. Every load tells all resolvers to forget everything, which is the worst that writing can do to them.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from tests.campaigns.results import RESULTS, Result
from tests.idnode.workers.several import FAST, SMALL, Datagrams, code_of, question, several, with_module

WINDOWS = {"test": 1, "prove": 15}
WINDOW_S = 2.0
PAUSE_S = 0.002
RATIO_MAX = 1.5
WORKERS = 2

pytestmark = [pytest.mark.serial, pytest.mark.grows, pytest.mark.timeout(600)]


def window(asked: Datagrams, seconds: float) -> list[float]:
    """How long answers took, in seconds, asked one at a time with a pause between two."""
    samples: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        place = len(samples) % len(asked.sockets)
        began = time.perf_counter()
        answer = asked.ask(place, question(SMALL, len(samples) + 1))
        samples.append(time.perf_counter() - began)
        assert code_of(answer) == 1
        time.sleep(PAUSE_S)
    return samples


def test_resolution_beside_a_bulk_load(tmp_path: Path, seed: int, campaign: str) -> None:
    result = Result(RESULTS if campaign == "prove" else None, seed)
    alone: list[float] = []
    beside: list[float] = []
    flag, loaded = tmp_path / "node" / "bulk", tmp_path / "node" / "loaded"
    program = with_module("tests.idnode.workers.bulk_inside")
    with several(tmp_path, FAST, workers=WORKERS, program=program) as node, Datagrams(node.native, 8) as asked:
        window(asked, 0.5)
        for _ in range(WINDOWS.get(campaign, WINDOWS["test"])):
            alone += window(asked, WINDOW_S)
            flag.touch()
            beside += window(asked, WINDOW_S)
            flag.unlink()
    records = int(loaded.read_text())
    medians_us = [round(1e6 * statistics.median(each), 1) for each in (alone, beside)]
    ratio = medians_us[1] / medians_us[0]
    print(f"p50 {medians_us[0]} us alone, {medians_us[1]} us beside {records} records loaded: ratio {ratio:.2f}")
    result.write(
        "workers-bulk",
        workers=WORKERS,
        p50_alone_us=medians_us[0],
        p50_beside_us=medians_us[1],
        ratio=round(ratio, 3),
        samples=[len(alone), len(beside)],
        records_loaded=records,
    )
    assert records > 0
    if campaign == "prove":  # two seconds say that it works, not how fast
        assert ratio <= RATIO_MAX
