"""The ruler of the client tests: reading counters and telling two readings apart."""

from __future__ import annotations

from tests.clients.node_process import parse_counters

EARLIER = """# HELP hdl_requests_total Answered requests.
# TYPE hdl_requests_total counter
hdl_requests_total{transport="udp",op="1",code="1"} 3.0
hdl_requests_total{code="100",op="1",transport="tcp"} 1.0
hdl_inflight 0.0
"""
LATER = """hdl_requests_total{transport="udp",op="1",code="1"} 5.0
hdl_requests_total{transport="tcp",op="1",code="100"} 1.0
hdl_requests_total{transport="http",op="200",code="403"} 1.0
hdl_inflight 0.0
"""


def test_difference_holds_only_what_changed() -> None:
    delta = parse_counters(LATER) - parse_counters(EARLIER)
    assert delta.lines() == [
        "hdl_requests_total{'code': '1', 'op': '1', 'transport': 'udp'} 2",
        "hdl_requests_total{'code': '403', 'op': '200', 'transport': 'http'} 1",
    ]


def test_totals_select_by_labels_in_any_order() -> None:
    counters = parse_counters(LATER)
    assert counters.total("hdl_requests_total") == 7
    assert counters.total("hdl_requests_total", op="1") == 6
    assert counters.total("hdl_requests_total", op="1", transport="tcp", code="100") == 1
    assert counters.total("hdl_requests_total", op="105") == 0
    assert counters.total("no_such_counter") == 0


def test_label_values_show_every_transport_that_was_used() -> None:
    used = parse_counters(LATER).label_values("hdl_requests_total", "transport")
    assert used == {"udp": 5, "tcp": 1, "http": 1}
