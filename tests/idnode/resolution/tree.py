"""A small tree of nodes joined by real delegation records, on any adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from idnode.adapters import Adapters
from idnode.config import ListenConfig, NodeConfig, ResolutionConfig
from idnode.demo import Administrator, seed_prefix
from idnode.node import Node
from idnode.resolution.roots import Roots
from idnode_protocol.codes import OpCode, OpFlag
from idnode_protocol.handle import ROOT_HANDLE
from idnode_protocol.requests import HandleRequest, ValuesRequest
from idnode_protocol.value import HandleValue
from idnode_registry.ask import Ask
from idnode_registry.crypto import Signer

SIGNER = Signer.generate(2048)
ADMINISTRATOR = Administrator(b"99/ADMIN", b"a fictional secret", SIGNER.public_key_octets)
URL = HandleValue(1, "URL", b"https://example.org/")


async def write(node: Node, name: bytes, *values: HandleValue) -> None:
    """Create or replace a record, as the node itself."""
    reply = await node.ask(Ask(OpCode.CREATE_HANDLE, ValuesRequest(name, values), int(OpFlag.OWE | OpFlag.DNR)))
    assert reply.is_success, (name, reply)


async def home(node: Node, name: bytes) -> None:
    """Home a prefix handle."""
    assert (await node.ask(Ask(OpCode.HOME_PREFIX, HandleRequest(name)))).is_success


def site_values(node: Node, kind: str = "HS_SITE", start: int = 1) -> list[HandleValue]:
    """The node's site records as values."""
    return [HandleValue(start + place, kind, site.to_octets()) for place, (_, site) in enumerate(node.sites)]


def roots_at(node: Node) -> Roots:
    """A start at this node, as if it were the root."""
    return Roots(tuple(site for _, site in node.sites))


def stored_values(node: Node, name: bytes) -> tuple[HandleValue, ...]:
    """What the node's store holds."""
    values = node.registry.values(name)
    assert values is not None
    return values


@dataclass
class Tree:
    """A root, a secondary node for 99.900, and an enterprise node for 99.900.1 that only the secondary refers to."""

    adapters: Adapters
    root: Node
    secondary: Node
    enterprise: Node
    stack: AsyncExitStack
    recursive: list[Node] = field(default_factory=list)

    @property
    def roots(self) -> Roots:
        return roots_at(self.root)

    async def node(self, *, http: bool = False, **sections: object) -> Node:
        """One more node, stopped with the tree."""
        roots = sections.pop("roots", None)
        return await self.stack.enter_async_context(
            Node(_config(http, **sections), self.adapters, SIGNER, roots=roots)  # type: ignore[arg-type]
        )

    async def recursive_node(self, roots: Roots | None = None, *, http: bool = False) -> Node:
        """A node that knows nothing and resolves everything."""
        return await self.node(
            http=http, role="recursive", resolution=ResolutionConfig(recursion=True), roots=roots or self.roots
        )


def _config(http: bool, **sections: object) -> NodeConfig:
    listen = ListenConfig(addresses=("127.0.0.1",), udp_port=0, tcp_port=0, http_port=0 if http else None)
    return NodeConfig(listen=listen, **sections)  # type: ignore[arg-type]


async def _prefix(node: Node, prefix: bytes, names: Sequence[bytes]) -> None:
    seed_prefix(node.registry, prefix, ADMINISTRATOR, node.sites, node.adapters.clock.now())
    for name in names:
        await write(node, name, URL, HandleValue(2, "DESC", name, ttl=600))


@asynccontextmanager
async def growing(adapters: Adapters, *, http: bool = False) -> AsyncIterator[Tree]:
    """The tree, with records ``99.900/part-1``, ``99.900.1/part-1`` and a referral for ``0.NA/99.900.*``."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(Node(_config(http), adapters, SIGNER)) for _ in range(3)]
        root, secondary, enterprise = nodes
        await home(root, ROOT_HANDLE)
        await write(root, ROOT_HANDLE, *site_values(root))
        await write(root, b"0.NA/99.900", *site_values(secondary), *site_values(secondary, "HS_SITE.PREFIX", 11))
        await _prefix(secondary, b"99.900", [b"99.900/part-1", b"99.900/part-2"])
        # The secondary answers for the prefix handles derived from its own; the enterprise's record lies there.
        await home(secondary, ROOT_HANDLE + b"/99.900")
        await write(secondary, b"0.NA/99.900.1", *site_values(enterprise))
        await _prefix(enterprise, b"99.900.1", [b"99.900.1/part-1"])
        yield Tree(adapters, root, secondary, enterprise, stack)
