"""The page for people (docs/protocol.md §7.5): redirects, locations, aliases, and nothing a stranger could abuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest

from idnode.adapters import real_adapters
from idnode.config import ListenConfig, NodeConfig
from idnode.demo import Administrator, seed_administrator, seed_prefix
from idnode.http.page.locations import Location, Locations, LocationsRefused, Visitor, choose, parse_locations
from idnode.http.page.target import safe_url
from idnode.node import Node
from idnode_protocol.codes import OpCode
from idnode_protocol.requests import ValuesRequest
from idnode_protocol.value import HandleValue
from idnode_registry.ask import Ask
from idnode_registry.crypto import Signer

LOCATIONS = (
    b'<locations chooseby="locatt,country,weighted">'
    b'<location id="0" href="https://far.example.org/" weight="0"/>'
    b'<location id="1" href="https://cn.example.org/" country="cn" weight="1"/></locations>'
)
RECORDS = {
    "url": [("URL", b"https://example.org/part?a=1&b=2")],
    "chinese": [("URL", "https://example.org/零件".encode())],
    "script": [("URL", b"javascript:alert(1)"), ("DESC", b"<script>alert(1)</script>")],
    "newline": [("URL", b"https://example.org/\r\nSet-Cookie: a=b")],
    "plain": [("DESC", "钢板".encode())],
    "loc": [("10320/loc", LOCATIONS), ("URL", b"https://never.example.org/")],
    "badloc": [("10320/loc", b"<!DOCTYPE x [<!ENTITY a 'b'>]><locations/>"), ("URL", b"https://fallback.example.org/")],
    "alias": [("HS_ALIAS", b"99.900/url")],
    "circle": [("HS_ALIAS", b"99.900/circle2")],
    "circle2": [("HS_ALIAS", b"99.900/circle")],
}


class Site:
    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self.base, self._session = base, session

    async def get(self, path: str, **headers: str) -> tuple[int, str, dict[str, str]]:
        named = {"Accept": "text/html"} | {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.get(self.base + path, allow_redirects=False, headers=named) as answer:
            return answer.status, await answer.text(), {str(name): value for name, value in answer.headers.items()}

    async def place(self, path: str) -> str | None:
        status, _, headers = await self.get(path)
        return headers.get("Location") if status == 302 else None


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    adapters, signer = real_adapters(), Signer.generate()
    listen = ListenConfig(addresses=("127.0.0.1",), udp_port=None, tcp_port=0, http_port=0)
    async with (
        Node(NodeConfig(prefixes=("99.900",), listen=listen), adapters, signer) as node,
        aiohttp.ClientSession() as session,
    ):
        admin = Administrator(b"99.900/ADMIN", b"a fictional secret", signer.public_key_octets)
        now = adapters.clock.now()
        seed_prefix(node.registry, b"99.900", admin, node.sites, now)
        seed_administrator(node.registry, admin, now)
        for name, rows in RECORDS.items():
            values = tuple(HandleValue(index, kind, data) for index, (kind, data) in enumerate(rows, 1))
            reply = await node.ask(Ask(OpCode.CREATE_HANDLE, ValuesRequest(f"99.900/{name}".encode(), values)))
            assert reply.is_success, name
        yield Site(f"http://{node.http_addresses[0]}", session)
    adapters.close()


async def test_a_url_is_a_redirect(site: Site) -> None:
    assert await site.place("/99.900/url") == "https://example.org/part?a=1&b=2"
    assert await site.place("/99.900/url?urlappend=%26c=3") == "https://example.org/part?a=1&b=2&c=3"
    assert await site.place("/99.900/chinese") == "https://example.org/%E9%9B%B6%E4%BB%B6"
    assert await site.place("/99.900/alias") == "https://example.org/part?a=1&b=2"


async def test_noredirect_shows_the_record(site: Site) -> None:
    status, text, headers = await site.get("/99.900/url?noredirect")
    assert (status, "a=1&amp;b=2" in text) == (200, True)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    status, text, _ = await site.get("/99.900/alias?noredirect&ignore_aliases")
    assert (status, "HS_ALIAS" in text) == (200, True)
    _, text, _ = await site.get("/99.900/script?noredirect&type=DESC")
    assert "javascript" not in text


@pytest.mark.parametrize("name", ["script", "newline"])
async def test_a_browser_is_not_sent_anywhere(site: Site, name: str) -> None:
    status, text, headers = await site.get(f"/99.900/{name}")
    assert status == 200
    assert "Location" not in headers
    assert "<script>" not in text
    assert "Set-Cookie" not in headers


async def test_the_reader_chooses_the_language(site: Site) -> None:
    _, english, _ = await site.get("/99.900/plain", Accept_Language="fr, en;q=0.8, zh;q=0.5")
    _, chinese, _ = await site.get("/99.900/plain", Accept_Language="zh-CN,zh;q=0.9,en;q=0.8")
    assert ("Type" in english, "钢板" in english) == (True, True)
    assert ("类型" in chinese, "钢板" in chinese) == (True, True)


async def test_what_is_not_there_has_a_page(site: Site) -> None:
    assert (await site.get("/99.900/none"))[0] == 404
    assert (await site.get("/98.1/none"))[0] == 404
    assert (await site.get("/99.900/circle"))[0] == 502
    status, text, _ = await site.get("/99.900/%3Cscript%3E")
    assert (status, "<script>" in text) == (404, False)


async def test_a_program_is_sent_to_the_json(site: Site) -> None:
    for name in ("plain", "none", "circle"):
        status, _, headers = await site.get(f"/99.900/{name}", Accept="*/*")
        assert (status, headers["Location"]) == (302, f"/api/handles/99.900/{name}")
    _, _, headers = await site.get("/99.900/url", Accept="*/*")
    assert headers["Location"].startswith("https://example.org/")


async def test_the_front_page_asks(site: Site) -> None:
    status, text, _ = await site.get("/")
    assert (status, "<form" in text) == (200, True)
    assert await site.place("/?handle=99.900/plain") == "/99.900/plain?noredirect"
    assert (await site.get("/?handle=//evil.example.org/"))[0] == 400


async def test_locations_stand_before_urls(site: Site) -> None:
    assert await site.place("/99.900/loc") == "https://far.example.org/"  # nobody's country is known: those without one
    assert await site.place("/99.900/loc?locatt=country:CN") == "https://cn.example.org/"
    assert await site.place("/99.900/loc?locatt=id:1") == "https://cn.example.org/"
    assert await site.place("/99.900/loc?locatt=id:7") == "https://never.example.org/"
    assert await site.place("/99.900/badloc") == "https://fallback.example.org/"


def located(*rows: dict[str, str], order: tuple[str, ...] = ("score", "weighted")) -> Locations:
    return Locations(order, tuple(Location(row["href"], row) for row in rows))


def test_weights_decide_how_often() -> None:
    many = located({"href": "a", "weight": "3"}, {"href": "b", "weight": "1"}, {"href": "c", "weight": "0"})
    draws = Counter(
        choose(many, Visitor((), None, lambda place=place: place / 100)).href  # type: ignore[union-attr, misc]
        for place in range(100)
    )
    assert draws == {"a": 75, "b": 25}


def test_the_best_score_wins_and_odd_numbers_harm_nobody() -> None:
    many = located({"href": "a", "score": "1"}, {"href": "b", "score": "2"}, {"href": "c", "score": "nan"})
    assert choose(many, Visitor((), None, lambda: 0.0)) == many.locations[1]
    odd = located({"href": "a", "weight": "inf"}, {"href": "b", "weight": "-1"}, order=("weighted",))
    assert choose(odd, Visitor((), None, lambda: 0.999)) == odd.locations[0]
    assert choose(located(), Visitor((), None, lambda: 0.5)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"<locations",
        b"\xff\xfe<\x00",
        b"<!doctype a><locations/>",
        b"<a>" * 20_000,
        b"<locations>" + b"<location href='x'/>" * 1_001 + b"</locations>",
        b"x" * 65_537,
    ],
)
def test_unusable_locations_are_refused(data: bytes) -> None:
    with pytest.raises(LocationsRefused):
        parse_locations(data)


@pytest.mark.parametrize(
    "text", ["", "//host", "data:text/html,x", "https://", "https://a b", "http://a\\b", "x" * 9_000]
)
def test_unsafe_urls(text: str) -> None:
    assert safe_url(text) is None
