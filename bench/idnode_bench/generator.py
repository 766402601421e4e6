"""Generators: the C one where it can be compiled, else one in Python that does the same with the node's own sockets."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from select import select
from typing import Any

from hdrh.histogram import HdrHistogram

from idnode.adapters.net import BATCH, Datagram, Net
from idnode.adapters.peers import peer_raw
from idnode_bench.errors import BenchError, NoAnswer
from idnode_bench.machine import elapsed_ns
from idnode_bench.messages import AnswerStyle, reply_octets, request_id_of, request_octets, style_of, without_volatile
from idnode_bench.population import BenchRecord
from idnode_bench.target import Target

PERCENTILES = {"p50": 50.0, "p75": 75.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9, "p99.99": 99.99}
_SAMPLES_MIN = {"p99": 1_000, "p99.9": 10_000, "p99.99": 100_000}
"""A percentile from fewer samples is an accident, so it is not reported."""
_LOST_AFTER_NS = 1_000_000_000
_LATENCY_NS_MAX = 60_000_000_000
_WARM_PASS_S = 60.0
_PROBE_TRIES = 3
_NO_ANSWER_STATUS = 3


@dataclass(frozen=True, slots=True)
class Load:
    """A closed loop of ``window`` requests for ``seconds``; ``warm_pass`` asks every handle once before the warm-up."""

    seconds: float = 3.0
    window: int = 256
    warmup_s: float = 0.3
    warm_pass: bool = False
    seed: int = 1
    core: int | None = None


def run_c(program: Path, population_file: Path, target: Target, load: Load) -> dict[str, Any]:
    """One run of the C generator: the JSON it prints. Raises NoAnswer, or BenchError if it failed."""
    options = {
        "--population": population_file,
        "--address": target.host,
        "--port": target.port,
        "--seconds": load.seconds,
        "--warmup": load.warmup_s,
        "--warm-pass": int(load.warm_pass),
        "--window": load.window,
        "--seed": load.seed,
        "--cpu": -1 if load.core is None else load.core,
    }
    command = [str(program), *(str(part) for pair in options.items() for part in pair)]
    limit_s = load.seconds + load.warmup_s + _WARM_PASS_S + 30
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    if done.returncode == _NO_ANSWER_STATUS:
        raise NoAnswer(f"{target.name} at {target.host}:{target.port}: {done.stderr.strip()}")
    if done.returncode:
        raise BenchError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@dataclass(slots=True)
class _Tally:
    """What one phase counts; ``last_ns`` is when its last reply came."""

    last_ns: int
    sent: int = 0
    received: int = 0
    mismatched: int = 0
    lost: int = 0
    unexpected: int = 0
    histogram: HdrHistogram = field(default_factory=lambda: HdrHistogram(1, _LATENCY_NS_MAX, 3))


class PythonGenerator:
    """The fallback. It is slower than a good server: its figure is a lower bound, and the report says so."""

    def __init__(self, net: Net, records: Sequence[BenchRecord], target: Target, load: Load) -> None:
        self._records, self._load, self._target = records, load, target
        self._socket = net.udp_bind("::1" if ":" in target.host else "127.0.0.1", 0)
        self._peer = peer_raw(target.host, target.port)
        self._state = load.seed * 0x9E3779B97F4A7C15 % 2**64 | 1
        self._next_id = 0
        # A quarter of the window at once: a lost request must not hold back all others until it is given up.
        self._batch = max(1, min(BATCH, load.window // 4))
        self._style = AnswerStyle()
        self._waiting: dict[int, tuple[int, int]] = {}

    def run(self) -> dict[str, Any]:
        """The keys that the C generator prints, as far as it has them. Raises NoAnswer."""
        try:
            self._style = self._learn_style()
            if self._load.warm_pass:
                self._phase(_WARM_PASS_S, iter(range(len(self._records))))
            self._phase(self._load.warmup_s, self._draw())
            started = elapsed_ns()
            return self._result(started, self._phase(self._load.seconds, self._draw()))
        finally:
            self._socket.close()

    def _learn_style(self) -> AnswerStyle:
        record = self._records[0]
        for _ in range(_PROBE_TRIES):
            self._socket.send_batch([(request_octets(record.handle, 0x7FFFFFFF), self._peer)])
            for reply, _peer in self._receive(1.0):
                style = style_of(reply) if request_id_of(reply) == 0x7FFFFFFF else AnswerStyle()
                if without_volatile(reply) == reply_octets(record, style):
                    return style
                raise NoAnswer(f"{self._target.name} gave a wrong answer to {record.handle.decode()}: {reply.hex()}")
        raise NoAnswer(f"{self._target.name} at {self._target.host}:{self._target.port}: no answer")

    def _receive(self, within_s: float) -> list[Datagram]:
        select([self._socket.fileno()], [], [], within_s)
        return self._socket.receive_batch()

    def _draw(self) -> Iterator[int]:
        while True:
            self._state = (self._state * 6364136223846793005 + 1442695040888963407) % 2**64
            yield (self._state >> 33) * len(self._records) >> 31

    def _phase(self, seconds: float, keys: Iterator[int]) -> _Tally:
        """Keeps the window full until the time is over or the keys are, then waits for what is out."""
        tally = _Tally(elapsed_ns())
        end = tally.last_ns + int(seconds * 1e9)
        more = True
        while more or self._waiting:
            more = more and elapsed_ns() < end
            if more and self._load.window - len(self._waiting) >= self._batch:
                more = self._send(keys, tally)
            for reply, _peer in self._receive(0.05):
                self._take(reply, tally)
            if self._waiting:
                self._give_up(tally)
        return tally

    def _send(self, keys: Iterator[int], tally: _Tally) -> bool:
        """One batch; False when the keys have run out."""
        batch: list[Datagram] = []
        now = elapsed_ns()
        for key in keys:
            self._next_id = self._next_id % 0x7FFFFFFE + 1
            self._waiting[self._next_id] = (key, now)
            batch.append((request_octets(self._records[key].handle, self._next_id), self._peer))
            if len(batch) == self._batch:
                break
        self._socket.send_batch(batch)
        tally.sent += len(batch)
        return bool(batch)

    def _take(self, reply: bytes, tally: _Tally) -> None:
        asked = self._waiting.pop(request_id_of(reply), None)
        if asked is None:
            tally.unexpected += 1
            return
        key, sent_at = asked
        tally.received += 1
        tally.mismatched += without_volatile(reply) != reply_octets(self._records[key], self._style)
        tally.last_ns = elapsed_ns()
        tally.histogram.record_value(tally.last_ns - sent_at)

    def _give_up(self, tally: _Tally) -> None:
        """Ids grow with time, so the oldest come first."""
        oldest = elapsed_ns() - _LOST_AFTER_NS
        for number, (_, sent_at) in list(self._waiting.items())[:1]:
            if sent_at < oldest:
                del self._waiting[number]
                tally.lost += 1

    def _result(self, started_ns: int, tally: _Tally) -> dict[str, Any]:
        seconds = (tally.last_ns - started_ns) / 1e9
        latency = {
            name: tally.histogram.get_value_at_percentile(percent) / 1e3
            for name, percent in PERCENTILES.items()
            if tally.received >= _SAMPLES_MIN.get(name, 1)
        }
        return {
            "generator": "python",
            "response_flags": self._style.flags,
            **{name: getattr(tally, name) for name in ("sent", "received", "mismatched", "lost", "unexpected")},
            "duration_s": seconds,
            "rate_per_s": tally.received / seconds if seconds > 0 else 0.0,
            "latency_us": {**latency, "max": tally.histogram.get_max_value() / 1e3},
        }
