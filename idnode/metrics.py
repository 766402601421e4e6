"""What a node counts, in Prometheus form. No label carries a handle, prefix or address: the series stay few."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from idnode_protocol.codes import OpCode, ResponseCode
from idnode_registry.trust.verdicts import Outcome

_KNOWN_OPCODES: Final = frozenset(int(code) for code in OpCode)
_KNOWN_CODES: Final = frozenset(int(code) for code in ResponseCode)
_SECONDS: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


class Metrics:
    """Counters of one node, in a registry of its own so that many nodes live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._counter("hdl_requests", "Answered requests.", ("transport", "op", "code"))
        self._sessions = self._counter(
            "hdl_session_requests", "Requests that carried a live session.", ("transport", "op", "encrypted")
        )
        self._auth = self._counter("hdl_auth", "Proofs of identity.", ("method", "result"))
        self._shed = self._counter("hdl_shed", "Requests refused or dropped to protect the node.", ("reason",))
        self._udp_octets = self._counter("hdl_udp_bytes", "Octets of datagrams.", ("dir",))
        self._fragments = self._counter(
            "hdl_udp_fragments", "Datagrams that did not make a message whole, kept for others or dropped.", ()
        )
        self._cache = {
            result: self._counter(f"hdl_cache_{result}", f"Answer cache {result}.", ())
            for result in ("hits", "misses", "dropped")
        }
        self._verdicts = self._counter("hdl_verdicts", "Verdicts on the signatures of records.", ("verdict",))
        self._withheld = self._counter(
            "hdl_withheld", "Answers withheld, their record not being valid; without repeated ones.", ()
        )
        self.seconds = Histogram(
            "hdl_request_seconds",
            "Time from a whole request to its reply, general path.",
            ("transport", "op"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.inflight = Gauge("hdl_inflight", "Requests being worked on.", registry=self.registry)
        self.tcp_connections = Gauge("hdl_tcp_connections", "Open TCP connections.", registry=self.registry)
        self.http_connections = Gauge("hdl_http_connections", "Open HTTP connections.", registry=self.registry)
        self.tcp_closed = self._counter("hdl_tcp_closed", "Closed TCP connections.", ("reason",))
        self._request_children: dict[tuple[str, int, int], Counter] = {}

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def requests(self, transport: str, opcode: int, code: int, number: int = 1) -> None:
        """Count answered requests; unknown opcodes and codes share the label ``other``."""
        key = (transport, opcode, code)
        child = self._request_children.get(key)
        if child is None:
            op = str(int(opcode)) if opcode in _KNOWN_OPCODES else "other"
            result = str(int(code)) if code in _KNOWN_CODES else "other"
            child = self._requests.labels(transport, op, result)
            if op != "other" and result != "other":
                self._request_children[key] = child
        child.inc(number)

    def session_requests(self, transport: str, opcode: int, *, encrypted: bool) -> None:
        op = str(int(opcode)) if opcode in _KNOWN_OPCODES else "other"
        self._sessions.labels(transport, op, "yes" if encrypted else "no").inc()

    def auth(self, method: str, result: str) -> None:
        """Count a proof; ``method`` and ``result`` come from our own short lists, never from the peer."""
        self._auth.labels(method, result).inc()

    def shed(self, reason: str, number: int = 1) -> None:
        self._shed.labels(reason).inc(number)

    def udp_octets(self, direction: str, number: int) -> None:
        """``direction`` is ``in`` or ``out``."""
        self._udp_octets.labels(direction).inc(number)

    def fragment(self) -> None:
        """A datagram that is part of a message, or pretends to be, and did not complete it."""
        self._fragments.inc()

    def cache(self, result: str, number: int = 1) -> None:
        """``result`` is ``hits``, ``misses`` or ``dropped``."""
        self._cache[result].inc(number)

    def verdict(self, outcome: Outcome) -> None:
        """A record's signatures were judged."""
        self._verdicts.labels(outcome.value.replace(" ", "_")).inc()

    def withheld(self) -> None:
        """An answer was not given because its record was not found valid."""
        self._withheld.inc()

    def exposition(self) -> bytes:
        """The Prometheus text form."""
        return generate_latest(self.registry)
