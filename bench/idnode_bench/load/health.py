"""From what was counted to a run that says whether it may be believed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from idnode_bench.load.recorder import Recorder
from idnode_bench.load.schedule import Schedule
from idnode_bench.results import Health, Phase, PopulationFacts, Run

LOST_SHARE_MAX: Final = 0.001
ERROR_SHARE_MAX: Final = 0.001
LAG_US_MAX: Final = 1_000.0
LAG_SHARE_MAX: Final = 0.1
"""Of the median response: a lag below it does not change what is said."""
BUSY_SHARE_MIN: Final = 0.8
"""Below this share of one processor the server was waiting for the generator, so a closed loop's rate is the
generator's."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a run was about: everything that is known before it."""

    target: str
    transport: str
    phase: Phase
    population: PopulationFacts
    schedule: Schedule
    seed: int
    shares_cores: bool = False


def run_of(
    subject: Subject,
    recorder: Recorder,
    sequence_hash: str,
    *,
    generator_cpu_s: float | None = None,
    server_cpu_share: float | None = None,
    details: dict[str, Any] | None = None,
) -> Run:
    """The run of a phase of the Python engine, judged."""
    series = recorder.finish()
    schedule = subject.schedule
    seconds = max(recorder.last_s, schedule.seconds if schedule.is_open else 0.0)
    response = recorder.response.percentiles()
    service = recorder.service.percentiles()
    lag = recorder.lag
    cpu_share = generator_cpu_s / seconds if generator_cpu_s is not None and seconds > 0 else None
    health = Health(
        lag_p99_us=lag.at(99.0) if lag.count else None,
        lag_max_us=recorder.lag_max_s * 1e6 if lag.count else None,
        dropped=recorder.dropped,
        cpu_share=cpu_share,
        shares_cores=subject.shares_cores,
    )
    return judged(
        Run(
            target=subject.target,
            transport=subject.transport,
            model=schedule.model,
            phase=subject.phase,
            offered_per_s=schedule.offered_per_s,
            achieved_per_s=recorder.right / seconds if seconds > 0 else 0.0,
            sent=recorder.sent,
            received=recorder.received,
            lost=recorder.lost,
            late=recorder.late,
            errors=dict(recorder.errors),
            mismatched=recorder.mismatched,
            duration_s=seconds,
            response_us=response,
            service_us=service,
            histogram=recorder.response.encode(),
            series=series,
            population=subject.population,
            health=health,
            window=schedule.window,
            unexpected=recorder.unexpected,
            operations=recorder.operations(),
            sequence_hash=sequence_hash,
            server_cpu_share=server_cpu_share,
            generator_cpu_s=generator_cpu_s,
            seed=subject.seed,
            details=details or {},
        )
    )


def judged(run: Run) -> Run:
    """The run with its faults."""
    return replace(run, faults=faults_of(run))


def faults_of(run: Run) -> tuple[str, ...]:
    """Why this run must not be believed; empty if it may. Losses of an overload are its subject, no fault."""
    found = []
    if run.received == 0:
        found.append("nothing was answered")
    if run.mismatched:
        found.append(f"{run.mismatched} replies differ from the population")
    if run.sent and run.lost / run.sent > LOST_SHARE_MAX and run.phase not in ("overload", "search", "recovery"):
        found.append(f"{run.lost} of {run.sent} requests lost")
    errors = sum(run.errors.values())
    if run.sent and errors / run.sent > ERROR_SHARE_MAX and run.phase in ("measure", "hold"):
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(run.errors.items()))
        found.append(f"{errors} of {run.sent} requests ended in errors: {kinds}")
    found += generator_faults(run)
    starved = run.server_cpu_share is not None and run.server_cpu_share < BUSY_SHARE_MIN
    if run.model == "closed" and starved and not run.details.get("waits_for_disk"):
        share = f"{run.server_cpu_share:.0%}"
        found.append(f"the server got or used only {share} of a processor: the generator or a neighbour was the limit")
    return tuple(found)


def generator_faults(run: Run) -> list[str]:
    """Where the generator was at fault: it did not send what it was asked to when it was asked to."""
    found = []
    health = run.health
    if health.dropped and run.phase != "overload":
        found.append(f"{health.dropped} requests were due and not sent, with {run.window} in flight")
    median = run.response_us.get("p50") or 0.0
    lag = health.lag_p99_us
    if lag is not None and lag > max(LAG_US_MAX, LAG_SHARE_MAX * median):
        found.append(f"the generator fell behind its schedule: p99 of the lag {lag:,.0f} us")
    return found
