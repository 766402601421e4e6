"""What a resolver answers itself, and what it passes on: by the octets of the message alone."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from idnode.adapters import real_adapters
from idnode.adapters.shared import SharedWords
from idnode.answer_cache import may_be_cached
from idnode.config import ListenConfig, NodeConfig, ResolutionConfig, StoreConfig
from idnode.demo import Administrator, seed_administrator, seed_prefix
from idnode.exchange import Answers
from idnode.source import Source
from idnode.workers.link import OutcomeUnknown, RegistryAway, RegistryLink
from idnode.workers.nodes import RegistryNode, ResolverNode
from idnode.workers.plan import NodePlan
from idnode.workers.ring import RING_WORDS, RingWriter, make_ring
from idnode_protocol.codes import OpCode, OpFlag, ResponseCode
from idnode_protocol.credential import Credential
from idnode_protocol.message import build, decode_message
from idnode_protocol.requests import HandleRequest, ResolutionRequest, ValuesRequest
from idnode_registry.crypto import Signer
from tests.idnode.workers.several import code_of, message, question, url

SIGNER = Signer.generate()
TCP = Source("tcp", "127.0.0.1", 4_711)
ADMIN = Administrator(b"99.900/ADMIN", b"secret", SIGNER.public_key_octets)
CREATE = message(OpCode.CREATE_HANDLE, ValuesRequest(b"99.900/x", (url("x"),)))


@dataclass(slots=True)
class Passed:
    """In the place of the link: notes what is passed on."""

    messages: list[bytes] = field(default_factory=list)
    failure: Exception | None = None

    async def ask(self, octets: bytes, source: Source) -> Answers:
        if self.failure is not None:
            raise self.failure
        self.messages.append(octets)
        return Answers((b"answered elsewhere",))

    async def stop(self) -> None:
        """There is no connection."""


@asynccontextmanager
async def resolver(folder: Path, *, walks: bool = False) -> AsyncIterator[tuple[ResolverNode, Passed]]:
    """A resolver in this process, on what another node left in the store."""
    adapters = real_adapters()
    config = NodeConfig(
        listen=ListenConfig(addresses=("127.0.0.1",), udp_port=1, tcp_port=1, http_port=2),
        store=StoreConfig(folder=folder / "store"),
    )
    shared = SharedWords.make(folder / "ring", RING_WORDS)
    make_ring(shared.words)
    plan = NodePlan(config, folder / "key", folder, 1)
    async with RegistryNode(plan, adapters, SIGNER, RingWriter(shared.words)) as writer:
        seed_prefix(writer.registry, b"99.900", ADMIN, writer.sites, time.time())
        seed_administrator(writer.registry, ADMIN, time.time())
    reading = config.model_copy(update={"resolution": ResolutionConfig(client_config=folder)}) if walks else config
    node = ResolverNode(replace(plan, config=reading), 0, adapters, SIGNER, shared)
    node.registry.take_place(writer.sites[0][1], 1)
    passed = Passed()
    node.link = passed  # type: ignore[assignment]
    try:
        yield node, passed
    finally:
        await node.stop()
        adapters.close()


def signed(octets: bytes) -> bytes:
    plain = decode_message(octets)
    credential = Credential("HS_MAC", b"SHA1", bytes(20))
    return build(plain.envelope, plain.header, plain.body, credential).to_octets()


PASSED_ON = {
    "a write": CREATE,
    "a list": message(OpCode.LIST_HANDLES, HandleRequest(b"0.NA/99.900")),
    "in a session": question("0.NA/99.900")[:4] + b"\0\0\0\7" + question("0.NA/99.900")[8:],
    "encrypted": question("0.NA/99.900")[:2] + b"\x42" + question("0.NA/99.900")[3:],
    "with a credential": signed(question("0.NA/99.900")),
    "private values": message(OpCode.RESOLUTION, ResolutionRequest(b"99.900/ADMIN", (300,)), without=OpFlag.PO),
}
ANSWERED = {
    "a resolution": (question("0.NA/99.900"), ResponseCode.SUCCESS),
    "an absent name": (question("99.900/none"), ResponseCode.HANDLE_NOT_FOUND),
    "another server's name": (question("99.1/x"), ResponseCode.SERVER_NOT_RESPONSIBLE),
    "site information": (message(OpCode.GET_SITE_INFO, HandleRequest(b"99.900/x")), ResponseCode.SUCCESS),
    "a broken body": (CREATE[:40] + b"\0\0\xff\xff" + CREATE[44:], ResponseCode.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("kind", PASSED_ON)
async def test_passed_on_octet_for_octet(tmp_path: Path, kind: str) -> None:
    async with resolver(tmp_path) as (node, passed):
        octets = PASSED_ON[kind]
        assert (await node.engine.answer(octets, TCP)).messages == (b"answered elsewhere",)
        assert passed.messages == [octets]
        assert not may_be_cached(octets) or node.engine.plain(octets, 1.0) is None


@pytest.mark.parametrize("kind", ANSWERED)
async def test_answered_here(tmp_path: Path, kind: str) -> None:
    async with resolver(tmp_path) as (node, passed):
        octets, code = ANSWERED[kind]
        (answer,) = (await node.engine.answer(octets, TCP)).messages
        assert code_of(answer) == code
        assert passed.messages == []


async def test_a_message_that_is_an_answer_is_left_alone(tmp_path: Path) -> None:
    async with resolver(tmp_path) as (node, passed):
        octets = question("0.NA/99.900")
        assert (await node.engine.answer(octets[:24] + b"\0\0\0\1" + octets[28:], TCP)).messages == ()
        assert passed.messages == []


async def test_names_that_are_resolved_elsewhere_are_passed_on(tmp_path: Path) -> None:
    async with resolver(tmp_path, walks=True) as (node, passed):
        foreign = question("99.1/x", flags=int(OpFlag.REC))
        absent = question("99.900/none")  # the namespace of the global prefix may say what it answers with
        for octets in (foreign, absent):
            await node.engine.answer(octets, TCP)
            assert node.engine.plain(octets, 1.0) is None
        assert passed.messages == [foreign, absent]
        (answer,) = (await node.engine.answer(question("0.NA/99.900", flags=int(OpFlag.REC)), TCP)).messages
        assert code_of(answer) == ResponseCode.SUCCESS


@pytest.mark.parametrize(
    ("failure", "code"),
    [(RegistryAway("away; try again"), ResponseCode.SERVER_BUSY), (OutcomeUnknown(), ResponseCode.ERROR)],
)
async def test_without_the_registry_process_there_is_an_answer(tmp_path: Path, failure: Exception, code: int) -> None:
    async with resolver(tmp_path) as (node, passed):
        passed.failure = failure
        (answer,) = (await node.engine.answer(CREATE, TCP)).messages
        assert (code_of(answer), answer[8:12]) == (code, CREATE[8:12])


def test_the_link_has_what_its_stand_in_has() -> None:
    for name in ("ask", "stop"):
        assert callable(getattr(RegistryLink, name))
