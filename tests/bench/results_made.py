"""Results as a run would write them, with figures a test chooses."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from idnode_bench.histograms import Latencies
from idnode_bench.results import Health, PopulationFacts, Report, Run, Second


def made_run(target: str = "idnode", rate: float = 1000.0, records: int = 10**5, **changes: Any) -> Run:
    """One valid closed-loop run whose latencies follow its rate."""
    latencies, rng = Latencies(), Random(target)
    for _ in range(200):
        latencies.add(rng.lognormvariate(0, 0.5) * 1e6 / rate, 100)
    times = latencies.percentiles()
    fields: dict[str, Any] = {
        "target": target,
        "transport": "udp",
        "model": "closed",
        "phase": "measure",
        "offered_per_s": None,
        "achieved_per_s": rate,
        "sent": int(rate),
        "received": int(rate),
        "lost": 0,
        "late": 0,
        "errors": {},
        "mismatched": 0,
        "duration_s": 1.0,
        "response_us": times,
        "service_us": times,
        "histogram": latencies.encode(),
        "series": (Second(0.0, int(rate), int(rate), 10.0, 20.0), Second(1.0, int(rate), int(rate) - 1, 11.0, 25.0)),
        "population": PopulationFacts(records, "small", 1, "uniform"),
        "health": Health(),
    }
    return Run(**{**fields, **changes})


def made_report(rates: Sequence[float], report: str = "bench resolve", **changes: Any) -> Report:
    """One target, a round per rate."""
    rounds = tuple((made_run(rate=rate),) for rate in rates)
    fields = {"environment": {"fingerprint": "x"}, "command": ["idnode", "bench"], "rounds": rounds, "summary": {}}
    return Report(report, **{**fields, **changes})


def scale_run(engine: str, number: int, cost_us: float, *, is_range: bool = False, state: str = "warm") -> Run:
    """A run of a scale file that costs the server so much per answer."""
    stored, in_ranges = (1_000, number) if is_range else (number, 0)
    population = PopulationFacts(stored, "reference", 1, "uniform", range_registered=in_ranges)
    details = {"engine": engine, "state": state}
    return made_run(rate=1e6 / cost_us, population=population, details=details, server_cpu_share=1.0)


def scale_report(slope: float = 0.1, noise: float = 0.0) -> Report:
    """Sizes 10^6 to 10^8 on two engines whose cost grows by a known power, and 10^11 in ranges."""
    rng = Random(5)
    rounds = []
    for _ in range(5):
        runs = [
            scale_run(engine, 10**power, base * (10**power / 10**6) ** slope * (1 + noise * rng.uniform(-1, 1)))
            for engine, base in (("lmdb", 10.0), ("rocksdb", 20.0))
            for power in (6, 7, 8)
        ]
        rounds.append((*runs, scale_run("lmdb", 10**11, 15.0, is_range=True)))
    sizes = [
        {"engine": engine, "kind": "reference", "records": 10**power, "disk_octets": each * 10**power,
         "journal_octets": 10**power, "load_s": 10**power / 200_000, "reopen_s": 0.5, "rss_octets": 2**30}
        for engine, each in (("lmdb", 200), ("rocksdb", 80))
        for power in (6, 7, 8)
    ]  # fmt: skip
    return made_report((), "bench scale", rounds=tuple(rounds), summary={"sizes": sizes})
