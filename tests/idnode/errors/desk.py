"""Nodes in every bad state, and three ways to ask them: native messages, REST, commands."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp

from idnode.adapters import Adapters, real_adapters
from idnode.adapters.disk import AnyPath, RealDisk
from idnode.client.administrator import Administrator as AdminClient
from idnode.client.errors import Refused
from idnode.client.resolver import Resolver
from idnode.client.transports import TcpTransport, UdpTransport
from idnode.config import NodeConfig
from idnode.demo import Administrator, seed_administrator, seed_prefix
from idnode.node import Node
from idnode.settings import load
from idnode_protocol.codes import REQUEST_FLAGS, OpCode, ResponseCode
from idnode_protocol.message import Message, decode_message
from idnode_protocol.requests import AnyRequest, ValuesRequest
from idnode_protocol.responses import ErrorResponse, decode_response
from idnode_protocol.value import HandleValue
from idnode_registry.ask import SYSTEM, Ask
from idnode_registry.crypto import Signer
from idnode_registry.engines.lmdb import LmdbStore
from tests.idnode.cli.command_line import idnode

SIGNER = Signer.generate()
SECRET = b"a fictional secret"
ADMIN = Administrator(b"99.900/ADMIN", SECRET, SIGNER.public_key_octets)
OTHER = Administrator(b"99.900/OTHER", b"another fictional secret", SIGNER.public_key_octets)
MARKER = b"https://example.org/a-value-to-find"
NOBODY_MAY = 0x02
"""Permissions of a value everybody may read and nobody may write."""
LARGE = HandleValue(2, "LARGE", b"x" * 2_000)
VARYING: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"127\.0\.0\.1:\d{5}"), "HOST:PORT"),
    (re.compile(r"127\.0\.0\.1 port \d{5}"), "HOST port PORT"),
    (re.compile(r"x{100,}"), "x…"),
)
"""What differs from run to run, or is too long to print."""
IN_A_BOX = re.compile(r"│ (.*?) +│")

NODES: dict[str, list[str]] = {
    "plain": ["listen.udp_admin=true"],
    "shut": ["authentication.allow_list=false", "authentication.http_auth=never"],
    "strict": ["network.trust_private=false"],
    "busy": ["network.limit_trusted=true", "network.requests_per_s=0.000001"],
}
"""Nodes with their records in memory, by their settings. ``broken``, ``full`` and ``damaged`` have a disk."""


class Said(NamedTuple):
    """What came back: response code, HTTP status or exit code, and the message."""

    number: int
    message: str
    code: int = 0
    """REST only: the response code in the body."""


class FullDisk(RealDisk):
    """A disk whose reserve is reached as soon as somebody says so."""

    is_full = False

    def free(self, path: AnyPath) -> tuple[int, int]:
        return (0, 1 << 40) if self.is_full else super().free(path)


@dataclass(frozen=True, slots=True)
class Desk:
    """Where provocations are carried out. ``folder`` is empty at first."""

    adapters: Adapters
    nodes: dict[str, Node]
    http: aiohttp.ClientSession
    folder: Path

    def server(self, node: str) -> str:
        return str(self.nodes[node].tcp_addresses[0])

    def resolver(self, node: str) -> Resolver:
        return Resolver(self.server(node), adapters=self.adapters, transports=("tcp",))

    def request(self, opcode: int, body: AnyRequest, *, flags: int = REQUEST_FLAGS, session_id: int = 0) -> Message:
        return self.resolver("plain").request(opcode, body, flags, session_id)

    async def say(self, octets: bytes, node: str = "plain", transport: str = "tcp") -> Said:
        """The code and text of the first answer to a message."""
        address = self.nodes[node].tcp_addresses[0]
        kind = UdpTransport if transport == "udp" else TcpTransport
        async for answer in kind(self.adapters, address.host, address.port).exchange(octets):
            message = decode_message(answer)
            _, response = decode_response(message.header, message.body, message.envelope.version)
            return Said(message.header.response_code, response.text if isinstance(response, ErrorResponse) else "")
        raise AssertionError("silence")

    async def as_admin(
        self,
        work: Callable[[AdminClient], Awaitable[Any]],
        node: str = "plain",
        who: Administrator = ADMIN,
        secret: bytes | None = None,
    ) -> Said:
        """Do something as an administrator, each request proved by itself."""
        resolver = self.resolver(node)
        client = AdminClient(
            resolver, who.handle.decode(), 300, secret=secret or who.secret, transports=("tcp",), session=False
        )
        try:
            await work(client)
        except Refused as refused:
            return Said(refused.code, refused.text)
        finally:
            await resolver.close()
        return Said(1, "")

    async def rest(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        node: str = "plain",
        who: Administrator | None = None,
        secret: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Said:
        """One HTTP call; ``who`` proves himself by Basic."""
        named = dict(headers or {})
        if who is not None:
            user = quote(f"300:{who.handle.decode()}", safe="").encode() + b":" + (secret or who.secret)
            named["Authorization"] = "Basic " + base64.b64encode(user).decode()
        if body is not None:
            named.setdefault("Content-Type", "application/json")
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        url = f"http://{self.nodes[node].http_addresses[0]}{path}"
        async with self.http.request(method, url, data=data, headers=named, allow_redirects=False) as answer:
            text = await answer.text()
            parsed = json.loads(text) if text.startswith("{") else {}
            return Said(answer.status, parsed.get("message", ""), parsed.get("responseCode", 0))

    async def command(
        self, *arguments: str | Path, node: str = "plain", who: Administrator | None = None, secret: bytes | None = None
    ) -> Said:
        """One command against a node's TCP port; the message is its line on standard error."""
        options: list[str | Path] = ["--server", self.server(node)]
        if who is not None:
            path = self.folder / f"secret-{abs(hash((who.handle, secret)))}"
            path.write_bytes(secret or who.secret)
            path.chmod(0o600)
            options += ["--admin", f"300:{who.handle.decode()}", "--secret-file", path, "--no-session"]
        return await self.line(*arguments, *options)

    async def line(self, *arguments: str | Path) -> Said:
        """One command as it is typed."""
        ended = await asyncio.to_thread(idnode, *arguments)
        assert "Traceback" not in ended.err, ended
        lines = IN_A_BOX.findall(ended.err) or (ended.err or ended.out * (ended.code != 0)).splitlines()
        return Said(ended.code, "; ".join(line.removeprefix("idnode: ") for line in lines))

    def tidy(self, text: str) -> str:
        """A message without what differs from run to run."""
        text = text.replace(str(self.folder), "DIR").replace(str(self.folder.parent), "DIR")
        for pattern, shown in VARYING:
            text = pattern.sub(shown, text)
        return text


def config_of(flags: list[str]) -> NodeConfig:
    """Free ports on loopback, one administrator, and the flags."""
    base = [f"listen.{port}=0" for port in ("udp_port", "tcp_port", "http_port")]
    fixed = ["listen.addresses=127.0.0.1", f"authentication.server_admins=300:{ADMIN.handle.decode()}"]
    return load(None, {}, [*base, *fixed, *flags]).config


def fill(node: Node, now: float) -> None:
    """The prefix, two users, and records to go wrong with."""
    seed_prefix(node.registry, b"99.900", ADMIN, node.sites, now)
    seed_administrator(node.registry, ADMIN, now)
    seed_administrator(node.registry, OTHER, now)
    client = AdminClient(Resolver("127.0.0.1"), ADMIN.handle.decode(), 300, secret=SECRET, session=False)
    values = (
        HandleValue(1, "URL", MARKER),
        LARGE,
        HandleValue(5, "FIXED", b"for ever", permissions=NOBODY_MAY),
        client.admin_value(),
    )
    hidden = (HandleValue(6, "HIDDEN", b"x", permissions=0), client.admin_value())
    for name, each in ((b"99.900/part", values), (b"99.900/hidden", hidden)):
        ask = Ask(OpCode.CREATE_HANDLE, ValuesRequest(name, each), REQUEST_FLAGS)
        assert node.registry.execute(ask, SYSTEM, now).result().is_success


@asynccontextmanager
async def open_desk(folder: Path) -> AsyncIterator[Desk]:
    """Every node, started and filled; then the disks of some fail."""
    adapters = real_adapters()
    disk = FullDisk()
    async with AsyncExitStack() as stack:
        nodes: dict[str, Node] = {}

        async def start(name: str, flags: list[str], store: LmdbStore | None = None) -> Node:
            if store is not None:
                stack.callback(store.close)
            nodes[name] = await stack.enter_async_context(Node(config_of(flags), adapters, SIGNER, store=store))
            return nodes[name]

        for name, flags in NODES.items():
            fill(await start(name, flags), adapters.clock.now())
        for name in ("broken", "full"):
            store = LmdbStore.open(str(folder / name), "fold-all", disk=disk if name == "full" else adapters.disk)
            fill(await start(name, [], store), adapters.clock.now())
            if name == "broken":
                store._writer.commit = _broken
        await start("damaged", [], _damaged(folder / "damaged", adapters))
        disk.is_full = True
        http = await stack.enter_async_context(aiohttp.ClientSession())
        own = folder / "desk"
        own.mkdir()
        desk = Desk(adapters, nodes, http, own)
        while (await desk.rest("GET", "/api/handles/99.900/none", node="busy")).code != ResponseCode.SERVER_BUSY:
            continue
        yield desk
    adapters.close()


def _broken(transaction: Any) -> None:
    """The seam the store's own tests use for a failing disk."""
    transaction.abort()
    raise OSError(5, "Input/output error")


def _damaged(folder: Path, adapters: Adapters) -> LmdbStore:
    """A store in which octets of one record were turned over while nobody looked."""
    store = LmdbStore.open(str(folder), "fold-all", disk=adapters.disk)
    node = Node(config_of([]), adapters, SIGNER, store=store)
    fill(node, adapters.clock.now())
    store.close()
    path = folder / "data.mdb"
    octets = path.read_bytes()
    assert MARKER in octets
    path.write_bytes(octets.replace(MARKER, MARKER[:-1] + b"X"))
    return LmdbStore.open(str(folder), "fold-all", disk=adapters.disk)
