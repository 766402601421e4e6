"""Where a target is: an address somebody gave, loopback only unless it is said to be one's own."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal
from urllib.parse import urlsplit

from idnode_bench.errors import BenchError, NotLoopback

Transport = Literal["udp", "tcp", "http", "https", "in-process"]
TRANSPORTS: Final[tuple[Transport, ...]] = ("udp", "tcp", "http", "https", "in-process")


@dataclass(frozen=True, slots=True)
class Target:
    """An address and how to talk to it. ``pid`` is known for servers the harness started: what they use is read
    from it."""

    name: str
    transport: Transport
    host: str
    port: int
    pid: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}://{host}:{self.port}"


def parse_target(text: str, own_host: bool = False) -> Target:
    """``udp://host:port``, ``tcp://``, ``http://``, ``https://``. Raises :class:`NotLoopback` for other machines
    unless ``own_host``, and :class:`BenchError`."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        port, parts = None, urlsplit("")
    if parts.scheme not in ("udp", "tcp", "http", "https") or not parts.hostname or not port:
        raise BenchError(f"{text!r} is no target: write udp://host:port, or tcp, http, https")
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        raise BenchError(f"{host!r} is not an address: a benchmark does not resolve names") from None
    if not loopback and not own_host:
        raise NotLoopback(f"{host} is not this machine: add --i-own-this-host if it is yours to load")
    return Target("target", parts.scheme, host, port)  # type: ignore[arg-type]  # one of four, seen above
