"""The table of provocations: what somebody does wrong, or what is wrong with the node, and how it is brought about.

A row has up to three ways; what the three say is compared and becomes one row of docs/errors.md.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from idnode.client.administrator import Administrator
from idnode.client.session import ClientSession, SessionKeeper
from idnode_protocol.codes import REQUEST_FLAGS, OpCode
from idnode_protocol.envelope import Envelope
from idnode_protocol.header import Header
from idnode_protocol.message import build
from idnode_protocol.requests import (
    ChallengeAnswerRequest,
    HandleRequest,
    ResolutionRequest,
    SessionSetupRequest,
    ValuesRequest,
)
from idnode_protocol.session_keys import MODE_DIFFIE_HELLMAN, SessionKey
from idnode_protocol.value import HandleValue
from tests.idnode.errors.desk import ADMIN, OTHER, Desk, Said

Way = Callable[[Desk], Awaitable[Said]]
URL = HandleValue(1, "URL", b"https://example.org/")
URL_JSON = {"index": 1, "type": "URL", "data": "https://example.org/"}
TOO_LONG = "99.900/" + "x" * 2_100
OTHER_KEY = SessionKey(2, bytes(32))


@dataclass(frozen=True, slots=True)
class Row:
    """``what`` is done; ``native`` gives a response code, ``rest`` a status, ``command`` an exit code."""

    what: str
    native: Way | None = None
    rest: Way | None = None
    command: Way | None = None


def resolve(name: str, *, node: str = "plain", indexes: Sequence[int] = (), transport: str = "tcp") -> Way:
    body = ResolutionRequest(name.encode(), tuple(indexes))
    return lambda desk: desk.say(desk.request(OpCode.RESOLUTION, body).to_octets(), node, transport)


def create(name: str, values: Sequence[HandleValue] = (URL,), **options: Any) -> Way:
    return lambda desk: desk.as_admin(lambda client: client.create(name, values), **options)


def rest(method: str, path: str, body: Any = None, **options: Any) -> Way:
    return lambda desk: desk.rest(method, path, body, **options)


def command(*arguments: str, **options: Any) -> Way:
    return lambda desk: desk.command(*arguments, **options)


def line(*arguments: str) -> Way:
    return lambda desk: desk.line(*arguments)


def unproved(opcode: int, body: Any, node: str = "plain", transport: str = "tcp") -> Way:
    return lambda desk: desk.say(desk.request(opcode, body).to_octets(), node, transport)


# -- messages no client of ours would send ----------------------------------------------------------------------------


async def cut_body(desk: Desk) -> Said:
    header = Header(OpCode.RESOLUTION, 0, REQUEST_FLAGS, expiration=2**31)
    return await desk.say(build(Envelope(7, 0), header, b"\0\0\0\5ab").to_octets())


async def proof(desk: Desk, kind: str, octets: bytes) -> Said:
    """Answer a challenge with octets of our own."""
    asked = desk.request(OpCode.CREATE_HANDLE, ValuesRequest(b"99.900/never", (URL,)))
    resolver = desk.resolver("plain")
    challenge = await resolver.ask(asked)
    number = challenge.message.envelope.session_id
    body = ChallengeAnswerRequest(kind, ADMIN.handle, 300, octets)
    return await desk.say(desk.request(OpCode.CHALLENGE_ANSWER, body, session_id=number).to_octets())


async def unknown_kind_of_proof(desk: Desk) -> Said:
    return await proof(desk, "HS_OTHER", b"")


async def unreadable_proof(desk: Desk) -> Said:
    return await proof(desk, "HS_SECKEY", b"\xff")


async def proof_without_challenge(desk: Desk) -> Said:
    body = ChallengeAnswerRequest("HS_SECKEY", ADMIN.handle, 300, b"\x02" + bytes(20))
    return await desk.say(desk.request(OpCode.CHALLENGE_ANSWER, body, session_id=99).to_octets())


async def session(desk: Desk) -> ClientSession:
    resolver = desk.resolver("plain")
    return await SessionKeeper(resolver, ("tcp",), ADMIN.handle, 300).current()


async def ended_session(desk: Desk) -> Said:
    live = await session(desk)
    private = HandleValue(1, "HS_SECKEY", b"x", permissions=0x0C)
    body = ValuesRequest(b"99.900/never", (private,))
    octets = bytearray(live.to_octets(desk.request(OpCode.CREATE_HANDLE, body, session_id=live.id)))
    octets[4:8] = (live.id ^ 1).to_bytes(4, "big")
    return await desk.say(bytes(octets))


async def session_by_rsa(desk: Desk) -> Said:
    body = SessionSetupRequest(1, 60, ADMIN.handle, 300, b"")
    return await desk.say(desk.request(OpCode.SESSION_SETUP, body).to_octets())


async def session_with_a_weak_group(desk: Desk) -> Said:
    body = SessionSetupRequest(MODE_DIFFIE_HELLMAN, 60, ADMIN.handle, 300, b"\0\0\0\1x")
    return await desk.say(desk.request(OpCode.SESSION_SETUP, body).to_octets())


async def wrong_mac(desk: Desk) -> Said:
    live = await session(desk)
    forger = ClientSession(live.id, OTHER_KEY, live._version, desk.adapters.rng.octets, 0.0)
    return await desk.say(forger.to_octets(desk.request(OpCode.RESOLUTION, _part(), session_id=live.id)))


async def repeated_message(desk: Desk) -> Said:
    live = await session(desk)
    octets = live.to_octets(desk.request(OpCode.GET_SITE_INFO, HandleRequest(), session_id=live.id))
    assert (await desk.say(octets)).number == 1
    return await desk.say(octets)


def _part() -> ResolutionRequest:
    return ResolutionRequest(b"99.900/part")


# -- what is wrong on the machine -------------------------------------------------------------------------------------


async def taken_port(desk: Desk) -> Said:
    port = desk.nodes["plain"].tcp_addresses[0].port
    return await desk.line("up", "--port-base", str(port), "--exit")


async def nobody_there(desk: Desk) -> Said:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{holder.getsockname()[1]}"
        said = await desk.line("resolve", "99.900/part", "--server", server)
    return said


async def store_in_use(desk: Desk) -> Said:
    return await desk.line("check", desk.folder.parent / "full")


async def listed(client: Administrator) -> None:
    async for _ in client.list("99.900"):
        pass


async def damaged_store(desk: Desk) -> Said:
    """A copy, since the store itself is in use."""
    copy = desk.folder / "copy"
    copy.mkdir()
    for name in os.listdir(desk.folder.parent / "damaged"):
        if name.startswith("data"):
            (copy / name).write_bytes((desk.folder.parent / "damaged" / name).read_bytes())
    return await desk.line("check", copy)


async def exposed_key(desk: Desk) -> Said:
    path = desk.folder / "server.key"
    await desk.line("key", "new", path)
    path.chmod(0o644)
    return await desk.line("serve", "--set", f"key_file={path}")


_ADMIN_CALL = {"who": ADMIN}

ROWS: tuple[Row, ...] = (
    Row(
        "nothing: a handle is resolved",
        resolve("99.900/part"),
        rest("GET", "/api/handles/99.900/part"),
        command("resolve", "99.900/part"),
    ),
    Row(
        "nothing: a handle is made",
        create("99.900/native-new"),
        rest("PUT", "/api/handles/99.900/rest-new", [URL_JSON], **_ADMIN_CALL),
        command("create", "99.900/command-new", "URL=x", **_ADMIN_CALL),
    ),
    # -- the node's state -----------------------------------------------------------------------------------------
    Row(
        "the stored record is damaged",
        resolve("99.900/part", node="damaged"),
        rest("GET", "/api/handles/99.900/part", node="damaged"),
        command("resolve", "99.900/part", "--transport", "tcp", node="damaged"),
    ),
    Row(
        "an answer larger than a datagram, by UDP, to a host that is not trusted",
        resolve("99.900/part", node="strict", transport="udp"),
    ),
    Row("a list by UDP", unproved(OpCode.LIST_HANDLES, HandleRequest(b"0.NA/99.900"), transport="udp")),
    Row(
        "too many requests from one address",
        resolve("99.900/part", node="busy"),
        rest("GET", "/api/handles/99.900/part", node="busy"),
        command("resolve", "99.900/part", "--transport", "tcp", node="busy"),
    ),
    Row(
        "the disk is full up to its reserve",
        create("99.900/x", node="full"),
        rest("PUT", "/api/handles/99.900/x", [URL_JSON], node="full", **_ADMIN_CALL),
        command("create", "99.900/x", "URL=x", node="full", **_ADMIN_CALL),
    ),
    Row(
        "a write to the disk failed",
        create("99.900/x", node="broken"),
        rest("PUT", "/api/handles/99.900/x", [URL_JSON], node="broken", **_ADMIN_CALL),
        command("create", "99.900/x", "URL=x", node="broken", **_ADMIN_CALL),
    ),
    # -- the request ----------------------------------------------------------------------------------------------
    Row("a message whose body is cut off", cut_body),
    Row(
        "administration by UDP at a node that does not offer it",
        unproved(OpCode.DELETE_HANDLE, HandleRequest(b"99.900/part"), "shut", "udp"),
    ),
    Row("a body that is not JSON", rest=rest("PUT", "/api/handles/99.900/x", b"{", **_ADMIN_CALL)),
    Row("an index that is not a number", rest=rest("GET", "/api/handles/99.900/part?index=one")),
    Row("a path that does not exist", rest=rest("GET", "/api/nothing")),
    Row("a method the resource does not have", rest=rest("PUT", "/api/site", {})),
    Row("a method that is not known here", rest=rest("PATCH", "/api/handles/99.900/part")),
    Row(
        "an identity that is not index:handle",
        rest=rest("GET", "/api/handles/99.900/part", headers={"Authorization": "Basic eA=="}),
    ),
    Row("a back-up is asked for", unproved(OpCode.BACKUP_SERVER, HandleRequest())),
    Row(
        "a list at a node that gives none",
        unproved(OpCode.LIST_HANDLES, HandleRequest(b"0.NA/99.900"), "shut"),
        rest("GET", "/api/handles?prefix=99.900", node="shut"),
        command("list", "99.900", node="shut", **_ADMIN_CALL),
    ),
    Row(
        "a list meets a damaged record",
        lambda desk: desk.as_admin(listed, "damaged"),
        rest("GET", "/api/handles?prefix=99.900", node="damaged", **_ADMIN_CALL),
        command("list", "99.900", node="damaged", **_ADMIN_CALL),
    ),
    # -- handles --------------------------------------------------------------------------------------------------
    Row(
        "a handle that does not exist",
        resolve("99.900/none"),
        rest("GET", "/api/handles/99.900/none"),
        command("resolve", "99.900/none"),
    ),
    Row(
        "a handle is made that exists",
        create("99.900/part"),
        rest("PUT", "/api/handles/99.900/part?overwrite=false", [URL_JSON], **_ADMIN_CALL),
        command("create", "99.900/part", "URL=x", **_ADMIN_CALL),
    ),
    Row(
        "a handle that is not UTF-8",
        unproved(OpCode.CREATE_HANDLE, ValuesRequest(b"99.900/\xff", (URL,))),
        rest("PUT", "/api/handles/99.900/%FF", [URL_JSON], **_ADMIN_CALL),
    ),
    Row(
        "a handle longer than allowed",
        create(TOO_LONG),
        rest("PUT", f"/api/handles/{TOO_LONG}", [URL_JSON], **_ADMIN_CALL),
        command("create", TOO_LONG, "URL=x", **_ADMIN_CALL),
    ),
    Row(
        "a prefix that is not at this node",
        resolve("99.901/part"),
        rest("GET", "/api/handles/99.901/part"),
        command("resolve", "99.901/part"),
    ),
    # -- values ---------------------------------------------------------------------------------------------------
    Row(
        "an index the handle does not have is resolved",
        resolve("99.900/part", indexes=(77,)),
        rest("GET", "/api/handles/99.900/part?index=77"),
        command("resolve", "99.900/part", "--index", "77"),
    ),
    Row(
        "an index the handle does not have is removed",
        lambda desk: desk.as_admin(lambda client: client.remove("99.900/part", [77])),
        rest("DELETE", "/api/handles/99.900/part?index=77", **_ADMIN_CALL),
        command("update", "99.900/part", "--remove", "77", **_ADMIN_CALL),
    ),
    Row(
        "a value is added under an index that is taken",
        lambda desk: desk.as_admin(lambda client: client.add("99.900/part", [URL])),
        rest("PUT", "/api/handles/99.900/part?index=1&overwrite=false", URL_JSON, **_ADMIN_CALL),
        command("update", "99.900/part", "--add", "URL=x", **_ADMIN_CALL),
    ),
    Row(
        "a value with index 0",
        create("99.900/zero", [HandleValue(0, "URL", b"x")]),
        rest("PUT", "/api/handles/99.900/zero", [URL_JSON | {"index": 0}], **_ADMIN_CALL),
        command("create", "99.900/zero", "--value", '{"index":0,"type":"URL","data":"x"}', **_ADMIN_CALL),
    ),
    Row(
        "a range whose serials have not all the same number of digits",
        rest=rest("PUT", "/api/ranges/99.900/R%7B1-99%7D", [URL_JSON], **_ADMIN_CALL),
        command=line("range", "create", "99.900/R{1-99}", "URL=x", "--no-admin"),
    ),
    Row(
        "a range with a placeholder that is not known",
        rest=rest("PUT", "/api/ranges/99.900/R%7B1-9%7D", [URL_JSON | {"data": "${number}"}], **_ADMIN_CALL),
    ),
    Row(
        "a range that is not registered is deleted",
        rest=rest("DELETE", "/api/ranges/99.900/R%7B1-9%7D", **_ADMIN_CALL),
    ),
    Row(
        "a value nobody may write is changed",
        lambda desk: desk.as_admin(lambda client: client.modify("99.900/part", [HandleValue(5, "FIXED", b"x")])),
        command=command("update", "99.900/part", "--value", '{"index":5,"type":"FIXED","data":"x"}', **_ADMIN_CALL),
    ),
    Row(
        "a value nobody may read is read by an administrator",
        lambda desk: desk.as_admin(lambda client: client.resolve("99.900/hidden")),
        rest("GET", "/api/handles/99.900/hidden", **_ADMIN_CALL),
    ),
    # -- who asks -------------------------------------------------------------------------------------------------
    Row(
        "somebody without the right makes a handle",
        create("99.900/theirs", who=OTHER),
        rest("PUT", "/api/handles/99.900/theirs", [URL_JSON], who=OTHER),
        command("create", "99.900/theirs", "URL=x", who=OTHER),
    ),
    Row(
        "a handle is made without saying who asks",
        unproved(OpCode.CREATE_HANDLE, ValuesRequest(b"99.900/anon", (URL,))),
        rest("PUT", "/api/handles/99.900/anon", [URL_JSON]),
        command("create", "99.900/anon", "URL=x"),
    ),
    Row(
        "a wrong secret",
        create("99.900/wrong", secret=b"wrong"),
        rest("PUT", "/api/handles/99.900/wrong", [URL_JSON], secret=b"wrong", **_ADMIN_CALL),
        command("create", "99.900/wrong", "URL=x", secret=b"wrong", **_ADMIN_CALL),
    ),
    Row(
        "a secret over plain HTTP where that is off",
        rest=rest("PUT", "/api/handles/99.900/x", [URL_JSON], node="shut", **_ADMIN_CALL),
    ),
    Row("a kind of proof that is not known", unknown_kind_of_proof),
    Row("a proof for a challenge that is unknown, used or expired", proof_without_challenge),
    Row("a proof that cannot be read", unreadable_proof),
    # -- sessions -------------------------------------------------------------------------------------------------
    Row("an encrypted message in a session that is unknown or has ended", ended_session),
    Row("a session by RSA", session_by_rsa),
    Row("a message with another session's MAC", wrong_mac),
    Row("a session whose Diffie-Hellman half cannot be read", session_with_a_weak_group),
    Row("a message of a session is sent again", repeated_message),
    Row("an HTTP session that nobody opened", rest=rest("GET", "/api/sessions/this")),
    # -- the command line alone -----------------------------------------------------------------------------------
    Row("a command that does not exist", command=line("frobnicate")),
    Row("a pair that is none", command=line("create", "99.900/x", "URL", "--config-dir", "DIR")),
    Row("an address that is none", command=line("resolve", "99.900/part", "--server", "127.0.0.1:x")),
    Row("a setting that does not exist", command=line("serve", "--set", "listen.udp_prot=1")),
    Row("a setting of another type", command=line("serve", "--set", "network.tcp_idle_s=soon")),
    Row("a file that does not exist", command=line("serve", "none.toml")),
    Row("nobody answers at the address", command=nobody_there),
    Row("a store that a node is using", command=store_in_use),
    Row("a store with a damaged record", command=damaged_store),
    Row("a key file that others may read", command=exposed_key),
    Row("a port that somebody has", command=taken_port),
)
