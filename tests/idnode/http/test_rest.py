"""The JSON REST interface as a client meets it (docs/protocol.md §7), on a real node over loopback."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from idnode.adapters import real_adapters
from idnode.client.resolver import Resolver
from idnode.config import ListenConfig, NodeConfig
from idnode.demo import Administrator, seed_administrator, seed_prefix
from idnode.node import Node
from idnode_registry.crypto import Signer

SIGNER = Signer.generate()
SECRET = b"a fictional secret"
URL_VALUE = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://example.org/1"}}


class Api:
    """A node and an HTTP session with it."""

    def __init__(self, node: Node, session: aiohttp.ClientSession) -> None:
        self.node, self.session = node, session
        self.base = f"http://{node.http_addresses[0]}"

    async def call(
        self, method: str, path: str, body: Any = None, *, secret: bytes | None = None, **headers: str
    ) -> tuple[int, Any, Any]:
        """(status, parsed body, headers)."""
        if secret is not None:
            user = base64.b64encode(quote("300:99.900/ADMIN", safe="").encode() + b":" + secret).decode()
            headers["Authorization"] = f"Basic {user}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            named.setdefault("Content-Type", "application/json")
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        async with self.session.request(
            method, self.base + path, data=data, headers=named, allow_redirects=False
        ) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json" and text
            return answer.status, json.loads(text) if is_json else text, answer.headers


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    adapters = real_adapters()
    listen = ListenConfig(addresses=("127.0.0.1",), udp_port=0, tcp_port=0, http_port=0)
    async with (
        Node(NodeConfig(prefixes=("99.900",), listen=listen), adapters, SIGNER) as node,
        aiohttp.ClientSession() as session,
    ):
        administrator = Administrator(b"99.900/ADMIN", SECRET, SIGNER.public_key_octets)
        seed_prefix(node.registry, b"99.900", administrator, node.sites, adapters.clock.now())
        seed_administrator(node.registry, administrator, adapters.clock.now())
        yield Api(node, session)
    adapters.close()


async def test_the_life_of_a_handle(api: Api) -> None:
    path = "/api/handles/99.900/part"
    assert (await api.call("GET", path))[:2] == (404, {"responseCode": 100, "handle": "99.900/part"})
    status, body, _ = await api.call("PUT", path, [URL_VALUE, admin()], secret=SECRET)
    assert (status, body) == (201, {"responseCode": 1, "handle": "99.900/part"})
    assert (await api.call("PUT", path, [URL_VALUE, admin()], secret=SECRET))[0] == 200
    status, body, _ = await api.call("PUT", path + "?overwrite=false", [URL_VALUE], secret=SECRET)
    assert (status, body["responseCode"]) == (409, 101)
    status, body, _ = await api.call("GET", path + "?index=1")
    assert (status, [value["data"]["value"] for value in body["values"]]) == (200, ["https://example.org/1"])
    email = {"index": 2, "type": "EMAIL", "data": "part@example.org"}
    assert (await api.call("PUT", path + "?index=2", [email], secret=SECRET))[0] == 201
    assert (await api.call("PUT", path + "?index=3", [email], secret=SECRET))[0] == 400
    assert (await api.call("PUT", path + "?index=various", email, secret=SECRET))[0] == 200
    assert (await api.call("DELETE", path + "?index=2", secret=SECRET))[0] == 200
    status, body, _ = await api.call("GET", path + "?type=EMAIL")
    assert (status, body) == (200, {"responseCode": 200, "handle": "99.900/part", "values": []})
    assert (await api.call("DELETE", path, secret=SECRET))[0] == 200
    assert (await api.call("DELETE", path, secret=SECRET))[:2][0] == 404


def admin() -> dict[str, Any]:
    value = {"handle": "99.900/ADMIN", "index": 300, "permissions": "111111111111"}
    return {"index": 100, "type": "HS_ADMIN", "data": {"format": "admin", "value": value}}


async def test_who_may_not(api: Api) -> None:
    path = "/api/handles/99.900/part"
    status, body, headers = await api.call("PUT", path, [URL_VALUE])
    assert (status, body["responseCode"]) == (401, 402)
    assert headers["WWW-Authenticate"].startswith('Basic realm="handle", Handle sessionId="')
    assert (await api.call("PUT", path, [URL_VALUE], secret=b"wrong"))[0] == 401
    quiet = await api.call("PUT", path, [URL_VALUE], X_Requested_With="XMLHttpRequest")
    assert "Basic" not in quiet[2]["WWW-Authenticate"]
    assert (await api.call("GET", path))[0] == 404


async def test_a_signature_over_both_nonces_opens_a_session(api: Api) -> None:
    status, session, _ = await api.call("POST", "/api/sessions")
    assert status == 201
    cnonce = b"client nonce"
    signed = SIGNER.sign(base64.b64decode(session["nonce"]) + cnonce, "sha256")
    fields = {
        "version": "0",
        "sessionId": session["sessionId"],
        "id": quote("301:99.900/ADMIN", safe=""),
        "type": "HS_PUBKEY",
        "cnonce": base64.b64encode(cnonce).decode(),
        "alg": "SHA256",
        "signature": base64.b64encode(signed).decode(),
    }
    proof = "Handle " + ", ".join(f'{name}="{value}"' for name, value in fields.items())
    path = "/api/handles/99.900/signed"
    assert (await api.call("PUT", path, [URL_VALUE], Authorization=proof))[0] == 201
    later = f'Handle sessionId="{session["sessionId"]}"'
    assert (await api.call("GET", "/api/handles?prefix=99.900", Authorization=later))[0] == 200
    forged = proof.replace(fields["signature"], base64.b64encode(bytes(256)).decode())
    status, other, _ = await api.call("POST", "/api/sessions")
    forged = forged.replace(session["sessionId"], other["sessionId"])
    assert (await api.call("PUT", path, [URL_VALUE], Authorization=forged))[0] == 401
    assert (await api.call("DELETE", "/api/sessions/this", Authorization=later))[:2] == (204, "")
    assert (await api.call("PUT", path, [URL_VALUE], Authorization=later))[0] == 401


async def test_lists_pages_and_reverse_look_up(api: Api) -> None:
    for number in range(3):
        await api.call("PUT", f"/api/handles/99.900/p{number}", [URL_VALUE], secret=SECRET)
    status, body, _ = await api.call("GET", "/api/handles?prefix=99.900", secret=SECRET)
    assert (status, body["totalCount"], len(body["handles"])) == (200, "4", 4)
    assert body["handles"] == ["99.900/ADMIN", "99.900/p0", "99.900/p1", "99.900/p2"]
    _, body, _ = await api.call("GET", "/api/handles?prefix=0.NA/99.900&page=1&pageSize=3", secret=SECRET)
    assert (body["page"], body["pageSize"], body["handles"]) == (1, 3, ["99.900/p2"])
    assert (await api.call("GET", "/api/handles?prefix=99.900"))[0] == 401
    status, found, _ = await api.call("GET", "/hrls/handles?URL=*example.org/1")
    assert (status, sorted(found)) == (200, ["99.900/p0", "99.900/p1", "99.900/p2"])
    assert (await api.call("GET", "/hrls/other"))[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/api/handles/99.900/x", b"not json", 400),
        ("PUT", "/api/handles/99.900/x", b'[{"index":1}]', 400),
        ("PUT", "/api/handles/99.900/x", b"[" * 5_000, 400),
        ("PUT", "/api/handles/99.900/x", b'{"handle":"99.900/y","values":[]}', 400),
        ("GET", "/api/handles/99.900/x?index=-1", None, 400),
        ("GET", "/api/handles/99.901/x", None, 400),
        ("GET", "/api/handles", None, 400),
        ("GET", "/api/nothing", None, 404),
        ("PATCH", "/api/handles/99.900/x", None, 501),
        ("PUT", "/api/site", b"{}", 405),
        ("GET", "/99.900/ADMIN", None, 302),
        ("OPTIONS", "/api/handles/99.900/x", None, 200),
        ("GET", "/api/site", None, 200),
        ("GET", "/livez", None, 200),
        ("GET", "/readyz", None, 200),
        ("GET", "/metrics", None, 200),
    ],
)
async def test_what_is_answered_to_odd_requests(
    api: Api, method: str, path: str, body: bytes | None, status: int
) -> None:
    found, answer, _ = await api.call(method, path, body, secret=SECRET if method == "PUT" else None)
    assert found == status
    if status >= 400:
        assert answer["responseCode"] > 1


async def test_paths_are_decoded_octet_by_octet(api: Api) -> None:
    for path in ("99.900/a%2Fb", "99.900/a+b", "99.900/%C3%A9", "99.900//x", "99.900/a%3Fb"):
        assert (await api.call("PUT", f"/api/handles/{path}", [URL_VALUE], secret=SECRET))[0] == 201, path
        assert (await api.call("GET", f"/api/handles/{path}"))[0] == 200
    assert api.node.registry.record(b"99.900/a+b") is not None
    assert api.node.registry.record("99.900/é".encode()) is not None
    status, body, _ = await api.call("PUT", "/api/handles/99.900/%ff", [URL_VALUE], secret=SECRET)
    assert (status, body["responseCode"]) == (400, 102)


async def test_json_with_padding(api: Api) -> None:
    _, text, headers = await api.call("GET", "/api/handles/99.900/ADMIN?callback=show")
    assert text.startswith("show({")
    assert headers["Content-Type"].startswith("application/javascript")


async def test_one_port_for_http_and_https(api: Api) -> None:
    url = api.base.replace("http://", "https://") + "/api/handles/99.900/ADMIN"
    context = ssl._create_unverified_context()
    async with api.session.get(url, ssl=context) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("transport", ["udp", "tcp", "http"])
async def test_our_own_client_sees_the_same_record(api: Api, transport: str) -> None:
    server = api.base if transport == "http" else str(api.node.tcp_addresses[0])
    async with Resolver(server, transports=(transport,), public_key=SIGNER.public_key_octets) as resolver:
        record = await resolver.resolve("99.900/ADMIN", certified=True)
    assert [value.index for value in record.values] == [100, 200, 301]
