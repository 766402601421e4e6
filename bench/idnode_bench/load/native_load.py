"""The generator in C: UDP at rates no Python reaches. What it prints becomes a run like any other."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from idnode_bench.errors import BenchError, NoAnswer
from idnode_bench.histograms import Latencies
from idnode_bench.load.health import Subject, judged
from idnode_bench.load.recorder import Server
from idnode_bench.machine import elapsed_s
from idnode_bench.results import Health, Run, Second
from idnode_bench.targets.addresses import Target

MODELS: Final = frozenset({"closed", "constant", "poisson"})
_WARM_PASS_S: Final = 600.0
_NO_ANSWER_STATUS: Final = 3
_SAMPLE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class NativeLoad:
    """How to run it: the program, the rows, and whether their order is that of the requests (else uniform)."""

    program: Path
    rows: Path
    file_order: bool = False
    warm_pass: bool = False
    warmup_s: float = 0.3
    core: int | None = None
    count: int = 0
    """Requests; 0 = as many as the time allows."""
    protocol: str = "handle"
    """``dns`` asks for A records (bench/peers/c_load/dns.h)."""


def compact(program: Path, rows: Iterable[bytes], into: Path) -> None:
    """Write the rows of a population file with hashes in the place of values: 10^7 keys in bounded memory.

    Raises :class:`BenchError`.
    """
    process = subprocess.Popen([str(program), "--compact", str(into)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        for piece in rows:
            process.stdin.write(piece)
        process.stdin.close()
    except BrokenPipeError:
        pass  # its own words and its status say why
    said = process.stderr.read().decode("utf-8", "replace").strip()
    process.stderr.close()
    if process.wait():
        raise BenchError(f"{program} --compact {into} failed: {said}")


def run_native(
    load: NativeLoad,
    target: Target,
    subject: Subject,
    server: Server = lambda: (None, None),
    tick: Callable[[float], None] = lambda _second: None,
) -> Run:
    """One run, judged. Raises :class:`NoAnswer`, or :class:`BenchError` when the program failed."""
    command = _command(load, target, subject)
    limit_s = subject.schedule.seconds + load.warmup_s + subject.schedule.lost_after_s + 30
    # Unbuffered, or the first line's reader would swallow the result of a run that is over already.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # MEASURING, or nothing when it failed
        before, started = server()[0], elapsed_s()
        out, err, samples = _sampled(process, limit_s, server, tick)
        after, took = server()[0], elapsed_s() - started
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if process.returncode == _NO_ANSWER_STATUS:
        raise NoAnswer(f"{target.name} at {target}: {err.strip()}")
    if process.returncode:
        raise BenchError(f"{' '.join(command)} failed: {err.strip()}")
    share = None if before is None or after is None else (after - before) / took
    return _run_of(json.loads(out), subject, samples, share)


def _command(load: NativeLoad, target: Target, subject: Subject) -> list[str]:
    schedule = subject.schedule
    options = {
        "--population": load.rows,
        "--address": target.host,
        "--port": target.port,
        "--model": schedule.model,
        "--rate": schedule.rate_per_s or 0,
        "--seconds": schedule.seconds,
        "--count": load.count,
        "--warmup": load.warmup_s,
        "--warm-pass": int(load.warm_pass),
        "--window": schedule.window,
        "--order": "file" if load.file_order else "uniform",
        "--seed": subject.seed,
        "--lost-after": schedule.lost_after_s,
        "--protocol": load.protocol,
        "--cpu": -1 if load.core is None else load.core,
    }
    return [str(load.program), *(str(part) for pair in options.items() for part in pair)]


def _sampled(
    process: subprocess.Popen[bytes], limit_s: float, server: Server, tick: Callable[[float], None]
) -> tuple[str, str, list[tuple[float | None, int | None]]]:
    """Its output, and what the server used in each second meanwhile."""
    samples: list[tuple[float | None, int | None]] = []
    before = server()[0]
    while len(samples) * _SAMPLE_S < limit_s:
        try:
            out, err = process.communicate(timeout=_SAMPLE_S)
        except subprocess.TimeoutExpired:
            cpu, rss = server()
            samples.append((None if cpu is None or before is None else cpu - before, rss))
            before = cpu
            tick(len(samples) * _SAMPLE_S)
        else:
            return out.decode(), err.decode("utf-8", "replace"), samples
    raise BenchError(f"the generator did not end within {limit_s:g} s")


def _run_of(
    found: Mapping[str, Any], subject: Subject, samples: list[tuple[float | None, int | None]], share: float | None
) -> Run:
    schedule, seconds = subject.schedule, found["duration_s"]
    response, lag = Latencies.of_buckets(found["response"]), Latencies.of_buckets(found["lag"])
    service = Latencies.of_buckets(found["service"])
    length = max(seconds, schedule.seconds) if schedule.is_open else seconds
    run = Run(
        target=subject.target,
        transport=subject.transport,
        model=schedule.model,
        phase=subject.phase,
        offered_per_s=schedule.offered_per_s,
        achieved_per_s=found["right"] / length if length > 0 else 0.0,
        sent=found["sent"],
        received=found["received"],
        lost=found["lost"],
        late=found["late"],
        errors={f"RC {code}": count for code, count in found["codes"].items()},
        mismatched=found["mismatched"],
        duration_s=length,
        response_us=response.percentiles(),
        service_us=service.percentiles(),
        histogram=response.encode(),
        series=_series(found["series"], samples),
        population=subject.population,
        health=Health(
            lag_p99_us=lag.at(99.0) if lag.count else None,
            lag_max_us=found["lag_max"] / 1e3 if lag.count else None,
            dropped=found["dropped"],
            cpu_share=found["cpu_s"] / length if length > 0 else None,
            shares_cores=subject.shares_cores,
        ),
        generator="c",
        window=schedule.window,
        unexpected=found["unexpected"],
        sequence_hash=found["sequence_hash"],
        server_cpu_share=share,
        generator_cpu_s=found["cpu_s"],
        seed=subject.seed,
        details={"response_flags": found["response_flags"], "warm_up": found["warm_up"]},
    )
    return judged(run)


def _series(rows: list[list[Any]], samples: list[tuple[float | None, int | None]]) -> tuple[Second, ...]:
    return tuple(
        Second(
            float(number),
            offered,
            achieved,
            p50,
            p99,
            errors,
            in_flight,
            *(samples[number] if number < len(samples) else (None, None)),
        )
        for number, (offered, achieved, p50, p99, errors, in_flight) in enumerate(rows)
    )
