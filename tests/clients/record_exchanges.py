"""Record what the reference's Java client and a node say to each other, octet for octet, as fixtures and fuzz seeds.

Run from the repository's root: ``python -m tests.clients.record_exchanges [--out FILE]``. A node is started, a
forwarding proxy is put before its UDP, TCP and HTTP ports, and the client gets a copy of the client-config folder in
which the ports are the proxy's. Key material in the file belongs to a node that no longer exists.
"""

from __future__ import annotations

import argparse
import json
import select
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.clients.java_cells import Json, request_values, text_value
from tests.clients.java_client import CLIENT_VERSION, JavaClient, build, started_client
from tests.clients.node_process import RunningNode, started_node

ROOT = Path(__file__).parents[2]
DEFAULT_OUT = ROOT / "tests" / "vectors" / "java_exchanges.json"
TRANSPORTS = ("udp", "tcp", "http")
LOOPBACK = "127.0.0.1"
DATAGRAM_MAX = 65_536
CONNECTION_IDLE_S = 30.0
SETTLE_S = 5.0
LOOK_S = 0.2


@dataclass(slots=True)
class Conversation:
    """One TCP connection, or all datagrams from one client port: (direction, octets) in order of arrival."""

    transport: str
    parts: list[tuple[str, bytes]] = field(default_factory=list)

    def add(self, direction: str, octets: bytes) -> None:
        """Datagrams stay apart; the pieces of a stream are joined as long as the direction does not change."""
        if self.transport != "udp" and self.parts and self.parts[-1][0] == direction:
            octets = self.parts.pop()[1] + octets
        self.parts.append((direction, octets))

    def as_json(self) -> Json:
        return {"transport": self.transport, "parts": [{"from": d, "octets": o.hex()} for d, o in self.parts]}


class Tape:
    """Conversations since the last `cut`; the proxies' threads write, the driver reads."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._conversations: list[Conversation] = []
        self._open = 0

    def start(self, transport: str) -> Conversation:
        conversation = Conversation(transport)
        with self._lock:
            self._conversations.append(conversation)
        return conversation

    @contextmanager
    def connection(self, transport: str) -> Iterator[Conversation]:
        with self._lock:
            self._open += 1
        try:
            yield self.start(transport)
        finally:
            with self._lock:
                self._open -= 1
                self._lock.notify_all()

    def add(self, conversation: Conversation, direction: str, octets: bytes) -> None:
        with self._lock:
            conversation.add(direction, octets)

    def cut(self) -> list[Conversation]:
        """Wait until every connection is closed, then hand out what was recorded and begin anew."""
        with self._lock:
            self._lock.wait_for(lambda: self._open == 0, SETTLE_S)
            found, self._conversations = self._conversations, []
        return [conversation for conversation in found if conversation.parts]


class UdpProxy(threading.Thread):
    """Forwards datagrams; each client port gets a socket of its own towards the node."""

    def __init__(self, target: tuple[str, int], tape: Tape, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._target, self._tape, self._stop_event = target, tape, stop
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind((LOOPBACK, 0))
        self.port: int = self._front.getsockname()[1]
        self._upstream: dict[Any, tuple[socket.socket, Conversation]] = {}
        self._new_step = threading.Event()

    def run(self) -> None:
        while not self._stop_event.is_set():
            backs = {entry[0]: (client, entry[1]) for client, entry in self._upstream.items()}
            readable, _, _ = select.select([self._front, *backs], [], [], LOOK_S)
            if self._new_step.is_set():
                self._new_step.clear()
                self._hang_up()
                readable = [sock for sock in readable if sock is self._front]
            for sock in readable:
                if sock is self._front:
                    self._from_client()
                else:
                    client, conversation = backs[sock]
                    octets = sock.recv(DATAGRAM_MAX)
                    self._tape.add(conversation, "server", octets)
                    self._front.sendto(octets, client)
        self._hang_up()
        self._front.close()

    def forget(self) -> None:
        """Let the next datagram of any client begin a new conversation (called between two commands)."""
        self._new_step.set()

    def _hang_up(self) -> None:
        for sock, _ in self._upstream.values():
            sock.close()
        self._upstream.clear()

    def _from_client(self) -> None:
        octets, client = self._front.recvfrom(DATAGRAM_MAX)
        if client not in self._upstream:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.connect(self._target)
            self._upstream[client] = (sock, self._tape.start("udp"))
        sock, conversation = self._upstream[client]
        self._tape.add(conversation, "client", octets)
        sock.send(octets)


class StreamProxy(threading.Thread):
    """Forwards TCP connections, one thread each; HTTP is recorded as the octets of its connection."""

    def __init__(self, transport: str, target: tuple[str, int], tape: Tape, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._transport, self._target, self._tape, self._stop_event = transport, target, tape, stop
        self._listener = socket.create_server((LOOPBACK, 0))
        self._listener.settimeout(LOOK_S)
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        while not self._stop_event.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()
        self._listener.close()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server, self._tape.connection(self._transport) as said:
            others = {client: ("client", server), server: ("server", client)}
            while others:
                readable, _, _ = select.select(list(others), [], [], CONNECTION_IDLE_S)
                if not readable:
                    return
                for sock in readable:
                    direction, other = others[sock]
                    octets = sock.recv(DATAGRAM_MAX)
                    if not octets:
                        del others[sock]
                        other.shutdown(socket.SHUT_WR)
                        if direction == "server":
                            return
                        continue
                    self._tape.add(said, direction, octets)
                    other.sendall(octets)


@dataclass(frozen=True, slots=True)
class Proxies:
    """One proxy per transport, and what they recorded."""

    tape: Tape
    udp: UdpProxy
    ports: dict[str, int]

    def cut(self) -> list[Conversation]:
        found = self.tape.cut()
        self.udp.forget()
        return found


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.removeprefix("http://").rpartition(":")
    return host, int(port)


@contextmanager
def proxies(node: RunningNode) -> Iterator[Proxies]:
    """The three proxies before one node; stopped when the block ends."""
    stop, tape = threading.Event(), Tape()
    udp = UdpProxy(_address(str(node.description["udp"])), tape, stop)
    tcp = StreamProxy("tcp", _address(str(node.description["tcp"])), tape, stop)
    http = StreamProxy("http", _address(node.http), tape, stop)
    threads = (udp, tcp, http)
    for thread in threads:
        thread.start()
    try:
        yield Proxies(tape, udp, {"udp": udp.port, "tcp": tcp.port, "http": http.port})
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def redirected(client_config: Path, target: Path, ports: dict[str, int]) -> Path:
    """A copy of the client-config folder in which every site's interfaces have the given ports, by protocol."""
    shutil.copytree(client_config, target)
    for name in ("local_info.json", "bootstrap_handles"):
        path = target / name
        document = json.loads(path.read_text())
        _redirect(document, ports)
        path.write_text(json.dumps(document))
    return target


def _redirect(document: Any, ports: dict[str, int]) -> None:
    if isinstance(document, dict):
        protocol = str(document.get("protocol", "")).lower()
        if "port" in document and protocol in ports:
            document["port"] = ports[protocol]
        children: Sequence[Any] = list(document.values())
    else:
        children = document if isinstance(document, list) else []
    for child in children:
        _redirect(child, ports)


def steps(prefix: str, admin: str) -> Iterator[Json]:
    """Every operation once per transport; both keys and both session modes take turns."""
    for number, transport in enumerate(TRANSPORTS):
        for session in ("off", "on"):
            credential = ("secret", "rsa")[(number + (session == "on")) % 2]
            name = f"{prefix}/recorded-{transport}-{session}"
            common = {"transport": transport, "credential": credential, "session": session, "handle": name}
            yield {"op": "create", **common, "fresh": True, "values": request_values("plain", admin)}
            yield {"op": "resolve", "transport": transport, "handle": name}
            yield {"op": "resolve", "transport": transport, "handle": name, "types": ["URL"], "indexes": [2]}
            yield {"op": "resolve", "transport": transport, "handle": name, "certify": True}
            yield {"op": "resolve", **common, "restricted": True, "indexes": [3]}
            yield {"op": "add", **common, "values": request_values("added", admin)}
            yield {"op": "modify", **common, "values": request_values("changed", admin)}
            yield {"op": "remove", **common, "indexes": [2]}
            yield {"op": "create", **common, "handle": f"{name}-key", "values": request_values("seckey", admin)}
            yield {"op": "create", **common, "values": [text_value(1, "URL", "https://example.org/again")]}
            yield {"op": "create", **common, "handle": f"{name}-600", "values": request_values("600", admin)}
            yield {"op": "resolve", "transport": transport, "handle": f"{name}-600"}
            yield {"op": "resolve", "transport": transport, "handle": f"{name}-missing"}
            if transport != "udp":
                yield {"op": "list", **common, "handle": f"0.NA/{prefix}"}
            yield {"op": "site", "transport": transport, "handle": name}
            yield {"op": "delete", **common}
        yield {"op": "open", "via": "adapter", "transport": transport, "credential": "secret"}
        yield {"op": "open", "via": "adapter", "transport": transport, "credential": "rsa"}


def record(java: JavaClient, before: Proxies, node: RunningNode) -> list[Json]:
    """Run the steps; one entry each, with the commands' labels, the outcome and the octets."""
    exchanges = []
    for step in steps(node.prefix, str(node.admin["handle"])):
        answer = java.ask(**step)
        label = {key: value for key, value in step.items() if key not in ("values", "fresh")}
        said = [conversation.as_json() for conversation in before.cut()]
        exchanges.append({**label, "code": answer.code, "detail": answer.detail, "conversations": said})
    return exchanges


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file; returns the process's exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    out: Path = parser.parse_args(arguments).out
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="idnode-record-")))
        class_path = build(ROOT / "build")
        node = stack.enter_context(started_node())
        before = stack.enter_context(proxies(node))
        config = redirected(node.client_config, scratch / "config", before.ports)
        java = stack.enter_context(started_client(class_path, config, scratch / "stderr"))
        exchanges = record(java, before, node)
        admin = {key: node.admin[key] for key in ("handle", "index", "secret")}
    silent = [exchange for exchange in exchanges if not exchange["conversations"]]
    document = {"client": f"net.handle:handle-client:{CLIENT_VERSION}", "admin": admin, "exchanges": exchanges}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{len(exchanges)} exchanges, {len(silent)} without a word, written to {out}")
    return 1 if silent else 0


if __name__ == "__main__":
    raise SystemExit(main())
