"""What a resolution engine counted, for Prometheus; read when it is scraped, so that resolving costs nothing more."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from idnode.resolution.engine import Resolution


class ResolutionCollector(Collector):
    """The counters of one engine."""

    def __init__(self, resolution: Resolution) -> None:
        self._resolution = resolution

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client."""
        counters, upstream = self._resolution.counters, self._resolution.upstream.counters
        questions = CounterMetricFamily(
            "hdl_resolver_questions", "Questions about other servers' names.", labels=["how"]
        )
        for how, number in (
            ("cached", counters.hits),
            ("stale", counters.stale),
            ("failed", counters.failures),
            ("over_budget", counters.over_budget),
            ("all", counters.questions),
        ):
            questions.add_metric([how], number)
        yield questions
        sent = CounterMetricFamily("hdl_resolver_upstream", "Traffic with other servers.", labels=["what"])
        for what, number in (
            ("packets", upstream.packets),
            ("exchanges", upstream.exchanges),
            ("joined", upstream.joined),
            ("not_believed", upstream.refused),
        ):
            sent.add_metric([what], number)
        yield sent
        yield CounterMetricFamily("hdl_resolver_loops", "Walks that met a loop.", value=counters.loops)
        yield GaugeMetricFamily(
            "hdl_resolver_cache_bytes", "Octets of remembered records.", value=self._resolution.cache.octets
        )
