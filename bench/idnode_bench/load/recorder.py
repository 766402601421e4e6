"""What one phase counts: by send time, by kind of error, response and service times apart.

Times are kept for the open seconds only and then folded into histograms, so memory does not grow with a run.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from idnode_bench.histograms import Latencies
from idnode_bench.results import Second

LATE_AFTER_S: Final = 0.001
LOST: Final = "lost"
MISMATCH: Final = "mismatch"
RIGHT: Final = ""
"""Outcomes of a request beside the kinds of errors, which are free text."""

Server = Callable[[], tuple[float | None, int | None]]
"""Processor seconds used so far, and resident octets, of the server; None where nobody knows."""


class _Bin:
    """One second of intended send times."""

    __slots__ = ("achieved", "errors", "in_flight", "lag", "offered", "response", "server", "service")

    def __init__(self) -> None:
        self.offered = self.achieved = self.errors = self.in_flight = 0
        self.response, self.service, self.lag = array("d"), array("d"), array("d")
        self.server: tuple[float | None, int | None] = (None, None)


class Recorder:
    """Instants are seconds since the phase began."""

    def __init__(self, *, keep_s: float, is_open: bool, server: Server = lambda: (None, None)) -> None:
        self._keep = max(1, int(keep_s) + 2)
        self._is_open = is_open
        self._server = server
        self._bins: dict[int, _Bin] = {}
        self._series: list[Second] = []
        self._folded = 0
        self._ended = 0
        self._server_before = server()
        self.response, self.service, self.lag = Latencies(), Latencies(), Latencies()
        self.by_operation: dict[str, Latencies] = {}
        self.sent_by_operation: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.sent = self.received = self.lost = self.late = self.mismatched = self.dropped = self.unexpected = 0
        self.errors_without_answer = 0
        self.last_s = 0.0
        self.lag_max_s = 0.0

    @property
    def right(self) -> int:
        """Answers that were as they should be."""
        return self.received - self.mismatched - sum(self.errors.values()) + self.errors_without_answer

    def note_sent(self, intended_s: float, sent_s: float, operation: str) -> None:
        """A request left ``sent_s``; it was due ``intended_s``."""
        bin_ = self._bin(intended_s)
        bin_.offered += 1
        self.sent += 1
        self.sent_by_operation[operation] += 1
        if self._is_open:
            lag = sent_s - intended_s
            bin_.lag.append(lag)
            self.late += lag > LATE_AFTER_S
            self.lag_max_s = max(self.lag_max_s, lag)

    def note_dropped(self, intended_s: float) -> None:
        """It was due and could not be sent: too many are in flight."""
        self._bin(intended_s).offered += 1
        self.dropped += 1

    def note_done(
        self, intended_s: float, sent_s: float, now_s: float, operation: str, outcome: str, *, answered: bool = True
    ) -> None:
        """Its answer came (or, with ``answered`` False, will never come); ``outcome`` is RIGHT, MISMATCH, LOST or a
        kind of error."""
        bin_ = self._bin(intended_s)
        self.last_s = max(self.last_s, now_s)
        if outcome == LOST:
            self.lost += 1
            bin_.errors += 1
            return
        if not answered:
            self.errors[outcome] += 1
            self.errors_without_answer += 1
            bin_.errors += 1
            return
        self.received += 1
        if outcome == RIGHT:
            bin_.achieved += 1
        else:
            bin_.errors += 1
            if outcome == MISMATCH:
                self.mismatched += 1
            else:
                self.errors[outcome] += 1
        bin_.response.append(now_s - intended_s)
        bin_.service.append(now_s - sent_s)
        if operation:
            self._of(operation).add((now_s - intended_s) * 1e6)

    def turn(self, now_s: float, in_flight: int) -> None:
        """To be called often: ends the seconds that are over and folds the old ones."""
        second = int(now_s)
        if self._ended < second:
            bin_ = self._bin(self._ended + 0.5)
            bin_.in_flight, bin_.server = in_flight, self._server_since()
            self._ended = second
        while self._folded + self._keep < second:
            self._fold_next()

    def finish(self) -> tuple[Second, ...]:
        """Every second, folded."""
        while self._folded <= max(self._bins, default=-1):
            self._fold_next()
        return tuple(self._series)

    def operations(self) -> Mapping[str, Mapping[str, object]]:
        """By operation, when there is more than one."""
        if len(self.sent_by_operation) < 2:
            return {}
        return {
            name: {"sent": sent, "received": self._of(name).count, "response_us": self._of(name).percentiles()}
            for name, sent in sorted(self.sent_by_operation.items())
        }

    def _of(self, operation: str) -> Latencies:
        return self.by_operation.setdefault(operation, Latencies())

    def _bin(self, intended_s: float) -> _Bin:
        second = max(int(intended_s), self._folded)
        found = self._bins.get(second)
        if found is None:
            found = self._bins[second] = _Bin()
        return found

    def _server_since(self) -> tuple[float | None, int | None]:
        cpu, rss = self._server()
        before, self._server_before = self._server_before[0], (cpu, rss)
        return (None if cpu is None or before is None else cpu - before), rss

    def _fold_next(self) -> None:
        bin_ = self._bins.pop(self._folded, None) or _Bin()
        ordered = sorted(bin_.response)
        for values, into in ((bin_.response, self.response), (bin_.service, self.service), (bin_.lag, self.lag)):
            for us, count in Counter(round(value * 1e6) for value in values).items():
                into.add(us, count)
        self._series.append(
            Second(
                float(self._folded),
                bin_.offered,
                bin_.achieved,
                _at(ordered, 0.50),
                _at(ordered, 0.99),
                bin_.errors,
                bin_.in_flight,
                *bin_.server,
            )
        )
        self._folded += 1


def _at(ordered: list[float], share: float) -> float | None:
    """The percentile of sorted seconds, in microseconds."""
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e6, 1) if ordered else None
