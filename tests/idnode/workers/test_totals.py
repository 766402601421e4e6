"""Counters of several processes, summed."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from idnode.metrics import Metrics
from idnode.workers.frames import pack, unpacker
from idnode.workers.totals import Total, counted
from tests.clients.node_process import parse_counters


def travelled(metrics: Metrics) -> list[object]:
    """As it arrives at the process that is asked."""
    values = unpacker()
    values.feed(pack(counted(metrics.registry)))
    found: list[object] = values.unpack()
    return found


def test_sums_are_sums_of_every_series() -> None:
    processes = [Metrics() for _ in range(3)]
    for number, each in enumerate(processes, 1):
        each.requests("udp", 1, 1, number)
        each.requests("tcp", 100, 1 if number == 1 else 402)
        each.seconds.labels("tcp", "admin").observe(0.002 * number)
        each.tcp_connections.set(number)
    registry = CollectorRegistry()
    registry.register(Total([travelled(each) for each in processes]))
    found = parse_counters(generate_latest(registry).decode()).values
    labels = (("code", "1"), ("op", "1"), ("transport", "udp"))
    assert found["hdl_requests_total", labels] == 6
    assert found["hdl_requests_total", (("code", "402"), ("op", "100"), ("transport", "tcp"))] == 2
    assert found["hdl_request_seconds_count", (("op", "admin"), ("transport", "tcp"))] == 3
    assert found["hdl_request_seconds_bucket", (("le", "0.005"), ("op", "admin"), ("transport", "tcp"))] == 2
    assert found["hdl_tcp_connections", ()] == 6
    assert found["hdl_processes", ()] == 3
    created = [parse_counters(each.exposition().decode()).values["hdl_requests_created", labels] for each in processes]
    assert found["hdl_requests_created", labels] == min(created)
