"""Members of ranges asked for by UDP, where finished answers are kept: no change is ever missed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.client.errors import HandleNotFound
from idnode.client.resolver import Resolver
from idnode.config import ListenConfig, NodeConfig
from idnode.node import Node
from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag
from idnode_protocol.requests import AnyRequest, HandleRequest, ValuesRequest
from idnode_protocol.value import HandleValue
from idnode_registry.ask import SYSTEM, Ask
from idnode_registry.crypto import Signer
from idnode_registry.ranges.asks import RangeCode, about
from idnode_registry.ranges.names import parse_range

SIGNER = Signer.generate(1024)
NAMES = ("99.900/SN0001", "99.900/sn0002", "99.900/SN2000", "99.901/SN0001")
RANGE = b"99.900/SN{0001-0999}"


class World:
    """A node that homes two prefixes and has a range under one of them."""

    def __init__(self, node: Node, adapters: SimulatedAdapters) -> None:
        self.node, self.adapters = node, adapters
        self.resolver = Resolver(str(node.udp_addresses[0]), adapters=adapters, transports=("udp",))
        for prefix in (b"0.NA/99.900", b"0.NA/99.901"):
            self.do(OpCode.HOME_PREFIX, HandleRequest(prefix))
        self.register(RANGE, b"one")

    def do(self, opcode: int, request: AnyRequest, flags: int = 0) -> None:
        ask = Ask(opcode, request, int(REQUEST_FLAGS | flags))
        assert self.node.registry.execute(ask, SYSTEM, self.adapters.clock.now()).result().is_success

    def register(self, text: bytes, data: bytes, *, overwrite: bool = False) -> None:
        values = (HandleValue(1, "URL", data + b"/${serial}"),)
        ask = about(RangeCode.REGISTER, parse_range(text), values, overwrite=overwrite)
        assert self.node.registry.execute(ask, SYSTEM, self.adapters.clock.now()).result().is_success

    def unregister(self, text: bytes) -> None:
        ask = about(RangeCode.DELETE, parse_range(text))
        assert self.node.registry.execute(ask, SYSTEM, self.adapters.clock.now()).result().is_success

    def write(self, opcode: int, name: str) -> None:
        self.do(opcode, ValuesRequest(name.encode(), (HandleValue(1, "URL", b"own"),)), OpFlag.OWE)

    async def seen(self) -> list[str]:
        """What the names resolve to, each asked for three times; the later answers come from the cache."""
        found = []
        for name in NAMES:
            answers = {await self._once(name) for _ in range(3)}
            assert len(answers) == 1
            found.append(answers.pop())
        return found

    async def _once(self, name: str) -> str:
        try:
            record = await self.resolver.resolve(name)
        except HandleNotFound:
            return "-"
        assert record.handle == name
        return (record.data("URL") or b"").decode()


BEFORE = ["one/0001", "one/0002", "-", "-"]
CHANGES: dict[str, tuple[Callable[[World], None], list[str]]] = {
    "another template": (
        lambda world: world.register(RANGE, b"two", overwrite=True),
        ["two/0001", "two/0002", "-", "-"],
    ),
    "the range is deleted": (lambda world: world.unregister(RANGE), ["-", "-", "-", "-"]),
    "another range": (
        lambda world: world.register(b"99.900/SN{1000-2999}", b"two"),
        ["one/0001", "one/0002", "two/2000", "-"],
    ),
    "a member is modified": (
        lambda world: world.write(OpCode.MODIFY_VALUES, "99.900/sn0001"),
        ["own", "one/0002", "-", "-"],
    ),
    "a member is replaced": (
        lambda world: world.write(OpCode.CREATE_HANDLE, "99.900/SN0002"),
        ["one/0001", "own", "-", "-"],
    ),
    "a member is deleted": (
        lambda world: world.do(OpCode.DELETE_HANDLE, HandleRequest(b"99.900/SN0001")),
        ["-", "one/0002", "-", "-"],
    ),
}
"""name -> (the change, seen after)."""


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen_at_once(name: str) -> None:
    change, after = CHANGES[name]

    async def main(adapters: SimulatedAdapters) -> None:
        config = NodeConfig(listen=ListenConfig(addresses=("127.0.0.1",), http_port=None))
        async with Node(config, adapters, SIGNER) as node:
            world = World(node, adapters)
            assert await world.seen() == BEFORE
            assert len(node.cache.entries) == len(NAMES)
            change(world)
            assert await world.seen() == after

    run_simulated(main, seed=1)
