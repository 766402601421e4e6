"""``/metrics`` of a node of several processes: the sum of what each of them counted since it started.

Whichever process is asked, it asks the others. One that does not answer is left out, and ``hdl_processes`` says how
many are in; after a process died its counters begin at 0 again, as after a restart of a node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.samples import Sample

from idnode.adapters.clock import Clock
from idnode.adapters.errors import NobodyListens
from idnode.adapters.net import Net
from idnode.workers.door import ask_door
from idnode.workers.frames import Purpose

ANSWER_S: Final = 1.0
CREATED: Final = "_created"
"""End of the samples that say since when is counted; of those the earliest is shown, not the sum."""


def counted(registry: CollectorRegistry) -> list[Any]:
    """What a process counted, as values: name, help, type, samples of (name, labels, value)."""
    return [
        [
            metric.name,
            metric.documentation,
            metric.type,
            [[each.name, each.labels, each.value] for each in metric.samples],
        ]
        for metric in registry.collect()
    ]


class Total:
    """A collector of the sums."""

    def __init__(self, parts: Iterable[Sequence[Any]]) -> None:
        self._parts = list(parts)

    def collect(self) -> Iterator[Metric]:
        heads: dict[str, tuple[str, str]] = {}
        sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for part in self._parts:
            for name, text, kind, samples in part:
                heads.setdefault(name, (text, kind))
                mine = sums.setdefault(name, {})
                for sample, labels, value in samples:
                    key = sample, tuple(sorted(labels.items()))
                    known = mine.get(key)
                    if known is None:
                        mine[key] = value
                    else:
                        mine[key] = min(known, value) if sample.endswith(CREATED) else known + value
        for name, (text, kind) in heads.items():
            metric = Metric(name, text, kind)
            metric.samples = [Sample(sample, dict(labels), value) for (sample, labels), value in sums[name].items()]
            yield metric
        processes = Metric("hdl_processes", "Processes of the node whose counters are summed here.", "gauge")
        processes.add_sample("hdl_processes", {}, len(self._parts))
        yield processes


async def _ask(net: Net, clock: Clock, path: str) -> list[Any] | None:
    try:
        async with clock.timeout(ANSWER_S):
            found: list[Any] = await ask_door(net, path, Purpose.METRICS)
            return found
    except (NobodyListens, TimeoutError):
        return None


async def exposition(net: Net, clock: Clock, own: CollectorRegistry, others: Iterable[str]) -> bytes:
    """The Prometheus text of this process and of those behind the doors ``others``."""
    asked = await asyncio.gather(*(_ask(net, clock, path) for path in others))
    total = CollectorRegistry()
    total.register(Total([counted(own), *(part for part in asked if part is not None)]))
    return generate_latest(total)
