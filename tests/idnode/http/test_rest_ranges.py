"""``/api/ranges`` and the walk of every name, as a client meets them (docs/ranges.md)."""

from __future__ import annotations

from tests.idnode.http.test_rest import SECRET, Api, admin, api

__all__ = ["api"]

PATH = "/api/ranges/99.900/SN%7B0001-9999%7D"
TEMPLATE = [
    {"index": 1, "type": "URL", "data": "https://example.org/${serial}?is=${handle}&price=$$5"},
    {"index": 2, "type": "NOTE", "data": "for us only", "permissions": "1100"},
    admin(),
]


async def test_the_life_of_a_range(api: Api) -> None:
    status, body, headers = await api.call("PUT", PATH, TEMPLATE)
    assert (status, body["responseCode"]) == (401, 402)
    assert "WWW-Authenticate" in headers
    expected = {
        "responseCode": 1,
        "range": "99.900/SN{0001-9999}",
        "first": "99.900/SN0001",
        "last": "99.900/SN9999",
        "rangeRegistered": "9999",
    }
    assert (await api.call("PUT", PATH, {"values": TEMPLATE}, secret=SECRET))[:2] == (201, expected)
    status, body, _ = await api.call("GET", "/api/handles/99.900/sn0042?type=URL")
    assert (status, body["handle"]) == (200, "99.900/sn0042")
    assert body["values"][0]["data"]["value"] == "https://example.org/0042?is=99.900/SN0042&price=$5"
    status, body, _ = await api.call("GET", PATH, secret=SECRET)
    assert (status, [value["index"] for value in body["values"]]) == (200, [1, 2, 100])
    assert body["values"][0]["data"]["value"] == TEMPLATE[0]["data"]
    status, body, _ = await api.call("GET", "/api/ranges?prefix=99.900", secret=SECRET)
    assert (status, body["rangeRegistered"]) == (200, "9999")
    assert [found["range"] for found in body["ranges"]] == ["99.900/SN{0001-9999}"]
    assert (await api.call("PUT", PATH, TEMPLATE, secret=SECRET))[0] == 409
    assert (await api.call("PUT", PATH + "?overwrite=true", TEMPLATE[:1], secret=SECRET))[0] == 200
    assert (await api.call("DELETE", PATH, secret=SECRET))[0] == 200
    assert (await api.call("GET", "/api/handles/99.900/SN0042"))[0] == 404
    assert (await api.call("DELETE", PATH, secret=SECRET))[0] == 404


async def test_a_member_is_changed_deleted_and_made_again(api: Api) -> None:
    assert (await api.call("PUT", PATH, TEMPLATE, secret=SECRET))[0] == 201
    member = "/api/handles/99.900/SN0007"
    assert (await api.call("PUT", member + "?overwrite=false", TEMPLATE, secret=SECRET))[0] == 409
    email = {"index": 3, "type": "EMAIL", "data": "part@example.org"}
    assert (await api.call("PUT", member + "?index=3", [email], secret=SECRET))[0] == 201
    _, body, _ = await api.call("GET", member)
    assert [value["index"] for value in body["values"]] == [1, 3, 100]
    assert (await api.call("GET", member))[1]["values"][0]["data"]["value"].startswith("https://example.org/0007?")
    assert (await api.call("DELETE", member, secret=SECRET))[0] == 200
    assert (await api.call("GET", member))[0] == 404
    assert (await api.call("DELETE", member, secret=SECRET))[0] == 404
    assert (await api.call("PUT", member, [email], secret=SECRET))[0] == 201
    assert [value["index"] for value in (await api.call("GET", member))[1]["values"]] == [3]


async def test_lists_show_what_is_stored_and_count_the_rest_beside_it(api: Api) -> None:
    assert (await api.call("PUT", PATH, TEMPLATE, secret=SECRET))[0] == 201
    assert (await api.call("DELETE", "/api/handles/99.900/SN0001", secret=SECRET))[0] == 200
    status, body, _ = await api.call("GET", "/api/handles?prefix=99.900", secret=SECRET)
    assert (status, body["totalCount"], body["rangeRegistered"]) == (200, "1", "9999")
    assert body["handles"] == ["99.900/ADMIN"]
    names: list[str] = []
    path = "/api/handles?prefix=0.NA/99.900&expand=true&limit=1000"
    pages, cursor = 0, ""
    while True:
        status, body, _ = await api.call("GET", path + cursor, secret=SECRET)
        assert status == 200
        names += body["handles"]
        pages += 1
        if "cursor" not in body:
            break
        cursor = f"&cursor={body['cursor']}"
    assert names == ["99.900/ADMIN", *(f"99.900/SN{number:04}" for number in range(2, 10_000))]
    assert pages <= 12


async def test_what_cannot_be_a_range_is_told(api: Api) -> None:
    for path, told in (
        ("/api/ranges/99.900/SN%7B1-99%7D", "same number of digits"),
        ("/api/ranges/99.900/SN0001", "one pair of braces"),
        ("/api/ranges/99.900/SN%7B9-1%7D", "must not be above"),
    ):
        status, body, _ = await api.call("PUT", path, TEMPLATE, secret=SECRET)
        assert (status, body["responseCode"]) == (400, 102)
        assert told in body["message"]
    bad = [{"index": 1, "type": "URL", "data": "https://example.org/$serial"}]
    status, body, _ = await api.call("PUT", PATH, bad, secret=SECRET)
    assert (status, body["responseCode"], body["range"]) == (400, 202, "99.900/SN{0001-9999}")
    assert "${serial}" in body["message"]
    assert (await api.call("PUT", "/api/ranges/99.909/SN%7B1-9%7D", TEMPLATE, secret=SECRET))[1]["responseCode"] == 301
    assert (await api.call("GET", "/api/handles?prefix=99.900&expand=true&cursor=x", secret=SECRET))[0] == 400
    assert (await api.call("GET", "/api/handles?prefix=99.900&expand=true&cursor=eHh4", secret=SECRET))[0] == 400
    assert (await api.call("GET", "/api/ranges?prefix=99.900&limit=0", secret=SECRET))[0] == 400
    assert (await api.call("GET", "/api/ranges?prefix=99.900"))[0] == 401


async def test_a_handle_with_braces_stays_a_handle(api: Api) -> None:
    path = "/api/handles/99.900/SN%7B0001-9999%7D"
    assert (await api.call("PUT", path, TEMPLATE, secret=SECRET))[0] == 201
    assert (await api.call("GET", path))[1]["values"][0]["data"]["value"] == TEMPLATE[0]["data"]
    assert (await api.call("GET", "/api/handles/99.900/SN0042"))[0] == 404
    assert (await api.call("GET", PATH, secret=SECRET))[0] == 404
