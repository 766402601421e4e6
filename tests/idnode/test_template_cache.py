"""Answers that templates make, asked for by UDP where finished answers are kept: no change is ever missed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.client.errors import HandleNotFound, NoAnswer, ValuesNotFound
from idnode.client.resolver import Resolver
from idnode.config import ListenConfig, NodeConfig, TemplatesConfig
from idnode.demo import Administrator, seed_administrator, seed_prefix
from idnode.node import Node
from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag
from idnode_protocol.requests import HandleRequest, ValuesRequest
from idnode_protocol.value import HandleValue
from idnode_registry.ask import SYSTEM, Ask
from idnode_registry.crypto import Signer

SIGNER = Signer.generate(1024)
BASE, NAME, SHARED = b"99.900/base", "99.900/base@box7", b"99.900/shared"
PREFIX = b"0.NA/99.900"
COPY = "<foreach><value data='${data}$0'/></foreach>"


def url(data: str) -> HandleValue:
    return HandleValue(1, "URL", data.encode())


def namespace(body: str, delimiter: str = "@") -> HandleValue:
    return HandleValue(50, "HS_NAMESPACE", f"<n><template delimiter='{delimiter}'>{body}</template></n>".encode())


class World:
    """A node, and its administrator inside it."""

    def __init__(self, node: Node, adapters: SimulatedAdapters) -> None:
        self.node, self.adapters = node, adapters
        self.resolver = Resolver(str(node.udp_addresses[0]), adapters=adapters, transports=("udp",))

    def store(self, name: bytes, *values: HandleValue) -> None:
        ask = Ask(OpCode.CREATE_HANDLE, ValuesRequest(name, values), REQUEST_FLAGS | OpFlag.OWE | OpFlag.DNR)
        assert self.node.registry.execute(ask, SYSTEM, self.adapters.clock.now()).result().is_success

    def delete(self, name: bytes) -> None:
        ask = Ask(OpCode.DELETE_HANDLE, HandleRequest(name))
        assert self.node.registry.execute(ask, SYSTEM, self.adapters.clock.now()).result().is_success

    async def seen(self, name: str = NAME) -> str:
        """What the name resolves to, asked for three times."""
        found = {await self._once(name) for _ in range(3)}
        assert len(found) == 1
        return found.pop()

    async def _once(self, name: str) -> str:
        try:
            record = await self.resolver.resolve(name)
        except (HandleNotFound, ValuesNotFound) as none:
            return str(int(none.code))
        return (record.data("URL") or b"").decode()


CHANGES: dict[str, tuple[str, Callable[[World], None], str]] = {
    "the base's values": ("one|box7", lambda world: world.store(BASE, url("two|")), "two|box7"),
    "the base is deleted": ("one|box7", lambda world: world.delete(BASE), "200"),
    "the base is created": ("200", lambda world: world.store(BASE, url("two|")), "two|box7"),
    "the namespace": (
        "one|box7",
        lambda world: world.store(PREFIX, namespace("<value type='URL' data='new'/>")),
        "new",
    ),
    "the delimiter": ("one|box7", lambda world: world.store(PREFIX, namespace(COPY, "#")), "100"),
    "no namespace any more": ("one|box7", lambda world: world.store(PREFIX), "100"),
    "the handle itself": ("one|box7", lambda world: world.store(NAME.encode(), url("stored")), "stored"),
    "a namespace of the base": (
        "one|box7",
        lambda world: world.store(BASE, url("one|"), namespace("<value type='URL' data='own'/>")),
        "own",
    ),
    "the first namespace": ("100", lambda world: world.store(PREFIX, namespace(COPY)), "one|box7"),
    "the referred template": (
        "one|box7",
        lambda world: world.store(SHARED, HandleValue(5, "X", b"<template><value type='URL' data='r'/></template>")),
        "r",
    ),
}
"""name -> (seen before, the change, seen after)."""


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen_at_once(name: str) -> None:
    before, change, after = CHANGES[name]

    async def main(adapters: SimulatedAdapters) -> tuple[str, str]:
        config = NodeConfig(listen=ListenConfig(addresses=("127.0.0.1",), http_port=None))
        async with Node(config, adapters, SIGNER) as node:
            administrator = Administrator(b"99.900/ADMIN", b"secret", SIGNER.public_key_octets)
            seed_prefix(node.registry, b"99.900", administrator, node.sites, adapters.clock.now())
            seed_administrator(node.registry, administrator, adapters.clock.now())
            world = World(node, adapters)
            world.store(SHARED, HandleValue(5, "X", f"<template>{COPY}</template>".encode()))
            if name != "the first namespace":
                world.store(PREFIX, namespace("<template ref='5:99.900/shared'/>"))
            if name != "the base is created":
                world.store(BASE, url("one|"))
            seen = await world.seen()
            change(world)
            return seen, await world.seen()

    assert run_simulated(main, seed=5) == (before, after)


def test_a_template_that_costs_too_much_is_an_error_with_a_reason() -> None:
    async def main(adapters: SimulatedAdapters) -> str:
        config = NodeConfig(listen=ListenConfig(addresses=("127.0.0.1",), http_port=None))
        async with Node(config, adapters, SIGNER) as node:
            administrator = Administrator(b"99.900/ADMIN", b"secret", SIGNER.public_key_octets)
            seed_prefix(node.registry, b"99.900", administrator, node.sites, adapters.clock.now())
            world = World(node, adapters)
            world.store(PREFIX, namespace("<if test='matches' expression='(?:a?){400}'/>" * 20))
            # Code 2: a client tries the next way, and says at the end what each answered.
            with pytest.raises(NoAnswer, match="cannot be used") as refused:
                await world.resolver.resolve("99.900/base@" + "a" * 300)
            return str(refused.value)

    assert "more than 10000 steps" in run_simulated(main, seed=5)


def test_the_settings_of_a_node_reach_its_answers() -> None:
    xml = "<n><template delimiter='@'><value type='URL' data='setting $0'/></template></n>"
    with pytest.raises(ValidationError, match="document type"):
        NodeConfig(templates=TemplatesConfig(namespace="<!DOCTYPE n><n/>"))

    async def main(adapters: SimulatedAdapters) -> list[str]:
        found = []
        for templates in (TemplatesConfig(namespace=xml), TemplatesConfig(delimiter="@"), TemplatesConfig()):
            listen = ListenConfig(addresses=("127.0.0.1",), http_port=None)
            async with Node(NodeConfig(listen=listen, templates=templates), adapters, SIGNER) as node:
                administrator = Administrator(b"99.900/ADMIN", b"secret", SIGNER.public_key_octets)
                seed_prefix(node.registry, b"99.900", administrator, node.sites, adapters.clock.now())
                world = World(node, adapters)
                world.store(BASE, url("one"))
                found.append(await world.seen())
        return found

    assert run_simulated(main, seed=5) == ["setting box7", "one", "100"]
