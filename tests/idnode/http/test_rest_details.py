"""The small print of the JSON interface (docs/protocol.md §7.1, §7.2, §7.4) and the native tunnel (§4.3)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from idnode.adapters import real_adapters
from idnode.config import AuthenticationConfig, ListenConfig, NodeConfig
from idnode.http.call import TRUE_TEXTS
from idnode.node import Node
from tests.idnode.http import test_rest
from tests.idnode.http.test_rest import SECRET, SIGNER, URL_VALUE, Api, admin
from tests.idnode.test_answer_cache import message

api = test_rest.api
PART = "/api/handles/99.900/part"
HIDDEN = {"index": 7, "type": "NOTE", "permissions": "1100", "data": "for administrators"}
NATIVE = "application/x-hdl-message"


@pytest.fixture
async def plain_api() -> AsyncIterator[Api]:
    """A node that takes no secrets over plain HTTP."""
    adapters = real_adapters()
    listen = ListenConfig(addresses=("127.0.0.1",), udp_port=0, tcp_port=0, http_port=0)
    config = NodeConfig(listen=listen, authentication=AuthenticationConfig(http_auth="never"))
    async with Node(config, adapters, SIGNER) as node, aiohttp.ClientSession() as session:
        yield Api(node, session)
    adapters.close()


async def indexes(api: Api, query: str = "", body: Any = None, *, secret: bytes | None = None) -> list[int]:
    method = "GET" if body is None else "POST"
    status, answer, _ = await api.call(method, PART + query, body, secret=secret)
    assert status == 200, answer
    return [value["index"] for value in answer["values"]]


async def test_who_sees_what_is_not_public(api: Api) -> None:
    await api.call("PUT", PART, [URL_VALUE, admin(), HIDDEN], secret=SECRET)
    assert await indexes(api) == [1, 100]
    assert await indexes(api, secret=SECRET) == [1, 7, 100]
    assert await indexes(api, "?publicOnly", secret=SECRET) == [1, 100]
    assert await indexes(api, "?publicOnly=no&index=1") == [1]
    status, body, _ = await api.call("GET", PART + "?publicOnly=false")
    assert (status, body["responseCode"]) == (401, 402)


async def test_types_and_indexes_are_a_union(api: Api) -> None:
    other = {"index": 2, "type": "EMAIL", "data": "part@example.org"}
    await api.call("PUT", PART, [URL_VALUE, other, admin()], secret=SECRET)
    assert await indexes(api, "?type=URL&index=100") == [1, 100]
    assert await indexes(api, "?index=1&index=2") == [1, 2]
    assert await indexes(api, body={"type": ["URL", "EMAIL"]}) == [1, 2]
    assert await indexes(api, body={"index": "2"}) == [2]
    assert await indexes(api, "?auth&cert&doNotRefer&index=1") == [1]


@pytest.mark.parametrize(
    ("method", "query", "body", "status"),
    [
        ("PUT", "", URL_VALUE, 201),
        ("PUT", "", {"values": [URL_VALUE]}, 201),
        ("PUT", "", {"handle": "99.900/PART", "values": [URL_VALUE]}, 201),
        ("PUT", "?overwrite=false", [URL_VALUE], 201),
        ("PUT", "", "text", 400),
        ("PUT", "?index=1&index=2", [URL_VALUE], 400),
        ("PUT", "?index=1", [URL_VALUE], 404),
        ("DELETE", "", None, 404),
        ("DELETE", "?index=1", None, 404),
    ],
)
async def test_body_forms_and_what_becomes_of_them(api: Api, method: str, query: str, body: Any, status: int) -> None:
    found, answer, _ = await api.call(method, PART + query, body, secret=SECRET)
    assert (found, answer["responseCode"] == 1) == (status, status < 300)


async def test_the_content_type_of_a_put_matters(api: Api) -> None:
    for kind, status in (("text/plain", 400), ("application/json; charset=UTF-8", 201)):
        assert (await api.call("PUT", PART, [URL_VALUE], secret=SECRET, Content_Type=kind))[0] == status


async def test_a_name_can_be_minted(api: Api) -> None:
    status, body, _ = await api.call("PUT", "/api/handles/99.900/m-?mintNewSuffix=true", [URL_VALUE], secret=SECRET)
    assert status == 201
    assert re.fullmatch(r"99\.900/m-[0-9a-f-]{36}", body["handle"])


async def test_prefixes(api: Api) -> None:
    assert (await api.call("GET", "/api/prefixes"))[0] == 401
    status, body, _ = await api.call("POST", "/api/prefixes/0.NA/99.901", secret=SECRET)
    assert (status, body["responseCode"]) == (403, 400)  # the demo's administrator does not rule the server
    assert (await api.call("PUT", "/api/prefixes/0.NA/99.901", b"{}", secret=SECRET))[0] == 405


def proof(secret: bytes) -> str:
    """Query of a verification: SHA-1 over secret, nonces, secret."""
    signature = hashlib.sha1(secret + b"nonce" + b"cnonce" + secret, usedforsecurity=False).digest()
    texts = {"nonce": b"nonce", "cnonce": b"cnonce", "signature": signature}
    pairs = {name: base64.b64encode(octets).decode().replace("+", "%2B") for name, octets in texts.items()}
    return "&".join(f"{name}={text}" for name, text in (pairs | {"alg": "SHA1"}).items())


async def test_verifications(api: Api) -> None:
    for secret, is_valid in ((SECRET, True), (b"wrong", False)):
        status, body, _ = await api.call("GET", "/api/verifications/300:99.900/ADMIN?" + proof(secret))
        assert (status, body) == (200, {"responseCode": 1, "handle": "99.900/ADMIN", "isValid": is_valid})


async def test_the_shape_of_answers(api: Api) -> None:
    _, text, headers = await api.call("GET", PART + "?callback=alert(1)//")
    assert text == {"responseCode": 100, "handle": "99.900/part"}
    assert headers["Content-Type"].lower() == "application/json; charset=utf-8"
    assert headers["Access-Control-Allow-Origin"] == "*"
    async with api.session.get(f"{api.base}{PART}?pretty", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert (await answer.text()).startswith('{\n  "responseCode": 100')
    async with api.session.head(api.base + PART) as answer:
        assert (answer.status, await answer.read()) == (404, b"")
    assert {text for text in ("", "yes", "true", "no", "1") if text in TRUE_TEXTS} == {"", "yes", "true"}


async def test_sessions_are_opened_once_and_named(api: Api) -> None:
    status, session, headers = await api.call("POST", "/api/sessions", {"cnonce": base64.b64encode(b"c").decode()})
    assert (status, headers["Location"], session["serverAlg"]) == (201, "/api/sessions/this", "SHA-256")
    signature, nonce = (base64.b64decode(session[name]) for name in ("serverSignature", "nonce"))
    assert SIGNER.sign(nonce + b"c", "sha256") == signature  # PKCS #1 v1.5 signatures are deterministic
    named = f'Handle sessionId="{session["sessionId"]}"'
    assert (await api.call("POST", "/api/sessions", Authorization=named))[0] == 400
    status, body, _ = await api.call("GET", "/api/sessions/this", Authorization=named)
    assert (status, body["nonce"], "authenticated" in body) == (200, session["nonce"], False)
    assert (await api.call("GET", "/api/sessions/this"))[0] == 403
    assert (await api.call("GET", "/api/sessions/other", Authorization=named))[0] == 404


async def test_no_secrets_over_plain_http_when_so_configured(plain_api: Api) -> None:
    status, body, headers = await plain_api.call("GET", "/api/prefixes", secret=SECRET)
    assert (status, body["responseCode"], "WWW-Authenticate" in headers) == (403, 402, False)
    assert (await plain_api.call("POST", "/api/sessions"))[0] == 403


async def test_native_messages_by_content_type_whatever_the_path(api: Api) -> None:
    request = message()
    for path, begin in (("/", b""), ("/99.900/ADMIN", b"\n"), (PART, b"\r")):
        status, _, headers = await exchange(api, path, begin + request)
        assert (status, headers["Content-Type"]) == (200, NATIVE)
        assert "Transfer-Encoding" not in headers
        assert "Content-Encoding" not in headers
    assert (await api.call("POST", "/", request, Content_Type=NATIVE))[0] == 405
    assert (await exchange(api, "/", request[:30]))[0] in (200, 400)


async def exchange(api: Api, path: str, octets: bytes) -> tuple[int, bytes, Any]:
    headers = {"Content-Type": NATIVE, "Accept": NATIVE, "Accept-Encoding": "gzip"}
    async with api.session.post(api.base + path, data=octets, headers=headers) as answer:
        return answer.status, await answer.read(), answer.headers
