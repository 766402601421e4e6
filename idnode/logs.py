"""The log: one JSON object per line (docs/logs.md). Every event a node writes stands in one table, with its level.

A node writes to the logger ``idnode`` of :mod:`logging`, so an embedding program decides where it goes; the command
line sends it to standard error with :func:`configure`. Whatever a peer sends cannot start a line of its own, is cut
after 256 characters, and cannot make the log grow faster than ten lines per second. Secrets are never given to the log.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import traceback
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TextIO

import structlog

from idnode.source import Source

NAME: Final = "idnode"
TEXT_CHARACTERS_MAX: Final = 256
TRACE_CHARACTERS_MAX: Final = 4_096
LINES_PER_S: Final = 8
"""Warnings and errors of all nodes' events per node; with ``FOREIGN_LINES_PER_S`` at most ten a second."""
LINES_PER_EVENT_PER_S: Final = 4
"""No kind of event, which strangers may provoke, keeps the others out."""
FOREIGN_LINES_PER_S: Final = 2
MASKS: Final = {4: 24, 6: 56}
"""Bits of an address that stay when clients are masked."""


class Event(NamedTuple):
    """How loud it is, and what it means."""

    level: int
    meaning: str


EVENTS: Final[dict[str, Event]] = {
    "start": Event(logging.INFO, "the node answers; `name`, `role`, `version`, `store`"),
    "listen": Event(logging.INFO, "a listener is open; `transport`, `address`"),
    "stop": Event(logging.INFO, "the node stopped after finishing what was under way; `name`"),
    "process": Event(logging.INFO, "a process of a node with workers answers; `process`, `pid`"),
    "process-lost": Event(logging.ERROR, "a process ended by itself and is started again; `process`, `status`"),
    "process-failed": Event(logging.ERROR, "a process cannot be started again and is tried later; `process`, `reason`"),
    "read-only": Event(logging.ERROR, "a write to the disk failed: no more are taken until a restart; `reason`"),
    "storage-full": Event(logging.ERROR, "the disk's reserve is reached: writes are refused until space is free"),
    "damaged-record": Event(
        logging.ERROR, "a stored record fails its checksum and is not served; run `idnode check`; `handle`"
    ),
    "auth-failure": Event(logging.WARNING, "a proof was refused; `client`, `transport`, `method`, `user`, `code`"),
    "mirror": Event(logging.INFO, "the mirror does something else, or waits; `state`, `reason`"),
    "stream-broken": Event(logging.WARNING, "a replication stream could not go on; the receiver asks again; `reason`"),
    "not-valid": Event(
        logging.WARNING, "a record of another server is not found valid; `handle`, `verdict`, `reason`, `withheld`"
    ),
    "ranges-left-out": Event(
        logging.WARNING,
        "a mirror of the reference's kind gets no ranges, but members with their own records; `dump`",
    ),
    "fault": Event(logging.ERROR, "a fault of this node, please report it; `where`, `trace`"),
    "foreign": Event(logging.WARNING, "a library's message; `logger`, `text`, `trace`"),
}
"""Every event there is. Each line has ``ts`` (UTC), ``level`` and ``event``; ``suppressed`` counts lines left out."""


class Limiter:
    """At most so many lines per second, in all and of each kind; counts what it keeps back."""

    def __init__(self, monotonic: Callable[[], float], lines_per_s: int, per_kind: int) -> None:
        self._monotonic = monotonic
        self._lines_per_s, self._per_kind = lines_per_s, per_kind
        self._since = 0.0
        self._written: dict[str, int] = {}
        self._kept_back: dict[str, int] = {}

    def admit(self, kind: str) -> int | None:
        """None = keep it back; else how many of its kind were kept back since the last line."""
        now = self._monotonic()
        if now - self._since >= 1:
            self._since = now
            self._written.clear()
        if sum(self._written.values()) >= self._lines_per_s or self._written.get(kind, 0) >= self._per_kind:
            self._kept_back[kind] = self._kept_back.get(kind, 0) + 1
            return None
        self._written[kind] = self._written.get(kind, 0) + 1
        return self._kept_back.pop(kind, 0)


def line(fields: MutableMapping[str, Any]) -> str:
    """One line of ASCII: line ends, escape sequences and odd octets of a peer stand in it as ``\\u....``."""
    return json.dumps(fields, default=str).replace("\x7f", "\\u007f")


def bounded(value: Any, characters_max: int = TEXT_CHARACTERS_MAX) -> Any:
    """Octets as text, text cut; numbers and the like as they are."""
    if isinstance(value, bytes):
        value = value[: characters_max + 1].decode("utf-8", "backslashreplace")
    if isinstance(value, str) and len(value) > characters_max:
        return value[:characters_max] + "…"
    return value


def trace_of(error: BaseException) -> str:
    """Where an error came from and its class, but not its message: that may quote values, and values may be secrets."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    kind = f"{type(error).__name__} {error.errno}" if isinstance(error, OSError) else type(error).__name__
    return bounded(" < ".join([kind, *reversed(frames)]), TRACE_CHARACTERS_MAX)  # type: ignore[no-any-return]


def stamp(seconds: float) -> str:
    """2026-01-31T23:59:59.123Z."""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _render(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> str:
    first = {name: fields.pop(name) for name in ("ts", "level", "event")}
    return line(first | {name: bounded(value, _limit(name)) for name, value in fields.items()})


def _limit(name: str) -> int:
    return TRACE_CHARACTERS_MAX if name == "trace" else TEXT_CHARACTERS_MAX


class NodeLog:
    """The log of one node. ``now`` and ``monotonic`` are its clocks, in seconds."""

    def __init__(self, now: Callable[[], float], monotonic: Callable[[], float], *, mask_clients: bool = False) -> None:
        self._now = now
        self._mask = mask_clients
        self._limiter = Limiter(monotonic, LINES_PER_S, LINES_PER_EVENT_PER_S)
        processors: list[Any] = [structlog.stdlib.filter_by_level, structlog.stdlib.add_log_level, _render]
        self._logger: Any = structlog.wrap_logger(
            logging.getLogger(NAME), processors=processors, wrapper_class=structlog.stdlib.BoundLogger
        )

    def write(self, event: str, **fields: Any) -> None:
        """Write an event of the table ``EVENTS``; warnings and errors within their rate."""
        level = EVENTS[event].level
        if level >= logging.WARNING:
            kept_back = self._limiter.admit(event)
            if kept_back is None:
                return
            if kept_back:
                fields["suppressed"] = kept_back
        self._logger.log(level, event, ts=stamp(self._now()), **fields)

    def fault(self, where: str, error: BaseException) -> None:
        """Something that must not happen happened."""
        self.write("fault", where=where, trace=trace_of(error))

    def auth_failure(self, source: Source, method: str, user: str, code: int) -> None:
        """A proof was refused."""
        client = self.client(source.address)
        self.write("auth-failure", client=client, transport=source.transport, method=method, user=user, code=int(code))

    def client(self, address: str) -> str:
        """An address as it may be written down."""
        if not self._mask:
            return address
        parsed = ipaddress.ip_address(address.partition("%")[0])
        return str(ipaddress.ip_network(f"{parsed}/{MASKS[parsed.version]}", strict=False))


class _Lines(logging.Formatter):
    """Our own lines as they are, everybody else's as the event ``foreign``."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name == NAME:
            return record.getMessage()
        fields = {
            "ts": stamp(record.created),
            "level": record.levelname.lower(),
            "event": "foreign",
            "logger": record.name,
            "text": bounded(record.getMessage()),
        }
        if record.exc_info and record.exc_info[1] is not None:
            fields["trace"] = trace_of(record.exc_info[1])
        return line(fields)


def handler_of(stream: TextIO, monotonic: Callable[[], float]) -> logging.Handler:
    """What writes lines to ``stream``; those of libraries within their rate."""
    limiter = Limiter(monotonic, FOREIGN_LINES_PER_S, FOREIGN_LINES_PER_S)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Lines())
    handler.addFilter(lambda record: record.name == NAME or limiter.admit(record.name) is not None)
    return handler


def configure(level: str, stream: TextIO, monotonic: Callable[[], float]) -> None:
    """Send the log of this process to ``stream``: events from ``level`` on, of libraries only their warnings."""
    logging.basicConfig(level=logging.WARNING, handlers=[handler_of(stream, monotonic)], force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a log that cannot be written must not write about it
    logging.getLogger(NAME).setLevel(level.upper())
