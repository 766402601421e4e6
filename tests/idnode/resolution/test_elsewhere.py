"""A node decides by what other servers hold: namespaces, rights, groups, keys. Three servers joined by delegation.

The node under test, *far*, holds names under 99.900.2 and nothing else: its prefix handle and the user 99.900/ADMIN
live at the secondary node.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.client.administrator import Administrator
from idnode.client.errors import HandleNotFound, NoAnswer, Refused
from idnode.client.resolver import Resolver
from idnode.config import NetworkConfig
from idnode.demo import GROUP_INDEX, PUBLIC_KEY_INDEX, SECRET_KEY_INDEX, seed_administrator
from idnode.demo import Administrator as Person
from idnode.node import Node
from idnode_protocol.codes import ALL_ADMIN_PERMISSIONS, AdminPermission, OpCode, ResponseCode
from idnode_protocol.handle import ROOT_HANDLE
from idnode_protocol.requests import HandleRequest
from idnode_protocol.value import HandleValue, Reference
from idnode_protocol.values.admin import AdminRecord
from idnode_protocol.values.vlist import encode_vlist
from idnode_registry.ask import Ask
from idnode_registry.crypto import Signer
from tests.idnode.resolution.test_memory import block_all
from tests.idnode.resolution.tree import Tree, growing, home, site_values, write

USER = b"99.900/ADMIN"
USER_KEY = Signer.generate(2048)
STRANGER = Signer.generate(1024)
PERSON = Person(USER, b"a fictional secret", USER_KEY.public_key_octets)
PREFIX = b"0.NA/99.900.2"
BASE, MADE = b"99.900.2/base", "99.900.2/base@box7"
OWN = "99.900.2/own"


def namespace(body: str, ttl: int = 60) -> HandleValue:
    return HandleValue(50, "HS_NAMESPACE", f"<n><template delimiter='@'>{body}</template></n>".encode(), ttl=ttl)


def value_of(data: str) -> str:
    return f"<value type='URL' data='{data} $0'/>"


def admin(index: int, handle: bytes = USER, bits: int = int(ALL_ADMIN_PERMISSIONS), at: int = 100) -> HandleValue:
    return HandleValue(at, "HS_ADMIN", AdminRecord(bits, handle, index).to_octets(), ttl=600)


@dataclass
class World:
    """The tree and the node under test."""

    adapters: SimulatedAdapters
    tree: Tree
    far: Node

    def packets(self) -> int:
        assert self.far.resolution is not None
        return self.far.resolution.upstream.counters.packets

    def cut_off(self) -> None:
        """Nobody answers the node under test any more; it answers."""
        block_all(self.tree, self.adapters)

    async def url(self, name: str, node: Node | None = None) -> str:
        asked = node or self.far
        async with Resolver(str(asked.udp_addresses[0]), adapters=self.adapters, transports=("udp",)) as resolver:
            return ((await resolver.resolve(name)).data("URL") or b"").decode()

    @asynccontextmanager
    async def user(
        self, index: int, *, secret: bytes | None = None, signer: Signer | None = None, session: bool = True
    ) -> AsyncIterator[Administrator]:
        """Somebody who says he is that key of 99.900/ADMIN."""
        async with Resolver(str(self.far.tcp_addresses[0]), adapters=self.adapters, transports=("tcp",)) as resolver:
            who = Administrator(
                resolver, USER.decode(), index, secret=secret, signer=signer, transports=("tcp",), session=session
            )
            async with who:
                yield who


def simulated(test: Callable[[World], object], **network: Any) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with growing(adapters) as tree:
            far = await tree.node(roots=tree.roots, network=NetworkConfig(**network))
            await home(far, PREFIX)
            await write(tree.secondary, PREFIX, *site_values(far))
            seed_administrator(tree.secondary.registry, PERSON, adapters.clock.now())
            await test(World(adapters, tree, far))  # type: ignore[misc]

    run_simulated(main, seed=3)


# --- namespaces ------------------------------------------------------------------------------------------------------


def test_a_namespace_above_makes_values_and_obeys_its_ttl() -> None:
    async def test(world: World) -> None:
        await write(world.far, BASE, HandleValue(1, "URL", b"base"))
        await write(world.tree.secondary, PREFIX, *site_values(world.far), namespace(value_of("one")))
        recursive = await world.tree.recursive_node()
        assert await world.url(MADE) == "one box7"
        assert await world.url(MADE, recursive) == "one box7"
        before = world.packets()
        await write(world.tree.secondary, PREFIX, *site_values(world.far), namespace(value_of("two")))
        await world.adapters.clock.sleep(50)
        assert await world.url("99.900.2/base@box8") == "one box8"
        assert world.packets() == before
        await world.adapters.clock.sleep(11)
        assert await world.url(MADE) == "two box7"

    simulated(test)


def test_not_found_is_kept_as_long_as_the_namespace_may_be_believed() -> None:
    async def test(world: World) -> None:
        await write(world.far, BASE, HandleValue(1, "URL", b"base"))
        await write(world.tree.secondary, PREFIX, *site_values(world.far))
        with pytest.raises(HandleNotFound):
            await world.url(MADE)
        asked = world.packets()
        for _ in range(3):
            with pytest.raises(HandleNotFound):
                await world.url(MADE)
        assert world.packets() == asked
        await write(world.tree.secondary, PREFIX, *site_values(world.far), namespace(value_of("new")))
        await world.adapters.clock.sleep(86_401)  # the TTL of the prefix handle's values
        assert await world.url(MADE) == "new box7"

    simulated(test)


@pytest.mark.parametrize("is_stored_here", [True, False])
def test_a_copy_of_the_prefix_handle_does_not_hide_the_namespace_above(is_stored_here: bool) -> None:
    async def test(world: World) -> None:
        if is_stored_here:
            await home(world.far, ROOT_HANDLE + b"/99.900")
            await write(world.far, PREFIX, *site_values(world.far), admin(300))
        await write(world.far, BASE, HandleValue(1, "URL", b"base"))
        await write(world.tree.secondary, PREFIX, *site_values(world.far), namespace(value_of("above")))
        assert await world.url(MADE) == "above box7"

    simulated(test)


def test_when_nobody_tells_the_namespace_nothing_is_made_up() -> None:
    async def test(world: World) -> None:
        await write(world.far, BASE, HandleValue(1, "URL", b"base"))
        world.cut_off()
        began = world.adapters.clock.monotonic()
        with pytest.raises(NoAnswer, match=r"the namespace of 0\.NA/99\.900\.2"):
            await world.url(MADE)
        assert world.adapters.clock.monotonic() - began < 10
        assert await world.url(BASE.decode()) == "base"

    simulated(test)


# --- rights, groups and keys -----------------------------------------------------------------------------------------

PROOFS: dict[str, tuple[int, int, dict[str, Any]]] = {
    "secret key": (SECRET_KEY_INDEX, SECRET_KEY_INDEX, {"secret": PERSON.secret}),
    "public key": (PUBLIC_KEY_INDEX, PUBLIC_KEY_INDEX, {"signer": USER_KEY}),
    "public key, any index": (PUBLIC_KEY_INDEX, 0, {"signer": USER_KEY}),
    "secret key in a group": (GROUP_INDEX, SECRET_KEY_INDEX, {"secret": PERSON.secret}),
    "public key in a group": (GROUP_INDEX, PUBLIC_KEY_INDEX, {"signer": USER_KEY}),
    "any key": (0, PUBLIC_KEY_INDEX, {"signer": USER_KEY}),
}
"""name -> (index the record's HS_ADMIN names, index of the user, what he proves it with)."""


@pytest.mark.parametrize("session", [True, False])
@pytest.mark.parametrize("name", PROOFS)
def test_a_user_of_another_server_administers(name: str, session: bool) -> None:
    named, index, proof = PROOFS[name]

    async def test(world: World) -> None:
        await write(world.far, OWN.encode(), HandleValue(1, "URL", b"one"), admin(named))
        async with world.user(index, session=session, **proof) as user:
            await user.modify(OWN, [HandleValue(1, "URL", b"two")])
            assert await world.url(OWN) == "two"
            asked = world.packets()
            await user.modify(OWN, [HandleValue(1, "URL", b"three")])
            if session:
                assert world.packets() == asked

    simulated(test)


WRONG: dict[str, tuple[int, dict[str, Any], int]] = {
    "another secret": (SECRET_KEY_INDEX, {"secret": b"guessed"}, ResponseCode.AUTHENTICATION_FAILED),
    "another key": (PUBLIC_KEY_INDEX, {"signer": STRANGER}, ResponseCode.AUTHENTICATION_FAILED),
    "another key, any index": (0, {"signer": STRANGER}, ResponseCode.AUTHENTICATION_FAILED),
    "no such value": (777, {"signer": USER_KEY}, ResponseCode.INVALID_ADMIN),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_proof_that_does_not_fit_is_refused(name: str) -> None:
    index, proof, code = WRONG[name]

    async def test(world: World) -> None:
        await write(world.far, OWN.encode(), HandleValue(1, "URL", b"one"), admin(GROUP_INDEX))
        async with world.user(index, session=False, **proof) as user:
            with pytest.raises(Refused) as refused:
                await user.modify(OWN, [HandleValue(1, "URL", b"two")])
        assert refused.value.code == code
        assert await world.url(OWN) == "one"

    simulated(test)


def test_the_prefix_handle_above_says_who_may_register() -> None:
    async def test(world: World) -> None:
        bits = int(AdminPermission.ADD_HANDLE)
        await write(world.tree.secondary, PREFIX, *site_values(world.far), admin(GROUP_INDEX, bits=bits))
        async with world.user(PUBLIC_KEY_INDEX, signer=USER_KEY) as user:
            await user.create("99.900.2/new", [HandleValue(1, "URL", b"new")])
            with pytest.raises(Refused, match="DELETE_HANDLE"):
                await user.delete("99.900.2/new")
        assert await world.url("99.900.2/new") == "new"

    simulated(test)


def test_who_left_a_group_is_out_after_ten_minutes() -> None:
    async def test(world: World) -> None:
        group = b"99.900/GROUP"
        members = encode_vlist([Reference(USER, PUBLIC_KEY_INDEX)])
        await write(world.tree.secondary, group, HandleValue(200, "HS_VLIST", members, ttl=86_400))
        await write(world.far, OWN.encode(), HandleValue(1, "URL", b"one"), admin(200, group))
        async with world.user(PUBLIC_KEY_INDEX, signer=USER_KEY) as user:
            await user.modify(OWN, [HandleValue(1, "URL", b"two")])
            await write(world.tree.secondary, group, HandleValue(200, "HS_VLIST", encode_vlist([]), ttl=86_400))
            await world.adapters.clock.sleep(601)
            with pytest.raises(Refused) as refused:
                await user.modify(OWN, [HandleValue(1, "URL", b"three")])
        assert refused.value.code == ResponseCode.INVALID_ADMIN

    simulated(test)


DEAD: dict[str, tuple[int, int, dict[str, Any], str]] = {
    "secret key": (SECRET_KEY_INDEX, SECRET_KEY_INDEX, {"secret": PERSON.secret}, "could not be asked"),
    "public key": (PUBLIC_KEY_INDEX, PUBLIC_KEY_INDEX, {"signer": USER_KEY}, "could not be asked"),
    "group": (GROUP_INDEX, SECRET_KEY_INDEX, {"secret": PERSON.secret}, "the group of 99.900/ADMIN"),
}


@pytest.mark.parametrize("name", DEAD)
def test_a_dead_server_is_an_error_in_time_and_holds_nobody_up(name: str) -> None:
    named, index, proof, said = DEAD[name]

    async def test(world: World) -> None:
        await write(world.far, OWN.encode(), HandleValue(1, "URL", b"one"), admin(named))
        world.cut_off()
        clock = world.adapters.clock

        async def refused(at_most_s: float) -> None:
            began = clock.monotonic()
            async with world.user(index, session=False, **proof) as user:
                with pytest.raises(Refused, match=said) as wrong:
                    await user.modify(OWN, [HandleValue(1, "URL", b"two")])
            assert wrong.value.code == ResponseCode.AUTHENTICATION_ERROR
            assert clock.monotonic() - began < at_most_s

        waiting = asyncio.ensure_future(refused(5.5))
        await clock.sleep(0.5)
        began = clock.monotonic()
        assert await world.url(OWN) == "one"
        assert clock.monotonic() - began < 0.2
        await waiting
        if name != "secret key":
            await refused(0.5)  # remembered for 10 s

    simulated(test)


def test_strangers_cannot_make_the_node_walk_without_end() -> None:
    """A public key named by index 0 is looked up before the right: on the account of who asks."""

    async def test(world: World) -> None:
        await write(world.far, OWN.encode(), HandleValue(1, "URL", b"one"), admin(GROUP_INDEX))
        codes = []
        async with Resolver(str(world.far.tcp_addresses[0]), adapters=world.adapters, transports=("tcp",)) as resolver:
            for number in range(20):
                who = Administrator(
                    resolver, f"99.900/nobody-{number}", 0, signer=STRANGER, transports=("tcp",), session=False
                )
                with pytest.raises(Refused) as refused:
                    await who.modify(OWN, [HandleValue(1, "URL", b"two")])
                codes.append(refused.value.code)
        assert codes[0] == ResponseCode.AUTHENTICATION_FAILED
        assert codes[-1] == ResponseCode.SERVER_BUSY
        assert world.packets() < 20

    simulated(test, trust_private=False, authentications_per_s=1)


def test_a_site_without_a_key_vouches_for_nothing() -> None:
    async def test(world: World) -> None:
        kind, site = world.tree.secondary.sites[0]
        keyless = replace(site, servers=(replace(site.servers[0], public_key=b""),))
        await write(world.tree.root, b"0.NA/99.900", HandleValue(1, kind, keyless.to_octets()))
        await write(world.far, OWN.encode(), HandleValue(1, "URL", b"one"), admin(PUBLIC_KEY_INDEX))
        async with world.user(PUBLIC_KEY_INDEX, signer=USER_KEY, session=False) as user:
            with pytest.raises(Refused, match="has no key"):
                await user.modify(OWN, [HandleValue(1, "URL", b"two")])

    simulated(test)


def test_nothing_is_fetched_for_what_is_here() -> None:
    async def test(world: World) -> None:
        await write(world.far, b"99.900.2/ME", HandleValue(300, "HS_SECKEY", b"mine", permissions=0x0C))
        await write(world.far, OWN.encode(), HandleValue(1, "URL", b"one"), admin(300, b"99.900.2/ME"))
        async with (
            Resolver(str(world.far.tcp_addresses[0]), adapters=world.adapters, transports=("tcp",)) as resolver,
            Administrator(resolver, "99.900.2/ME", 300, secret=b"mine", transports=("tcp",)) as user,
        ):
            await user.modify(OWN, [HandleValue(1, "URL", b"two")])
        reply = await world.far.ask(Ask(OpCode.DELETE_HANDLE, HandleRequest(OWN.encode())))
        assert reply.is_success
        assert world.packets() == 0

    simulated(test)
