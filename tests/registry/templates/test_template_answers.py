"""Names that are not stored, from the registry's answer to a request."""

from __future__ import annotations

from typing import Any

import pytest

from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag, ResponseCode
from idnode_protocol.octets import Reader
from idnode_protocol.requests import HandleRequest, ResolutionRequest
from idnode_protocol.responses import ErrorResponse, ResolutionResponse
from idnode_protocol.value import HandleValue
from idnode_registry.ask import ANONYMOUS, SYSTEM, Ask, Caller, Freshness, Reply
from idnode_registry.elsewhere import Known, Need, Wanted
from idnode_registry.errors import TemplateRefused
from idnode_registry.registry import RegistrySettings
from tests.registry.desk import PREFIX, USER, Desk, admin, url

BOX = (
    b"<namespace><template delimiter='@'><foreach><if value='type' expression='URL'>"
    b"<if test='matches' expression='box(.*)'><value data='${data}?box=$1'/></if><else><notfound/></else></if>"
    b"<else><value/></else></foreach></template></namespace>"
)
BASE = b"99.900/base"


def namespace(octets: bytes = BOX, index: int = 50) -> HandleValue:
    return HandleValue(index, "HS_NAMESPACE", octets)


def template(body: str, delimiter: str = "@") -> HandleValue:
    return namespace(f"<n><template delimiter='{delimiter}'>{body}</template></n>".encode())


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.given(PREFIX, admin(), namespace())
    made.given(BASE, url(), HandleValue(2, "EMAIL", b"hidden", permissions=0x0C), admin())
    return made


def asked(desk: Desk, name: bytes, *indexes: int, types: tuple[str, ...] = (), caller: Caller = ANONYMOUS) -> Reply:
    flags = int(REQUEST_FLAGS) & (~0 if caller.is_anonymous else ~OpFlag.PO)
    ask = Ask(OpCode.RESOLUTION, ResolutionRequest(name, indexes, types), flags)
    return desk.registry.execute(ask, caller, desk.now).result(30)


def answered(desk: Desk, name: bytes, *indexes: int, **more: Any) -> object:
    """index -> data of what is resolved, or the code."""
    reply = asked(desk, name, *indexes, **more)
    if not reply.is_success:
        return reply.code
    assert reply.octets is not None
    body = ResolutionResponse.decode(Reader(reply.octets))
    assert body.handle == name
    return {value.index: value.data for value in body.values}


def text_of(reply: Reply) -> str:
    assert isinstance(reply.response, ErrorResponse)
    return reply.response.text


def test_a_template_makes_the_values(desk: Desk) -> None:
    found = answered(desk, BASE + b"@BOX17")
    assert isinstance(found, dict)
    assert found[1] == b"https://example.org/?box=17"
    assert sorted(found) == [1, 100]  # the private one is left out
    assert answered(desk, b"99.900/BASE@box17", types=("URL",)) == {1: b"https://example.org/?box=17"}
    assert answered(desk, BASE + b"@box17", 7) == ResponseCode.VALUES_NOT_FOUND
    assert answered(desk, BASE + b"@lid") == ResponseCode.HANDLE_NOT_FOUND
    assert answered(desk, b"99.900/other") == ResponseCode.HANDLE_NOT_FOUND


def test_a_stored_handle_wins(desk: Desk) -> None:
    desk.given(BASE + b"@box17", url(data=b"stored"))
    assert answered(desk, BASE + b"@box17") == {1: b"stored"}


def test_the_first_delimiter_behind_the_prefix_cuts(desk: Desk) -> None:
    desk.given(PREFIX, template("<value type='T' data='${base}|${extension}'/>", "9"))
    assert answered(desk, b"99.900/a9b9c") == {1: b"99.900/a|b9c"}
    desk.given(PREFIX, template("<value type='T' data='${base}|${extension}|${handle}'/>", "/"))
    assert answered(desk, b"99.900/a/b") == {1: b"99.900|a/b|99.900/a/b"}
    desk.given(PREFIX, template("<foreach><value/></foreach>", "/"))
    found = answered(desk, b"99.900/x")
    assert isinstance(found, dict)
    assert found.keys() == {50}  # the base is the bare prefix: its prefix handle


def test_a_missing_base_gives_no_values_but_the_template_runs(desk: Desk) -> None:
    assert answered(desk, b"99.900/none@box1") == ResponseCode.VALUES_NOT_FOUND
    desk.given(PREFIX, template("<value type='T' data='x'/>"))
    assert answered(desk, b"99.900/none@box1") == {1: b"x"}


def test_the_bases_own_namespace_comes_first(desk: Desk) -> None:
    desk.given(BASE, url(), template("<value type='T' data='own'/>"), namespace(b"<broken", 60))
    assert answered(desk, BASE + b"@x") == {1: b"own"}
    desk.given(BASE, url(), namespace(b"<n><template delimiter='#'/></n>"))
    assert answered(desk, BASE + b"@box2", types=("URL",)) == {1: b"https://example.org/?box=2"}


def test_without_a_body_the_bases_values_are_the_answer(desk: Desk) -> None:
    desk.given(PREFIX, namespace(b"<n><template delimiter='@'/></n>"))
    assert answered(desk, BASE + b"@x", types=("URL",)) == {1: b"https://example.org/"}
    assert answered(desk, b"99.900/none@x") == ResponseCode.VALUES_NOT_FOUND


def test_the_private_values_are_for_the_bases_administrators(desk: Desk) -> None:
    """Those of the prefix, whose template makes the answer, have no right over them."""
    name = BASE + b"@box17"
    assert desk.read(name, caller=ANONYMOUS) == ResponseCode.AUTHENTICATION_NEEDED
    found = answered(desk, name, 2, caller=USER)
    assert found == {2: b"hidden"}
    assert asked(desk, name, 2, caller=USER).is_private
    desk.given(BASE, HandleValue(2, "EMAIL", b"hidden", permissions=0x0C))
    desk.given(PREFIX, template("<foreach><value/></foreach>"), admin())
    assert desk.read(name, 2, caller=USER) == ResponseCode.INVALID_ADMIN


def test_the_settings_namespaces_and_delimiter() -> None:
    plain = b"<n><template delimiter='@'><value type='T' data='setting'/></template></n>"
    desk = Desk(RegistrySettings(namespace=plain))
    assert answered(desk, BASE + b"@x") == {1: b"setting"}
    desk.given(PREFIX, template("<value type='T' data='own'/>"))
    assert answered(desk, BASE + b"@x") == {1: b"own"}
    desk = Desk(RegistrySettings(namespace_override=plain))
    desk.given(PREFIX, template("<value type='T' data='own'/>"))
    assert answered(desk, BASE + b"@x") == {1: b"setting"}
    desk = Desk(RegistrySettings(template_delimiter=b"@@"))
    desk.given(BASE, url())
    assert answered(desk, BASE + b"@@x") == {1: b"https://example.org/"}
    assert answered(desk, BASE + b"@x") == ResponseCode.HANDLE_NOT_FOUND
    assert answered(desk, b"99.900/none@@x") == ResponseCode.HANDLE_NOT_FOUND
    with pytest.raises(TemplateRefused, match="not well-formed"):
        RegistrySettings(namespace=b"<n>")


def test_the_global_namespace_is_the_parent() -> None:
    desk = Desk()
    desk.given(BASE, url())
    desk.home(b"0.NA/0.NA", caller=SYSTEM)
    desk.given(b"0.NA/0.NA", template("<value type='T' data='root'/>", "#"))
    assert answered(desk, BASE + b"#x") == {1: b"root"}
    desk.given(PREFIX, namespace(b"<n><template delimiter='@'/></n>"))
    assert answered(desk, BASE + b"@x") == {1: b"root"}
    assert answered(desk, BASE + b"#x") == ResponseCode.HANDLE_NOT_FOUND


def test_a_prefix_handle_that_lives_elsewhere() -> None:
    """The seam for a node that resolves prefix handles itself: asked only for what is not stored here."""
    desk = Desk()
    told: dict[Wanted, Known] = {}
    desk.registry.elsewhere = told.get
    desk.given(BASE, url())
    for handle, values in ((PREFIX, (namespace(),)), (b"0.NA/0.NA", ())):
        reply = asked(desk, BASE + b"@box3")
        assert reply.code == ResponseCode.ERROR
        assert reply.wanted == Wanted(handle, Need.NAMESPACE)
        assert not reply.is_lasting
        told[reply.wanted] = Known(values, 60.0 if values else 10.0)
    assert answered(desk, BASE + b"@box3") == {1: b"https://example.org/?box=3"}
    assert not asked(desk, BASE + b"@box3").is_lasting
    none = asked(desk, b"99.900/none")
    assert none.is_lasting
    assert none.freshness == Freshness(0.0, 10.0, is_authoritative=True)
    assert asked(desk, BASE).freshness is None

    desk.given(PREFIX, admin())  # a copy that names no namespace: the tree above still does
    assert answered(desk, BASE + b"@box3") == {1: b"https://example.org/?box=3"}
    told[Wanted(PREFIX, Need.NAMESPACE)] = Known(failure="nobody answered", lives_s=5.0)
    assert answered(desk, BASE + b"@box3") == ResponseCode.HANDLE_NOT_FOUND
    desk.do(OpCode.DELETE_HANDLE, HandleRequest(PREFIX), SYSTEM)
    refused = asked(desk, BASE + b"@box3")
    assert (refused.code, refused.wanted) == (ResponseCode.ERROR, None)
    assert "the namespace of 0.NA/99.900" in text_of(refused)
    assert "nobody answered" in text_of(refused)
    desk.given(PREFIX, namespace(), admin())
    assert answered(desk, BASE + b"@box3") == {1: b"https://example.org/?box=3"}


def test_a_template_and_its_age_from_elsewhere(desk: Desk) -> None:
    told = {
        Wanted(b"99.77/T", Need.TEMPLATE, 5): Known(
            (HandleValue(5, "X", b"<template><value type='T'>far $0</value></template>"),)
        ),
        Wanted(b"0.NA/0.NA", Need.NAMESPACE): Known(lives_s=3.0, is_stale=True),
    }
    desk.registry.elsewhere = told.get
    desk.given(PREFIX, namespace(b"<n><template delimiter='@' ref='5:99.77/T'/></n>"))
    assert answered(desk, BASE + b"@x") == {1: b"far x"}
    assert asked(desk, BASE + b"@x").freshness == Freshness(0.0, 3.0, is_stale=True)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (namespace(b"<n><!DOCTYPE x></n>"), "the namespace of 0.NA/99.900 cannot be used: not well-formed"),
        (namespace(b"<!DOCTYPE x><n/>"), "the namespace of 0.NA/99.900 cannot be used: the XML declares a document"),
        (template("<xyzzy/>"), "the template of 0.NA/99.900 cannot be used: <xyzzy> is no element"),
        (template("<value type='T'>$0</value>" * 400 + "<foreach><if/></foreach>" * 500), "elements"),
        (
            template("<if test='matches' expression='(?:a?){400}'/>" * 50),
            "the template of 0.NA/99.900 cannot be used: the template takes more than 10000 steps",
        ),
    ],
)
def test_whose_template_is_wrong_is_said(desk: Desk, value: HandleValue, said: str) -> None:
    desk.given(PREFIX, value)
    reply = asked(desk, BASE + b"@" + b"a" * 900)
    assert reply.code == ResponseCode.ERROR
    assert said in text_of(reply)
    assert not reply.is_lasting
    assert answered(desk, BASE, types=("URL",)) == {1: b"https://example.org/"}


def test_what_may_be_kept(desk: Desk) -> None:
    """Stored answers and names without delimiter may; whatever looked at a base, or made values, may not."""
    assert asked(desk, BASE).is_lasting
    assert asked(desk, b"99.900/other").is_lasting
    for name in (BASE + b"@box1", BASE + b"@lid", b"99.900/none@box1"):
        assert not asked(desk, name).is_lasting
